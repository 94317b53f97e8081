"""Bytes on a client's connection, through the whole gate: answers or a close, never a 500.

Input: a byte for the size of the pieces, then the bytes. `@TOKEN@` and `@ADMIN@` stand for good
tokens, which have to be fresh. Behind the gate a strict reader takes what is sent on apart: every
forwarded request must be whole, in the order of the log, and say who the gate says it is.
"""

from __future__ import annotations

import asyncio
import atexit
import hashlib
import hmac
import json
import re
import time
from pathlib import Path
from typing import Literal

from proxy.codes import CODES
from proxy.config.loader import LoadedConfig, parse_config
from proxy.core.compact import encode_segment
from proxy.edge.lane import Express
from proxy.edge.server import GateServer
from proxy.model import AccessRecord
from proxy.services.compile_checks import compile_problems
from proxy.services.runtime import Runtime
from tests.fuzz.memory_network import Backend, MemoryLoop, MemoryTransport
from tests.lanes import forget_people

SECRET = "a-secret-that-only-these-inputs-are-signed-with"
CONFIG = f"""
server: {{id: here, limits: {{header_size: 4KiB, body_size: 8KiB}}, trusted_proxies: [192.0.2.0/24]}}
upstreams:
  app: {{servers: ["unix:/nonexistent/app"]}}
  exact: {{servers: ["unix:/nonexistent/exact"], paths: exact}}
schemes:
  api:
    type: jwt
    issuer: https://id.example
    audience: [app]
    algorithms: [HS256]
    keys: {{secret: {SECRET}}}
    from: [bearer, basic, {{cookie: sid}}, {{query: token}}, {{header: X-Token}}]
    revocation: none
    max_lifetime: 15m
routes:
  - {{name: public, match: {{path: /public/**}}, auth: none, upstream: app, upgrades: [websocket],
      allow_paths: [encoded_slash, double_slash, semicolon]}}
  - {{name: cut, match: {{path: /cut/**}}, auth: none, upstream: exact, strip_prefix: /cut}}
  - {{name: open, match: {{host: "*.example", path: /**, methods: [GET, POST]}}, auth: none, upstream: app}}
  - {{name: shared, match: {{path: /shared}}, auth: api, upstream: app,
      cors: {{origins: ["https://shop.example"], credentials: true}}}}
  - {{name: rest, match: {{path: /**}}, auth: api, upstream: app, upgrades: [websocket],
      identity: {{preset: remote-user}}}}
  - {{name: admin, match: {{path: /admin/**}}, auth: api, require: {{roles: [admin]}}, upstream: app}}
"""
OPEN = {"public", "cut", "open"}
SIZES = (1 << 20, 1, 2, 7, 40, 100, 333, 1000)
RENEW_S = 300.0
PATIENCE_S = 400.0
"""More than every timer of the gate: what runs on after an input would be seen in the next one."""
STATUSES = {info.status for info in CODES.values()} - {500} | {200, 204}
MINE = re.compile(rb"x-auth-|remote-(?:user|email|name|groups)$")
ANSWER = re.compile(rb"HTTP/1\.1 ([1-5][0-9]{2}) [^\r\n]*\r\n((?:[!-9;-~]+: [^\r\n]*\r\n)*)\r\n")
FOLDED = bytes(
    byte + 32 if 65 <= byte <= 90 else byte if chr(byte).isalnum() and byte < 128 else 45
    for byte in range(256)
)

