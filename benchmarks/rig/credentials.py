"""Credentials of both kinds, and a client of the store that takes them back.

It is independent of the gate that is measured: another process, other connections, and what
`latchgate session` and `latchgate token` use themselves.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from proxy.adapters.store import StoreAddress, open_store
from proxy.core.revocation import RevocationKeys
from proxy.services.revocations import Revocations
from proxy.services.sessions import Login, Sessions

ISSUER = "https://id.test"
PREFIX = "latchgate:"
LIFE_S = 600

TOKENS = """
    type: jwt
    issuer: "https://id.test"
    audience: [app]
    algorithms: [RS256]
    keys: {{file: "{keys}"}}
    leeway: 0s
    max_lifetime: 10m
"""

CONFIG = f"""
server: {{{{listen: "127.0.0.1:0", workers: {{workers}}, drain: 1s, limits: {{{{keepalive: 10m}}}}}}}}
health: {{{{listen: "unix:h"}}}}
log: {{{{format: json, access: false}}}}
store: {{{{url: "{{store}}", {{more}}}}}}
upstreams: {{{{app: {{{{servers: ["http://127.0.0.1:{{app}}"]}}}}}}}}
verdicts: {{{{{{verdicts}}}}}}
schemes:
  web: {{{{type: session, format: native, cookie: sid}}}}
  api: {TOKENS}
  free: {TOKENS}    revocation: none
routes:
  - {{{{match: {{{{path: /web}}}}, auth: web, upstream: app}}}}
  - {{{{match: {{{{path: /api}}}}, auth: api, upstream: app}}}}
  - {{{{match: {{{{path: /free}}}}, auth: free, upstream: app}}}}
"""
"""To be filled in by `format`: store, app, keys, workers, more (of the store), verdicts."""


class Session:
    """A signed-in person; ended by deleting its key."""

    kind = "session"

    def __init__(self, made, key):
        self.key = key
        self.raw = _request("/web", f"Cookie: sid={made.cookie}")


class Token:
    """A token of another issuer; ended by its `jti` or by its subject."""

    kind = "token"

    def __init__(self, maker, path="/api"):
        self.jti, self.subject = uuid.uuid4().hex, uuid.uuid4().hex
        now = int(time.time())
        claims = {
            "iss": ISSUER, "aud": "app", "sub": self.subject, "jti": self.jti,
            "email": "ada@example.com", "roles": ["customer"], "iat": now, "exp": now + LIFE_S,
        }  # fmt: skip
        self.token = jwt.encode(claims, maker.private_key, "RS256", headers={"kid": "k1"})
        self.raw = _request(path, f"Authorization: Bearer {self.token}")


class Maker:
    """Makes credentials, and revokes them in the store at `port`, or in the one that is given."""

    def __init__(self, port, directory, timeout_s=60.0, store=None):
        self.private_key = rsa.generate_private_key(65537, 2048)
        self.keys_file = write_keys(self.private_key, Path(directory) / f"jwks-{port}.json")
        self._loop = asyncio.new_event_loop()
        address = StoreAddress(host="127.0.0.1", port=port)
        self._store = store or open_store(address, timeout_s=timeout_s)
        self.sessions = Sessions(
            self._store, prefix=PREFIX, idle_timeout_s=LIFE_S, lifetime_s=LIFE_S
        )
        self._revocations = Revocations(self._store, RevocationKeys(PREFIX))

    def run(self, awaitable):
        return self._loop.run_until_complete(awaitable)

    def _wake(self):
        """Connect again where a fault has ended the connection: a write is never sent twice."""
        self.run(self._store.fetch([PREFIX]))

    def many(self, kind, count):
        self._wake()
        return [self.session() if kind == "session" else self.token() for _ in range(count)]

    def session(self):
        login = Login(
            uuid.uuid4().hex, email="ada@example.com", name="Ada Lovelace", roles=["customer"]
        )
        made = self.run(self.sessions.create(login, time.time()))
        return Session(made, self.sessions.session_key(made.digest))

    def token(self, path="/api"):
        return Token(self, path)

    def revoke(self, credential, how=None):
        """Take it back; return when the command left and when the store's answer was there."""
        self._wake()
        store, revocations, now = self._store, self._revocations, time.time()
        if credential.kind == "session":
            work = store.delete(credential.key)
        elif how == "subject":
            work = revocations.revoke_subject(ISSUER, credential.subject, now, keep_s=LIFE_S)
        else:
            work = revocations.revoke_token(ISSUER, credential.jti, now, keep_s=LIFE_S)
        sent_at = time.monotonic()
        self.run(work)
        return sent_at, time.monotonic()

    def close(self):
        self.run(self._store.close())
        self._loop.close()


def write_keys(private_key, path):
    """Write the public key as a JWKS; return the file's path."""
    jwk = json.loads(RSAAlgorithm.to_jwk(private_key.public_key()))
    path.write_text(json.dumps({"keys": [jwk | {"kid": "k1", "alg": "RS256", "use": "sig"}]}))
    return str(path)


def _request(path, header):
    return f"GET {path} HTTP/1.1\r\nHost: bench\r\n{header}\r\n\r\n".encode()
