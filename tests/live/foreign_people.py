"""People with sessions of applications, as connect-redis writes them, and a gate that asks for codes."""

from __future__ import annotations

import base64
import hmac
import json
import time

from proxy.core.otp import code_at
from proxy.core.session_factors import person_of

SECRET = "k" * 32
ONE, TWO = "A" * 32, "B" * 32
PAGE = {"Accept": "text/html"}
FORM = {**PAGE, "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate"}
FORM["Sec-Fetch-Dest"] = "document"
FACTOR = "latchgate-factor-shop"
CONFIG = """
store: {{{own}}}
secrets: {{key: "{key}"}}
upstreams: {{app: {{servers: ["http://127.0.0.1:{port}"]}}}}
schemes:
  shop:
    type: session
    format: express
    store: "{apps}"
    secrets: "{secret}"
    identity: {{subject: passport.user}}
  desk:
    type: session
    format: express
    cookie: desk.sid
    prefix: "desk:"
    store: "{apps}"
    secrets: "{secret}"
    identity: {{subject: passport.user}}
  web: {{type: session, format: native, cookie: sid}}
login: {{scheme: web}}
routes:
  - {{match: {{path: /**}}, auth: shop, upstream: app}}
  - {{match: {{path: /pay/**}}, auth: shop, upstream: app, require: {{mfa_within: 15m}}}}
  - {{match: {{path: /soon/**}}, auth: shop, upstream: app, require: {{mfa_within: 2s}}}}
  - {{match: {{path: /desk/**}}, auth: desk, upstream: app, require: {{mfa_within: 15m}}}}
  - {{match: {{path: /own/**}}, auth: web, upstream: app, require: {{mfa_within: 15m}}}}
"""


def cookie_of(session):
    """Return what express-session sends for an id."""
    mac = base64.b64encode(hmac.digest(SECRET.encode(), session.encode(), "sha256"))
    return f"s%3A{session}.{mac.decode().rstrip('=').replace('/', '%2F').replace('+', '%2B')}"


def write(apps, session, user, prefix="sess:"):
    """Keep a session as connect-redis does."""
    record = {"cookie": {"originalMaxAge": 600_000, "httpOnly": True, "path": "/"}}
    if user is not None:
        record["passport"] = {"user": user}
    apps.set(prefix + session, json.dumps(record), ex=600)


class Person:
    """Somebody with a browser: cookies by name, which answers change."""

    def __init__(self, gate, http, session, name="connect.sid"):
        self.gate, self.http = gate, http
        self.cookies = {name: cookie_of(session)}

    async def ask(self, method, path, headers=(), **sent):
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        said = {"Cookie": cookie, **dict(headers)}
        url = self.gate.url + path
        async with self.http.request(
            method, url, headers=said, allow_redirects=False, **sent
        ) as answer:
            for name, morsel in answer.cookies.items():
                self.cookies[name] = morsel.value
            return answer, await answer.text()

    async def statuses(self, *paths):
        return [(await self.ask("GET", path))[0].status for path in paths]

    async def prove(self, code, scheme="shop", **said):
        """Send a code as a program does; return status and content."""
        path = f"/_auth/step-up/{scheme}"
        answer, text = await self.ask("POST", path, json={"code": code, **said})
        return answer.status, json.loads(text)

    @property
    def otp(self):
        return self.gate.runtime.foreign.step_up.otp

    async def enrol(self, subject="ada", scheme="shop", at=None):
        """Set an app up, as an operator does."""
        made = await self.otp.enrol(person_of(scheme, subject), at or time.time())
        self.secret, self.recovery = base64.b32decode(made.secret), made.recovery_codes

    def code(self, steps=0):
        return code_at(self.secret, time.time() + 30 * steps)