WORDS = (
    *(b"GET / HTTP/1.1\r\n", b"POST /public HTTP/1.1\r\n", b"OPTIONS * HTTP/1.1\r\n", b"HTTP/1.0"),
    *(b"Host: a\r\n", b"Host: b.example\r\n", b"HTTP/1.1\r\n", b"\r\n\r\n", b"\r\n", b"\n", b"\r"),
    *(b"Content-Length: 2\r\n", b"Content-Length:", b"Transfer-Encoding: chunked\r\n", b"chunked"),
    *(
        b"Transfer-Encoding:",
        b"Transfer_Encoding: chunked\r\n",
        b"0\r\n\r\n",
        b"2\r\nok\r\n",
        b";x",
    ),
    *(b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"Connection: Upgrade\r\n"),
    *(b"Connection: X-Auth-Subject\r\n", b"Upgrade: websocket\r\n", b"Upgrade: h2c\r\n"),
    *(b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b"Sec-WebSocket-Version: 13\r\n"),
    *(b"Authorization: Bearer @TOKEN@\r\n", b"Cookie: sid=@TOKEN@\r\n", b"?token=@TOKEN@"),
    *(
        b"Authorization: Bearer @ADMIN@\r\n",
        b"X-Token: @TOKEN@\r\n",
        b"Authorization: Basic eDp5\r\n",
    ),
    *(b"X-Auth-Subject: eve\r\n", b"X_Auth_Subject: eve\r\n", b"x.auth.roles: admin\r\n"),
    *(b"Remote_User: eve\r\n", b"X-Forwarded-Uri: /public\r\n", b"X-Forwarded-For: a\r\n"),
    *(b"X-Forwarded-Host: evil\r\n", b"X-Original-URL: /public\r\n", b"Proxy: http://x\r\n"),
    *(b"Origin: https://evil.example\r\n", b"Sec-Fetch-Site: cross-site\r\n", b"TE: trailers\r\n"),
    *(
        b"Origin: https://shop.example\r\n",
        b"Access-Control-Request-Method: PUT\r\n",
        b"Via: 1.1 here\r\n",
    ),
    *(
        b"Expect: 100-continue\r\n",
        b"Forwarded: for=x\r\n",
        b"X-Request-Id: 1\r\n",
        b"CONNECT a:1 ",
    ),
    *(
        b"/admin",
        b"/public",
        b"/cut",
        b"/shared",
        b"//",
        b"..",
        b"%2e%2e",
        b"%2f",
        b";",
        b"#",
        b"%00",
    ),
    *(b"\x00", b"\xff", b" ", b"\t", b":", b"_", b"http://a/", b"*", b"GET ", b"POST ", b"PUT "),
)


class _Gate:
    """One gate, and what it logged."""

    def __init__(self, express: Express | Literal["new"] | None = None) -> None:
        self._express = express
        self.loop = MemoryLoop()
        loaded = parse_config(
            CONFIG.encode(), file="gate.yaml", base=Path("/nonexistent"), checks=[compile_problems]
        )
        self.records: list[AccessRecord] = []
        self.server = self.loop.run_until_complete(self._start(loaded))
        self._renewed = 0.0
        self._tokens: dict[bytes, bytes] = {}

    async def _start(self, loaded: LoadedConfig) -> GateServer:
        runtime = await Runtime.start(loaded)
        way = "warm" if self._express == "new" else self._express
        server = GateServer(runtime, access_log=self.records.append, express=way)
        if self._express == "new":
            forget_people(server.lane)
        return server

    async def converse(self, raw: bytes, size: int, *, pauses: bool) -> bytes:
        """Send bytes in pieces, then the end; return what came, once everything is over."""
        answers = bytearray()
        connection = self.server._manager()
        extra = {"peername": ("198.51.100.7", 40000), "sockname": ("198.51.100.1", 80)}
        transport = MemoryTransport(self.loop, connection, answers.extend, extra)
        connection.connection_made(transport)
        for at in range(0, len(raw), size):
            if transport.is_closed:
                break
            connection.data_received(raw[at : at + size])
            if pauses and at % 8 == 0:
                await asyncio.sleep(0.001)
        if not transport.is_closed and not connection.eof_received():
            transport.close()
        await self.server._manager.until_empty()
        await asyncio.sleep(PATIENCE_S)
        return bytes(answers)

    def tokens(self) -> dict[bytes, bytes]:
        """Return what the placeholders stand for."""
        if time.time() > self._renewed + RENEW_S:
            self._renewed = time.time()
            self._tokens = {b"@TOKEN@": _token([]), b"@ADMIN@": _token(["admin"])}
        return self._tokens


