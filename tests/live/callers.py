"""Clients that bind their tokens (RFC 9449), and the application behind the gate that they call."""

from __future__ import annotations

import base64
import time
from types import SimpleNamespace
from urllib.parse import urlencode

from aiohttp import web

from proxy.core.refresh import Holder
from tests.proof_maker import proof

SECRET = "0123456789abcdef0123456789abcdef"
BASIC = {"Authorization": "Basic " + base64.b64encode(f"backend:{SECRET}".encode()).decode()}
KEY, OTHER_KEY = "P-256", "Ed25519"


class App:
    """The application: says what it was told, and how often it was asked."""

    def __init__(self):
        self.asked = 0

    async def echo(self, request):
        self.asked += 1
        return web.json_response({name.lower(): value for name, value in request.headers.items()})


class Caller:
    """Calls one gate, with proofs of its key."""

    def __init__(self, gate, http):
        self.gate = gate
        self.url = gate.url
        self._http = http

    async def ask(self, path, headers=(), method="GET"):
        """Return status, body and every WWW-Authenticate."""
        async with self._http.request(method, self.url + path, headers=headers) as answer:
            body = await answer.json()
            return SimpleNamespace(
                status=answer.status,
                body=body,
                code=body.get("code"),
                headers=answer.headers,
                challenges=answer.headers.getall("WWW-Authenticate", []),
                nonce=answer.headers.get("DPoP-Nonce"),
            )

    async def get(self, path, token, proofs=None, **how):
        """Ask with a token and a proof made for this very request, or with `proofs` instead."""
        if proofs is None:
            proofs = [proof("GET", self.url + path, token, **how)]
        headers = [("Authorization", f"DPoP {token}"), *(("DPoP", value) for value in proofs)]
        return await self.ask(path, headers)

    async def post(self, form, *proofs, headers=()):
        """Ask the token endpoint."""
        sent = [
            ("Content-Type", "application/x-www-form-urlencoded"),
            *headers,
            *(("DPoP", value) for value in proofs),
        ]
        url = f"{self.url}/_auth/token"
        async with self._http.post(url, data=urlencode(form), headers=sent) as answer:
            return SimpleNamespace(
                status=answer.status,
                body=await answer.json(),
                headers=answer.headers,
                nonce=answer.headers.get("DPoP-Nonce"),
            )

    def token_proof(self, **how):
        """Make a proof for the token endpoint."""
        return proof("POST", f"{self.url}/_auth/token", **how)

    async def token(self, **how):
        """Return an access token about the client itself, bound to its key."""
        form = {"grant_type": "client_credentials"}
        answer = await self.post(form, self.token_proof(**how), headers=BASIC.items())
        assert (answer.status, answer.body.get("token_type")) == (200, "DPoP"), answer.body
        return answer.body["access_token"]

    async def bearer(self):
        """Return one that is bound to no key."""
        answer = await self.post({"grant_type": "client_credentials"}, headers=BASIC.items())
        assert answer.body["token_type"] == "Bearer"
        return answer.body["access_token"]

    async def refresh(self, token, *proofs, client="spa", headers=()):
        """Use a refresh token."""
        form = {"grant_type": "refresh_token", "refresh_token": token}
        form |= {"client_id": client} if client == "spa" else {}
        return await self.post(form, *proofs, headers=headers)

    async def begin(self, client="spa"):
        """Return the refresh token of a new family, bound to nothing."""
        now = time.time()
        families = self.gate.runtime.tokens._families
        answer = await families.begin(Holder("ann"), client, now, since=now)
        return answer.refresh_token
