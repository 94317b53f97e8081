"""Questions of other proxies: described or refused, and never a leave to pass without a credential.

Input: a byte that picks the dialect, the question's request line, and header lines as they come. Nobody
who makes inputs knows the secret that tokens are signed with, so that what may pass is public.
"""

from __future__ import annotations

import asyncio
import atexit
from pathlib import Path

from proxy.config.loader import parse_config
from proxy.core.described import DIALECTS, Misdescribed, describe
from proxy.core.headers import HeaderRules, fold
from proxy.model import Peer, Refusal, RequestView
from proxy.services.compile import identity_names
from proxy.services.compile_checks import compile_problems
from proxy.services.decision import Forward
from proxy.services.letting import Letting
from proxy.services.runtime import Runtime

CONFIG = """
decision: {listen: "127.0.0.1:9191", callers: [{from: 127.0.0.1, dialect: nginx}]}
upstreams:
  app: {servers: ["unix:/nonexistent/app"]}
  exact: {servers: ["unix:/nonexistent/exact"], paths: exact}
schemes:
  api:
    type: jwt
    issuer: https://id.example
    audience: [app]
    algorithms: [HS256]
    keys: {secret: a-secret-that-no-input-is-signed-with-at-all}
    from: [bearer, basic, {cookie: sid}, {query: token}, {header: X-Token}]
    revocation: none
    max_lifetime: 15m
routes:
  - {name: public, match: {path: /public/**}, auth: none, upstream: app}
  - {name: cut, match: {path: /cut/**}, auth: none, upstream: exact, strip_prefix: /cut, upgrades: []}
  - {name: shared, match: {path: /shared}, auth: api, upstream: app, cors: {origins: ["https://a.example"]}}
  - {name: rest, match: {path: /**}, auth: api, upstream: app, identity: {preset: remote-user}}
"""
NAMES = tuple(DIALECTS)
PROXY = Peer("127.0.0.1", 1, is_unix=False, is_tls=False)
NOWHERE = Path("/nonexistent/latchgate")

WORDS = (
    *(b"X-Original-Method: GET", b"X-Original-URI: /public/a", b"X-Forwarded-Method: GET"),
    *(b"X-Forwarded-Uri: /public/a", b"X-Forwarded-Host: a", b"X-Forwarded-Proto: https"),
    *(b"X-Forwarded-For: 192.0.2.1", b"Host: a", b"/check", b"/answer", b"/check/app", b"/cut"),
    *(
        b"GET ",
        b"POST ",
        b"OPTIONS ",
        b"\n",
        b": ",
        b"/public/",
        b"/../",
        b"%2f",
        b"%2e",
        b";",
        b"//",
    ),
    *(
        b"X-Auth-Subject: m",
        b"X_Auth_Subject: m",
        b"X.Auth.Roles: m",
        b"Remote_User: m",
        b"#",
        b"?",
    ),
    *(b"X-Latchgate-Decision: forward", b"x_latchgate_target: /", b"Authorization: Bearer a.b.c"),
    *(b"Cookie: sid=a", b"X-Token: a", b"token=a", b"Sec-WebSocket-Key: a", b"Upgrade: websocket"),
    *(b"Origin: https://a.example", b"Access-Control-Request-Method: GET", b"Connection: Cookie"),
    *(b"X-Rewrite-URL: /", b"Via: 1.1 here", b",", b" ", b"\x00", b"\xff", b"[::1]", b"unix:"),
)


class _Asked:
    """One gate for all inputs, and what its answers are made with."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        loaded = parse_config(
            CONFIG.encode(), file="f.yaml", base=NOWHERE, checks=[compile_problems], environment={}
        )
        self.runtime = self.loop.run_until_complete(Runtime.start(loaded, gate_id="here"))
        self.letting = Letting.from_config(loaded.config)
        self.rules = HeaderRules(identity_names(loaded.config))
        atexit.register(self.close)

    def close(self) -> None:
        self.loop.run_until_complete(self.runtime.close())
        self.loop.close()


_ASKED: list[_Asked] = []


def one_input(data: bytes) -> None:
    """Ask one question."""
    if not _ASKED:
        _ASKED.append(_Asked())
    (asked,) = _ASKED
    dialect = DIALECTS[NAMES[data[0] % len(NAMES)]] if data else DIALECTS["nginx"]
    first, *lines = data[1:].replace(b"\r", b"").split(b"\n")
    method, _, target = first.partition(b" ")
    pairs = [line.partition(b":") for line in lines if b":" in line]
    headers = tuple((name, value.strip(b" \t")) for name, _, value in pairs)
    question = RequestView(method.decode("latin-1"), target, headers, PROXY)
    try:
        described = describe(question, dialect)
    except Misdescribed:
        return
    for name in dialect.described_by:
        assert len(question.values(name)) == 1, "nobody chooses which of two counts"
    if dialect.target is not None:
        assert [described.view.target] == question.values(dialect.target)
    decision = asked.loop.run_until_complete(
        asked.runtime.gate.decide(described.view, 1e9, client=described.client)
    )
    if not isinstance(decision, Forward):
        return
    assert decision.identity is None
    assert not decision.route.schemes, "nobody signs what this gate believes"
    told = asked.letting.let(described, decision, dialect)
    if isinstance(told, Refusal):
        return
    for name, value in told:
        assert b"\n" not in name + value
    said = {name.lower(): value for name, value in told}
    for name in asked.letting.identity_names:
        assert said[name.lower()] == b""
    removed = b",".join(
        said.get(name, b"") for name in (b"x-latchgate-remove", b"x-envoy-auth-headers-to-remove")
    ).split(b",")
    for name, _ in described.view.headers:
        if asked.rules.is_own(fold(name)):
            assert name in removed or name.lower() in said, "a client speaks for the gate"