def _token(roles: list[str]) -> bytes:
    said = {"iss": "https://id.example", "aud": "app", "sub": "ann", "roles": roles}
    times = {"iat": int(time.time()), "exp": int(time.time()) + 890}
    signing_input = (
        encode_segment(b'{"alg":"HS256"}')
        + b"."
        + encode_segment(json.dumps(said | times).encode())
    )
    signature = hmac.digest(SECRET.encode(), signing_input, hashlib.sha256)
    return signing_input + b"." + encode_segment(signature)


_GATES: list[_Gate] = []


@atexit.register
def _close() -> None:
    """Close what is left, or the interpreter would wait for it at its end."""
    while _GATES:
        _GATES.pop().loop.close()


def one_input(data: bytes) -> None:
    """Send bytes on one connection, close it, and look at all that came of it."""
    if not _GATES:
        _GATES.append(_Gate())
    gate = _GATES[0]
    try:
        _run(gate, data)
    except BaseException:
        _close()  # the next input finds a gate without a past
        raise


def _run(gate: _Gate, data: bytes) -> None:
    raw = data[1:]
    for mark, token in gate.tokens().items():
        raw = raw.replace(mark, token)
    size = SIZES[data[0] & 7 if data else 0]
    gate.records.clear()
    gate.loop.connected.clear()
    pauses = bool(data and data[0] & 8)
    answers = gate.loop.run_until_complete(gate.converse(raw, size, pauses=pauses))
    assert not gate.loop.errors, gate.loop.errors.pop()
    _check_answers(answers, gate.records)
    _check_forwarded(gate.loop.connected, gate.records)


def _check_answers(raw: bytes, records: list[AccessRecord]) -> None:
    """Find one well-formed answer for every record that was answered, in order."""
    at = 0
    waiting = [record for record in records if record.status != 499]
    for record in waiting:
        assert record.status in STATUSES or record.status == 101, record
        answer = ANSWER.match(raw, at)
        while answer is not None and answer[1] in {b"100", b"102", b"103"}:
            at = answer.end()
            answer = ANSWER.match(raw, at)
        assert answer is not None, (record, raw[at : at + 200])
        assert int(answer[1]) == record.status
        assert b"eve" not in answer[2]
        at = answer.end()
        if record.status == 101:
            return
        headers = dict(line.partition(b": ")[::2] for line in answer[2].split(b"\r\n"))
        if record.method == "HEAD" or record.status in {204, 304}:
            continue
        if headers.get(b"Transfer-Encoding") == b"chunked":
            at = raw.index(b"0\r\n", at)
            at = raw.index(b"\r\n\r\n", at) + 4
        elif b"Content-Length" in headers:
            at += int(headers[b"Content-Length"])
        else:
            at = len(raw)
    rest = raw[at:]
    assert not rest or any(record.status == 499 for record in records), rest[:200]


def _check_forwarded(connected: list[Backend], records: list[AccessRecord]) -> None:
    """Compare what went on with what was decided to go on, and who it is said to be from."""
    heads = [head for backend in connected for head in backend.requests]
    forwarded = [record for record in records if record.decision == "forward" and record.server]
    assert len(heads) <= len(forwarded)
    for backend in connected:
        assert backend.transport is not None
        assert backend.transport.is_closed or not backend.has_rest
    if len(heads) < len(forwarded):
        assert any(record.status in {400, 413, 408, 499, 502} for record in forwarded)
        return
    if len(connected) > 1:  # in which order they were used is not known here
        return
    for (method, target, fields), record in zip(heads, forwarded, strict=True):
        assert method.decode() == record.method
        assert target[:1] == b"/"
        assert target[:2] != b"//" or record.route != "cut"
        said = [
            (name.lower(), value) for name, value in fields if MINE.match(name.translate(FOLDED))
        ]
        assert record.route is not None
        if record.route in OPEN:
            assert said == [], said
        else:
            assert record.subject == "ann"
            assert said.count((b"x-auth-subject", b"ann")) == 1
            assert not any(b"eve" in value for _, value in said)
            assert len({name for name, _ in said}) == len(said)
        assert sum(name.lower() == b"host" for name, _ in fields) <= 1
