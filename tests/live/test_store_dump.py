"""What somebody has who has stolen a dump of the store: nothing that opens anything (S10)."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import time
from pathlib import Path

import aiohttp
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from proxy.adapters.passwords import hash_password
from proxy.adapters.users_file import edit_users
from proxy.core.oauth import SESSION_GRANT
from proxy.core.otp import code_at
from proxy.run.providers import Providers
from proxy.services.keyrings import open_signing_keys
from proxy.services.runtime import load
from tests.small_provider import CLIENT_ID, CLIENT_SECRET, running_provider

PASSWORD, OTHER_PASSWORD = "correct horse battery", "staple-staple-staple"
SECRET = "0123456789abcdef0123456789abcdef"
PAGE = {"Sec-Fetch-Mode": "navigate", "Accept": "text/html"}

CONFIG = """
store: {{url: "{store}"}}
secrets: {{key: "{key}"}}
upstreams: {{app: {{servers: ["http://127.0.0.1:9"]}}}}
tokens: {{issuer: "http://127.0.0.1", audience: shop, encrypt: {encrypt}}}
clients:
  phone: {{public: true, grants: [password, refresh_token]}}
  backend: {{secret: "{secret}", grants: [client_credentials]}}
schemes:
  web: {{type: session, format: native}}
  api: {{type: jwt, keys: {{local: true}}}}
login:
  scheme: web
  users: {{file: users.yaml}}
  providers:
    corp:
      issuer: "{issuer}"
      client_id: "{client_id}"
      client_secret: "{client_secret}"
      identity: {{subject: "{{iss}}|{{sub}}"}}
