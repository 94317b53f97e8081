"""Every kind of credential in the place of every other, on a real gate (K4)."""

from __future__ import annotations

import contextlib
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
from proxy.run.providers import Providers
from proxy.services.runtime import load
from proxy.services.schemes.build import open_sessions
from proxy.services.sessions import Login
from tests.proof_maker import proof
from tests.small_provider import CLIENT_ID, CLIENT_SECRET, running_provider
from tests.token_workshop import assemble, private_key

SECRET = "0123456789abcdef0123456789abcdef"
GATE = "https://shop.example.com"
STAY = {"allow_redirects": False}

CONFIG = """
store: {{url: "{store}"}}
secrets: {{key: "{key}"}}
upstreams: {{app: {{servers: ["{app}"]}}}}
schemes:
  api: {{type: jwt, keys: {{local: true}}, from: [bearer, {{cookie: access}}, {{query: token}}]}}
  web: {{type: session, format: native, cookie: sid}}
tokens: {{issuer: {gate}, audience: app, encrypt: {encrypt}}}
clients: {{backend: {{secret: "{secret}", grants: [refresh_token, client_credentials]}}}}
login:
  scheme: web
  providers:
    corp: {{issuer: "{issuer}", client_id: "{client_id}", client_secret: "{client_secret}"}}
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
    "bound access",
    "a client's proof",
    "provider's id token",
    "provider's logout token",
]
PLACES = [
    "bearer",
    "token cookie",
    "query",
    "session cookie",
    "bound",
    "proof",
    "introspect",
    "client",
    "id token",
    "logout token",
    "refresh",  # which spends the token: the last
]

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
    ("bound access", "bound"),
    ("bound access", "introspect"),
    ("a client's proof", "proof"),
    ("provider's id token", "id token"),
    ("provider's logout token", "logout token"),
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

    def __init__(self, gate, encrypting, http, provider):
        self.gate, self.encrypting, self.http, self.provider = gate, encrypting, http, provider
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
        headers = {"DPoP": proof("POST", f"{self.gate.url}/_auth/token")}
        _, bound = await self.post({"grant_type": "client_credentials"}, "token", SECRET, headers)
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
            "bound access": bound["access_token"],
            "a client's proof": proof("GET", f"{self.gate.url}/x", bound["access_token"]),
            "provider's id token": self.provider._id_token("n", "t"),
            "provider's logout token": self.provider.logout_token(sub="ann"),
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

    async def opens(self, kind, value, place):
        """Tell whether `value`, of a kind, opens anything at `place`."""
        match place:
            case "bearer":
                return await self.get(Authorization=f"Bearer {value}")
            case "token cookie":
                return await self.get(Cookie=f"access={value}")
            case "query":
                return await self.get(f"/x?{urlencode({'token': value})}")
            case "session cookie":
                return await self.get(Cookie=f"sid={value}")
            case "bound":
                said = {"DPoP": proof("GET", f"{self.gate.url}/x", value)}
                return await self.get(Authorization=f"DPoP {value}", **said)
            case "proof":
                return await self.get(
                    Authorization=f"DPoP {self.kinds['bound access']}", DPoP=value
                )
            case "id token":
                return await self.signs_in(kind, value)
            case "logout token":
                url = f"{self.gate.url}/_auth/backchannel/corp"
                async with self.http.post(url, data={"logout_token": value}) as answer:
                    return answer.status == 200
            case "client":
                status, _ = await self.post({"grant_type": "client_credentials"}, secret=value)
                return status == 200
            case "introspect":
                return (await self.post({"token": value}, "introspect", SECRET))[1]["active"]
            case "refresh":
                form = {"grant_type": "refresh_token", "refresh_token": value}
                return (await self.post(form, secret=SECRET))[0] == 200
        raise AssertionError(place)

    async def signs_in(self, kind, value):
        """Tell whether a login at the provider succeeds that answers with `value` as ID token."""
        page = {"Sec-Fetch-Mode": "navigate", "Accept": "text/html"}
        url = f"{self.gate.url}/_auth"
        async with self.http.get(f"{url}/start/corp", headers=page, **STAY) as answer:
            query = self.provider.enter(answer.headers["Location"]).decode()
            state = "; ".join(f"{name}={each.value}" for name, each in answer.cookies.items())
        # The provider's own is made for this very login: it says its nonce.
        self.provider.raw_id_token = None if kind == "provider's id token" else value
        async with self.http.get(
            f"{url}/callback/corp?{query}", headers={**page, "Cookie": state}, **STAY
        ) as answer:
            return "sid" in answer.cookies and answer.status == 303


@pytest.mark.parametrize("encrypt", ["false", "true"])
async def test_k4_each_kind_opens_its_own_places_only(valkey, app, start_gate, tmp_path, encrypt):
    """K4: twenty kinds in eleven places; whatever stands where it does not belong is refused."""

    async def gate(encrypt):
        text = CONFIG.format(
            store=valkey.url, key="00" * 32, app=app, gate=GATE, secret=SECRET, encrypt=encrypt,
            issuer=small.issuer, client_id=CLIENT_ID, client_secret=CLIENT_SECRET,
        )  # fmt: skip
        (file := tmp_path / "keys.yaml").write_text(text)
        providers = Providers(load(file).config, lambda *_told: None)
        providers.start()
        await providers.wait(5)
        stack.push_async_callback(providers.close)
        return await start_gate(text, key_sources=providers.sources())

    jar = aiohttp.DummyCookieJar()
    async with (
        contextlib.AsyncExitStack() as stack,
        running_provider() as small,
        aiohttp.ClientSession(cookie_jar=jar) as http,
    ):
        matrix = Matrix(await gate(encrypt), await gate("true"), http, small)
        await matrix.fill()
        assert KINDS == list(matrix.kinds)
        found = set()
        for place in PLACES:
            for kind, value in matrix.kinds.items():
                if await matrix.opens(kind, value, place):
                    found.add((kind, place))

    assert OPENS == found
