"""The two lanes of a gate, for tests: one behaviour, whichever way a request takes (design.md §8).

`off` is the request loop alone, `cold` the express lane without its memo, `warm` the lane with a memo
that knows each request before it comes. What never belongs here: what a test expects.
"""

from __future__ import annotations

import contextlib
from dataclasses import fields
from typing import Any, Final

from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParser
from aiohttp.streams import EMPTY_PAYLOAD

from proxy.edge import server as edge
from proxy.edge.express import ExpressConnection
from proxy.edge.fitting import ends_with, is_laden, is_short
from proxy.edge.incoming import HeadError, awaits_upgrade, read_head
from proxy.edge.lane import Lane
from proxy.edge.memo import Memo
from proxy.edge.ready import Ready
from proxy.edge.strangers import Shape, Strangers
from proxy.edge.traced import TracedConnection
from proxy.model import RequestView
from proxy.services.authenticate import Unknown
from proxy.services.decision import Forward

MODES: Final = ("off", "cold", "warm")
COMPARED: Final = (*MODES, "new")
"""`new`: all is known of a request but its credential, every time."""

_END: Final = b"\r\n\r\n"
_CLOSE: Final = b"\r\nConnection: close\r\n"


class Primed(ExpressConnection):
    """A connection whose memo has seen each request before it comes: the first one is a hit.

    Every other block is known as a whole as well, the rest by their lines. A credential that has to
    be looked up first is known from its second request on.
    """

    __slots__ = ()

    def data_received(self, data: bytes) -> None:
        """Learn what arrives, and then take it."""
        if self._is_resting and _END in data:
            self._rehearse(data)
        super().data_received(data)

    def _rehearse(self, data: bytes) -> None:
        view = self._read(data)
        size = 0 if view is None or not view.has_body else len(data) - data.find(_END) - 4
        counters = self._lane._server.runtime.coherence.counters
        before = {field.name: getattr(counters, field.name) for field in fields(counters)}
        decision = None
        with contextlib.suppress(Exception):  # whatever it is, the request itself will meet it
            decision = None if view is None else self._decided(view)
        for name, value in before.items():
            setattr(counters, name, value)
        if view is None or not isinstance(decision, Forward):
            return
        ready = Ready(decision, view, self._lane.counters, view.first(b"host") or b"")
        self._packet = data
        self._learn(ready, view, decision.route.upstream.servers[0], size)
        self._packet = b""
        if size:
            return
        read = self._memo.read(data[data.find(b"\r\n") :])
        special = None if read is None else self._memo.special(read[0])
        if read is None or special is None or len(data) % 2:
            return
        known = special.ready.get(decision.route)
        if known is not None:
            block = data[data.find(b"\r\n") :]
            for place, out in zip(read[2], known.outs, strict=True):
                read[1][place] = out
            front = known.host_line + b"".join(read[1]) + known.tail
            self._memo.keep(block, special, decision.route, known, front)

    def _read(self, data: bytes) -> RequestView | None:
        limits = self._limits
        parser = HttpRequestParser(
            self,
            self._loop,
            2**16,
            max_line_size=limits.header_size,
            max_field_size=limits.header_size,
            max_headers=limits.header_size // 4,
        )
        try:
            messages, _, _ = parser.feed_data(data)
        except HttpProcessingError:
            return None
        if len(messages) != 1:
            return None
        message, payload = messages[0]
        fits = is_short
        if payload is not EMPTY_PAYLOAD:
            if not ends_with(data, message):
                return None
            fits = is_laden
        elif awaits_upgrade(message, payload) or data.find(_END) != len(data) - 4:
            return None
        incoming = read_head(message, payload, self.peer, limits, self._loop.time())
        return incoming.view if not isinstance(incoming, HeadError) and fits(incoming) else None

    def _decided(self, view: RequestView) -> Any:
        gate = self._lane.gate
        now = edge.time.time()
        decision = gate.decide_now(view, now)
        if isinstance(decision, Unknown) and getattr(decision.scheme, "deny_list", gate) is None:
            flight = decision.scheme.begin(decision.found, now)
            if flight is not None and flight.done() and flight.exception() is None:
                decision = gate.decide_now(view, now)
        return decision


class PrimedTraced(TracedConnection, Primed):
    """The same, of a gate that makes traces."""

    __slots__ = ()


class _Nothing(dict[Any, Any]):
    """A memory that keeps nothing."""

    def __setitem__(self, key: Any, value: Any) -> None:
        pass


class _Unacquainted(Strangers):
    """Shapes of a memo that forgets whom it has met."""

    __slots__ = ()

    def find(self, matter: tuple[bytes, ...]) -> tuple[Shape, bytes] | None:
        """Return what is known, but for the verdict."""
        known = super().find(matter)
        for sketch in known[0].sketches.values() if known is not None else ():
            if known is not None and sketch is not None:
                scheme: Any = sketch.scheme
                ledger = scheme.records.ledger if hasattr(scheme, "records") else scheme.ledger
                ledger.drop_expired(ledger.key(known[1]))
        return known


def forget_people(lane: Lane | None) -> None:
    """Have a lane look up every credential that it could recognise."""
    assert lane is not None
    make = lane._memo

    def forgetful(**options: Any) -> Memo:
        memo = make(**options)
        memo._blocks, memo._specials = _Nothing(), _Nothing()
        memo.find = memo._blocks.get
        memo.strangers = _Unacquainted()
        return memo

    lane._memo = forgetful  # type: ignore[method-assign] # for a test


def kept_alive(raw: bytes) -> bytes | None:
    """Return one request without its `Connection: close`, which keeps it out of the lane.

    `None` for whatever is not exactly one head of HTTP/1.1 without a body that says so once.
    """
    head = raw.lower()
    if raw.find(_END) != len(raw) - 4 or raw.count(_CLOSE) != 1 or head.count(b"connection") != 1:
        return None
    if not raw.partition(b"\r\n")[0].endswith(b" HTTP/1.1"):
        return None
    if b"\r\ncontent-length" in head or b"\r\ntransfer-encoding" in head or b"\r\nupgrade" in head:
        return None
    return raw.replace(_CLOSE, b"\r\n")


def is_whole(raw: bytes, *methods: bytes) -> bool:
    """Tell whether the final answers to `methods` have come; one without a length ends by close."""
    at = 0
    for method in methods:
        end = _end_of_answer(raw, at, method)
        if end is None:
            return False
        at = end
    return True


def _end_of_answer(raw: bytes, at: int, method: bytes) -> int | None:
    while (end := raw.find(_END, at)) >= 0:
        head, at = raw[at:end].lower(), end + 4
        status = head[9:12]
        if status[:1] == b"1" and status != b"101":
            continue
        if method == b"HEAD" or status in (b"101", b"204", b"304"):
            return at
        fields = [line.partition(b":") for line in head.split(b"\r\n")[1:]]
        values = {name: value.strip() for name, _, value in fields}
        if b"content-length" in values:
            at += int(values[b"content-length"])
            return at if at <= len(raw) else None
        return _end_of_chunks(raw, at) if b"transfer-encoding" in values else None
    return None


def _end_of_chunks(raw: bytes, at: int) -> int | None:
    while (end := raw.find(b"\r\n", at)) >= 0:
        size = int(raw[at:end].partition(b";")[0], 16)
        if size == 0:
            if raw.startswith(b"\r\n", end + 2):
                return end + 4
            found = raw.find(_END, end + 2)
            return None if found < 0 else found + 4
        at = end + 2 + size + 2
    return None