routes:
  - {{match: {{path: /**}}, auth: [api, web], upstream: app, identity: {{assertion: true}}}}
"""


class Life:
    """One person's day at the gate, through its own endpoints; remembers every credential of it."""

    def __init__(self, gate, http, small):
        self.gate, self.http, self.small = gate, http, small
        self.secrets = {"password": PASSWORD, "other password": OTHER_PASSWORD}

    async def ask(self, method, path, *, cookie="", headers=None, **more):
        """Return an answer's text; what it sets is in `cookies`."""
        sent = {
            "Origin": self.gate.url,
            **(headers or {}),
            **({"Cookie": cookie} if cookie else {}),
        }
        async with self.http.request(
            method, f"{self.gate.url}/_auth/{path}", headers=sent, allow_redirects=False, **more
        ) as answer:
            self.cookies = {name: morsel.value for name, morsel in answer.cookies.items()}
            self.location = answer.headers.get("Location", "")
            assert answer.status < 400, await answer.text()
            return await answer.text()

    async def begin_app(self, cookie, name):
        """Begin to set an app up."""
        text = await self.ask("POST", "otp", cookie=cookie, json={"action": "begin"})
        begun = json.loads(text)
        self.secrets[f"{name}'s TOTP secret"] = begun["secret"]
        codes = enumerate(begun["recovery_codes"])
        self.secrets |= {f"{name}'s recovery code {number}": code for number, code in codes}
        return base64.b32decode(begun["secret"])

    async def sign_in(self, name, password, **more):
        """Sign in as programs do; return the cookie."""
        said = {"username": name, "password": password, **more}
        await self.ask("POST", "login", json=said)
        self.secrets[f"session {len(self.secrets)}"] = self.cookies["sid"]
        return f"sid={self.cookies['sid']}"

    async def sign_in_there(self):
        """Sign in at the provider."""
        await self.ask("GET", "start/corp", headers=PAGE)
        state = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        self.secrets |= {f"state {name}": value for name, value in self.cookies.items()}
        query = self.small.enter(self.location).decode()
        await self.ask("GET", f"callback/corp?{query}", headers=PAGE, cookie=state)
        self.secrets["provider's session"] = self.cookies["sid"]
        self.secrets["provider's access token"] = self.small.access_tokens[-1]
        (self.secrets["provider's refresh token"],) = self.small.refresh_tokens

    async def tokens(self, name, **form):
        """Ask the token endpoint."""
        told = json.loads(await self.ask("POST", "token", data=form))
        self.secrets |= {f"{name}'s {kind}": told[kind] for kind in told if kind.endswith("_token")}
        return told

    async def live(self):
        """Do all that leaves something in the store, and leave it there."""
        cookie = await self.sign_in("ada", PASSWORD)
        secret = await self.begin_app(cookie, "ada")
        code = code_at(secret, time.time())
        await self.ask("POST", "otp", cookie=cookie, json={"action": "confirm", "code": code})
        self.secrets["second session"] = self.cookies["sid"]
        cookie = f"sid={self.cookies['sid']}"
        text = await self.ask("POST", "token", cookie=cookie, data={"grant_type": SESSION_GRANT})
        self.secrets["session's token"] = json.loads(text)["access_token"]
        first = await self.tokens(
            "phone", grant_type="password", client_id="phone", username="ada", password=PASSWORD,
            otp=code_at(secret, time.time() + 30),
        )  # fmt: skip
        await self.tokens(
            "renewed", grant_type="refresh_token", client_id="phone",
            refresh_token=first["refresh_token"],
        )  # fmt: skip
        await self.tokens(
            "backend", grant_type="client_credentials", client_id="backend", client_secret=SECRET
        )
        self.secrets["client secret"] = SECRET
        await self.sign_in_there()
        await self.begin_app(await self.sign_in("eve", OTHER_PASSWORD), "eve")
        await self.wait_at_the_second_step()
        with contextlib.suppress(AssertionError):  # which is counted, under a name of its own
            await self.ask("POST", "login", json={"username": "ada", "password": "hunter2-typo"})
        self.secrets["mistyped password"] = "hunter2-typo"
        await self.gate.runtime.audit.close()

    async def wait_at_the_second_step(self):
        """Sign in by the page as far as where the code is asked."""
        page = await self.ask("GET", "login", headers=PAGE)
        state = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        csrf = re.search(r'name="csrf" value="([^"]+)"', page)[1]
        form = {"csrf": csrf, "username": "ada", "password": PASSWORD}
        await self.ask("POST", "login", headers=PAGE, cookie=state, data=form)
        (self.secrets["second step"],) = set(self.cookies.values()) - {""}


async def signing_keys(runtime):
    """Return the private keys of the gate, as they could stand somewhere."""
    plan = open_signing_keys(runtime.config, runtime.store)
    await plan.assertions.refresh(time.time())
    return {
        f"{purpose} key {kid} {form}": text
        for purpose, keys in (("token", runtime.token_keys), ("assertion", plan.assertions))
        for kid, key in ((each.kid, each) for each in keys.published())
        for form, text in (
            (
                "PKCS #8",
                key.private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
            ),
            ("raw", key.private.private_bytes_raw()),
        )
    }


def spellings(secret):
    """Return how a credential could be written: as it is, in hex, in base 64 and 32, or decoded."""
    raw = {secret if isinstance(secret, bytes) else secret.encode()}
    text = next(iter(raw)).decode("latin-1")
    with contextlib.suppress(ValueError):
        raw.add(base64.b32decode(text.replace("-", "").upper()))
    if re.fullmatch(r"[A-Za-z0-9_-]{43}", text):
        raw.add(base64.urlsafe_b64decode(text + "="))
    if text.startswith("lgr_"):
        raw.add(text[4:].encode())
    if text.count(".") in (2, 4):  # the part without which a token is none
        raw |= {part.encode() for part in text.split(".")[-1:]}
    for value in set(raw):
        coded = base64.b64encode(value).rstrip(b"=")
        raw |= {value.hex().encode(), value.hex().upper().encode(), coded}
        raw |= {base64.urlsafe_b64encode(value).rstrip(b"="), base64.b32encode(value).rstrip(b"=")}
    return {value for value in raw if len(value) >= 10}


def dump_of(valkey):
    """Return the file that the server saves itself to, in which nothing is compressed."""
    with valkey.client() as client:
        before = client.config_get("rdbcompression")
        client.config_set("rdbcompression", "no")
        client.save()
        where = client.config_get("dir")["dir"], client.config_get("dbfilename")["dbfilename"]
        client.config_set("rdbcompression", before["rdbcompression"])
    file = Path(*where)
    try:
        return file.read_bytes()
    finally:
        file.unlink()


@pytest.mark.parametrize("encrypt", ["false", "true"])
async def test_s10_a_stolen_dump_opens_nothing(valkey, start_gate, tmp_path, encrypt):
    """S10: no password, session, token, code, TOTP secret or signing key stands in it, however written."""
    for name, password in (("ada", PASSWORD), ("eve", OTHER_PASSWORD)):
        user = {"password": hash_password(password).text}
        edit_users(
            tmp_path / "users.yaml", lambda users, n=name, u=user: users.update({n: u}) or True
        )
    async with contextlib.AsyncExitStack() as stack:
        small = await stack.enter_async_context(running_provider())
        text = CONFIG.format(
            store=valkey.url, key="ab" * 32, secret=SECRET, encrypt=encrypt, issuer=small.issuer,
            client_id=CLIENT_ID, client_secret=CLIENT_SECRET,
        )  # fmt: skip
        (file := tmp_path / "keys.yaml").write_text(text)
        providers = Providers(load(file).config, lambda *_told: None)
        providers.start()
        stack.push_async_callback(providers.close)
        await providers.wait(5)
        gate = await start_gate(text, key_sources=providers.sources())
        jar = aiohttp.DummyCookieJar()
        http = await stack.enter_async_context(aiohttp.ClientSession(cookie_jar=jar))
        life = Life(gate, http, small)
        await life.live()
        dump = dump_of(valkey)
        secrets = life.secrets | await signing_keys(gate.runtime)

    # What is looked for would be found: the sessions are there, by their hashes.
    for name in ("second session", "provider's session"):
        assert hashlib.sha256(secrets[name].encode()).hexdigest().encode() in dump
    assert b"ada" in dump
    assert b"signing:token" in dump
    assert b"signing:assertion" in dump
    assert len(secrets) > 30
    assert [] == [
        name for name, secret in secrets.items() if any(each in dump for each in spellings(secret))
    ]
