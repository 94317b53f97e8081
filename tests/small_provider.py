"""A small OpenID provider on a real socket, which can be made to answer badly, slowly or not at all.

It logs in whoever comes as `person`, without a page. What never belongs here: code of the product
that is tested.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import secrets
import time
from urllib.parse import parse_qs, urlencode, urlsplit

from aiohttp import web

from tests import token_workshop as workshop

CLIENT_ID = "gate"
CLIENT_SECRET = "s:cr%t"
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"


class SmallProvider:
    """One provider; what it answers can be changed at any time."""

    def __init__(self):
        self.port = 0
        self.person = {"sub": "ann", "email": "ann@example.com", "email_verified": True}
        self.metadata = {}
        """Members of the discovery document that are other than they should be; `...` removes."""
        self.id_token = {}
        """Claims of ID tokens that are other than they should be; `...` removes."""
        self.signing = {}
        """How ID tokens are signed: `algorithm`, `kind`, `key`, `header` of the workshop."""
        self.raw_id_token = None
        self.answer = {}
        """Members of the token endpoint's answer that are other than they should be."""
        self.status = None
        """The token endpoint's status, if it is to fail."""
        self.told = {}
        """UserInfo beyond `person`."""
        self.life_s = 3600
        self.clock = time.time
        self.pause_s = 0.0
        """How long the token endpoint takes."""
        self.discoveries = 0
        self.may_describe = asyncio.Event()
        """The discovery document waits for this."""
        self.may_describe.set()
        self.codes = {}
        self.refresh_tokens = set()
        self.access_tokens = []
        self.asked = []
        """(grant type, authorization header, form) of every call of the token endpoint."""
        self.spent_again = 0
        """How often a refresh token came that was spent: two asked with one."""
        self.is_asked = asyncio.Event()
        """Set when the token endpoint is asked."""
        self._runner = None

    @property
    def issuer(self):
        return f"http://127.0.0.1:{self.port}"

    async def start(self):
        app = web.Application()
        app.router.add_get("/.well-known/openid-configuration", self._discovery)
        app.router.add_get("/jwks", self._jwks)
        app.router.add_get("/auth", self._auth)
        app.router.add_post("/token", self._token)
        app.router.add_get("/me", self._userinfo)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self):
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def enter(self, location, **changes):
        """Do what the browser does at the authorization endpoint; return the callback's query."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}
        code = secrets.token_urlsafe(8)
        self.codes[code] = asked
        query = {"code": code, "state": asked["state"], "iss": self.issuer} | changes
        query = {name: value for name, value in query.items() if value is not ...}
        return urlencode(query).encode()

    def logout_token(self, header=None, **changes):
        """Return a logout token for the last login that is good but for `changes`."""
        now = int(self.clock())
        claims = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 120,
            "jti": secrets.token_hex(8),
            "events": {LOGOUT_EVENT: {}},
        } | changes
        payload = {name: value for name, value in claims.items() if value is not ...}
        head = {"typ": "logout+jwt", "kid": "k"} | (header or {})
        return workshop.token("RS256", "RSA", header=head, payload=payload).decode()

    def described(self):
        members = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/auth",
            "token_endpoint": f"{self.issuer}/token",
            "userinfo_endpoint": f"{self.issuer}/me",
            "end_session_endpoint": f"{self.issuer}/end",
            "jwks_uri": f"{self.issuer}/jwks",
            "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
        } | self.metadata
        return {name: value for name, value in members.items() if value is not ...}

    async def _discovery(self, _request):
        self.discoveries += 1
        await self.may_describe.wait()
        return web.json_response(self.described())

    async def _jwks(self, _request):
        return web.json_response({"keys": [workshop.jwk("RSA", kid="k")]})

    async def _auth(self, request):
        query = self.enter(str(request.url))
        raise web.HTTPFound(f"{request.query['redirect_uri']}?{query.decode()}")

    async def _token(self, request):
        form = dict(await request.post())
        self.asked.append((form["grant_type"], request.headers.get("Authorization"), form))
        self.is_asked.set()
        if self.pause_s:
            await asyncio.sleep(self.pause_s)
        if self.status is not None:
            return web.Response(status=self.status, text="<html>an outage</html>")
        nonce = None
        if form["grant_type"] == "refresh_token":
            if form["refresh_token"] not in self.refresh_tokens:
                self.spent_again += 1
                return _error("invalid_grant")
            self.refresh_tokens.discard(form["refresh_token"])
        else:
            asked = self.codes.pop(form["code"], None)
            if asked is None or not self._fits(asked, form):
                return _error("invalid_grant")
            nonce = asked["nonce"]
        return web.json_response(self._tokens(nonce))

    def _fits(self, asked, form):
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        return (
            workshop.b64(digest) == asked["code_challenge"]
            and form["redirect_uri"] == asked["redirect_uri"]
        )

    def _tokens(self, nonce):
        access_token, refresh_token = secrets.token_urlsafe(16), secrets.token_urlsafe(16)
        self.refresh_tokens.add(refresh_token)
        self.access_tokens.append(access_token)
        answer = {
            "access_token": access_token,
            "token_type": "Bearer",
            "expires_in": self.life_s,
            "refresh_token": refresh_token,
            "id_token": self.raw_id_token or self._id_token(nonce, access_token),
        } | self.answer
        return {name: value for name, value in answer.items() if value is not ...}

    def _id_token(self, nonce, access_token):
        now = int(self.clock())
        half = hashlib.sha256(access_token.encode()).digest()[:16]
        claims = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 300,
            "auth_time": now - 5,
            "sid": "sid-1",
            "at_hash": base64.urlsafe_b64encode(half).rstrip(b"=").decode(),
            **self.person,
        }
        if nonce is not None:
            claims["nonce"] = nonce
        claims = {k: v for k, v in (claims | self.id_token).items() if v is not ...}
        signing = {"algorithm": "RS256", "kind": "RSA", "header": {"kid": "k"}} | self.signing
        return workshop.token(payload=json.dumps(claims).encode(), **signing).decode()

    async def _userinfo(self, request):
        if not request.headers.get("Authorization", "").startswith("Bearer "):
            return web.Response(status=401)
        return web.json_response(self.person | self.told)


def _error(word):
    return web.json_response({"error": word}, status=400)


@contextlib.asynccontextmanager
async def running_provider():
    """Run a small provider."""
    provider = SmallProvider()
    await provider.start()
    try:
        yield provider
    finally:
        await provider.stop()
