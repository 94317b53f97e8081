"""Every kind of credential in the place of every other, on a real gate (K4)."""

from __future__ import annotations

import json
import time
from urllib.parse import urlencode

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.adapters.jwe import TokenCipher
from proxy.core.oauth import SESSION_GRANT
from proxy.core.refresh import Holder, read_token
from proxy.services.schemes.build import open_sessions
from proxy.services.sessions import Login
from tests.token_workshop import assemble, private_key

SECRET = "0123456789abcdef0123456789abcdef"
GATE = "https://shop.example.com"

CONFIG = """
store: {{url: "{store}"}}
secrets: {{key: "{key}"}}
upstreams: {{app: {{servers: ["{app}"]}}}}
schemes:
  api: {{type: jwt, keys: {{local: true}}, from: [bearer, {{cookie: access}}, {{query: token}}]}}
  web: {{type: session, format: native, cookie: sid}}
tokens: {{issuer: {gate}, audience: app, encrypt: {encrypt}}}
clients: {{backend: {{secret: "{secret}", grants: [refresh_token, client_credentials]}}}}
login: {{scheme: web}}
routes:
  - {{match: {{path: /assert}}, auth: web, upstream: app, identity: {{assertion: true}}}}
  - {{match: {{path: /**}}, auth: [api, web], upstream: app}}
"""

KINDS = [
    "access",
    "encrypted access",
    "signed part of an encrypted one",
    "session's access",
    "client's access",
    "refresh",
    "session cookie",
    "session id",
    "family id",
    "client secret",
    "assertion",
    "assertion as bearer",
    "id token",
    "logout token",
    "dpop proof",
    "forged access",
]
PLACES = ["bearer", "token cookie", "query", "session cookie", "refresh", "introspect", "client"]

GOOD_TOKENS = {"access", "encrypted access", "session's access", "client's access"}
# What lies inside an encrypted token is a signed one; nobody but the gate can take it out.
GOOD_TOKENS |= {"signed part of an encrypted one"}
OPENS = {
    *(
        (kind, place)
        for kind in GOOD_TOKENS
        for place in ("bearer", "token cookie", "query", "introspect")
    ),
    ("session cookie", "session cookie"),
    ("refresh", "refresh"),
    ("refresh", "introspect"),  # as a refresh token, which is what it is
    ("client secret", "client"),
}


@pytest.fixture
async def app():
    async def answer(request):
        return web.json_response({"assertion": request.headers.get("X-Auth-Assertion")})

    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", answer)
    async with TestServer(application) as server:
        yield f"http://127.0.0.1:{server.port}"


class Matrix:
    """One gate, a credential of each kind, and what each place makes of them."""

    def __init__(self, gate, encrypting, http):
        self.gate, self.encrypting, self.http = gate, encrypting, http
        self.kinds = {}

    async def fill(self):
        """Make a credential of each kind."""
        runtime, now = self.gate.runtime, time.time()
        service = runtime.tokens
        holder = Holder("ann", roles=("user",))
        begun = await service._families.begin(holder, "backend", now, since=now)
        hidden = await self.encrypting.runtime.tokens._families.begin(
            holder, "backend", now, since=now
        )
        sessions = open_sessions(runtime.config, runtime.config.schemes["web"], runtime.store)
        session = await sessions.create(Login("ann"), now)
        cookie = {"Cookie": f"sid={session.cookie}"}
        _, said = await self.post({"grant_type": SESSION_GRANT}, headers=cookie)
        _, own = await self.post({"grant_type": "client_credentials"}, secret=SECRET)
        async with self.http.get(f"{self.gate.url}/assert", headers=cookie) as answer:
            assertion = (await answer.json())["assertion"]
        cipher = TokenCipher([bytes(32)], GATE)
        self.kinds = {
            "access": begun.access_token,
            "encrypted access": hidden.access_token,
            "signed part of an encrypted one": cipher.decrypt(
                hidden.access_token.encode()
            ).decode(),
            "session's access": said["access_token"],
            "client's access": own["access_token"],
            "refresh": begun.refresh_token,
            "session cookie": session.cookie,
            "session id": session.digest,
            "family id": read_token(begun.refresh_token).family,
            "client secret": SECRET,
            "assertion": assertion,
            **self.signed(now),
        }

    def signed(self, now):
        """Return what this gate's keys could sign by some mistake, and what strangers sign."""
        keys = self.gate.runtime.token_keys
        said = {"iss": GATE, "sub": "ann", "aud": "app", "jti": "j", "iat": int(now)}
        said["exp"] = int(now) + 60
        event = {"http://schemas.openid.net/event/backchannel-logout": {}}
        header = b'{"alg":"EdDSA","typ":"at+jwt","kid":"%b"}' % keys.published()[0].kid.encode()
        forged = assemble(header, json.dumps(said).encode(), "EdDSA", private_key("Ed25519"))
        return {
            "assertion as bearer": keys.sign(said | {"iss": f"{GATE}/assertion"}, "JWT", now),
            "id token": keys.sign(said | {"nonce": "n"}, "JWT", now),
            "logout token": keys.sign(said | {"events": event}, "logout+jwt", now),
            "dpop proof": keys.sign(said | {"htm": "GET", "htu": GATE}, "dpop+jwt", now),
            "forged access": forged.decode(),
        }

    async def post(self, form, endpoint="token", secret=None, headers=None):
        headers = dict(headers or {})
        if secret is not None:
            headers["Authorization"] = aiohttp.encode_basic_auth("backend", secret)
        url = f"{self.gate.url}/_auth/{endpoint}"
        async with self.http.post(url, data=form, headers=headers) as answer:
            return answer.status, await answer.json()

    async def get(self, path="/x", **headers):
        async with self.http.get(self.gate.url + path, headers=headers) as answer:
            return answer.status == 200

    async def opens(self, value, place):
        """Tell whether `value` opens anything at `place`."""
        match place:
            case "bearer":
                return await self.get(Authorization=f"Bearer {value}")
            case "token cookie":
                return await self.get(Cookie=f"access={value}")
            case "query":
                return await self.get(f"/x?{urlencode({'token': value})}")
            case "session cookie":
                return await self.get(Cookie=f"sid={value}")
            case "client":
                status, _ = await self.post({"grant_type": "client_credentials"}, secret=value)
                return status == 200
            case "introspect":
                return (await self.post({"token": value}, "introspect", SECRET))[1]["active"]
            case "refresh":
                form = {"grant_type": "refresh_token", "refresh_token": value}
                return (await self.post(form, secret=SECRET))[0] == 200
        raise AssertionError(place)


@pytest.mark.parametrize("encrypt", ["false", "true"])
async def test_k4_each_kind_opens_its_own_places_only(valkey, app, start_gate, encrypt):
    """K4: sixteen kinds in seven places; whatever stands where it does not belong is refused."""

    async def gate(encrypt):
        text = CONFIG.format(
            store=valkey.url, key="00" * 32, app=app, gate=GATE, secret=SECRET, encrypt=encrypt
        )
        return await start_gate(text)

    jar = aiohttp.DummyCookieJar()
    async with aiohttp.ClientSession(cookie_jar=jar) as http:
        matrix = Matrix(await gate(encrypt), await gate("true"), http)
        await matrix.fill()
        assert KINDS == list(matrix.kinds)
        found = set()
        for place in sorted(PLACES, key="refresh".__eq__):  # which spends the token: the last
            for kind, value in matrix.kinds.items():
                if await matrix.opens(value, place):
                    found.add((kind, place))

    assert OPENS == found
