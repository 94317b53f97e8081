"""What the express lane remembers of requests: header blocks, request lines, and what became of them.

A client sends the same header block again and again, or one that differs in a line or two. What was
parsed and decided once is kept by the bytes that it depends on; a hit replaces parsing and nothing
else (design.md §8). Whether the credential is still good, and everything that belongs to the clock,
the connection or the target, is asked by the lane each time. What never belongs here: I/O, clocks.

Three memories, each bounded. Request lines by host: line → route and path to send. Blocks: bytes →
the lines that matter. The lines that matter (host, credentials, whatever a scheme or a rule reads)
as a tuple → what the upstream is sent for them. A line that does not matter is copied or dropped by
its name. Only lines of the strictest form are read here, which no two parsers read differently; all
else is for the parser.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final

from proxy.core.headers import FORWARDING_NAMES, HeaderRules, fold, is_token
from proxy.edge.counters import CellKey, RequestCounters
from proxy.edge.logged import logged_host, logged_path
from proxy.model import Header, Identity, RequestView
from proxy.services.decision import Forward
from proxy.services.gate import Gate
from proxy.services.route import Route
from proxy.services.schemes.port import Holds

MAX_LINE: Final = 2048
"""Bytes of a request line."""
MAX_BLOCK: Final = 8192
"""Bytes of a header block."""
MAX_BYTES: Final = 16 * 1024 * 1024
"""Of each memory of a worker, as estimated."""
ENTRY_BYTES: Final = 2000
"""What an entry costs beside its bytes (measured: tests/unit/edge/test_memo.py)."""
_SPECIAL_COPIES: Final = 5
"""Bytes that are kept for each byte of a line that matters: as key, as header, as it is sent, as
credential, as what is known by it."""
_LINE_BYTES: Final = 350
"""What each of them costs beside."""
_WAY_COPIES: Final = 5
"""The same for a request line: as key, as target, as it is sent, as it is logged."""
SIGHTS: Final = 65_536
"""How many things that were seen once are remembered as such: more than there are callers at a time."""
MAX_HOSTS: Final = 256
"""Whose request lines are kept."""
MAX_WAYS: Final = 8192
MAX_LINES: Final = 16_384
MAX_NAMES: Final = 2048

_END: Final = b"\r\n\r\n"
_VISIBLE: Final = bytes(range(0x21, 0x7F))
_TEXT: Final = bytes(range(0x20, 0x7F))

_KEEP: Final = 0
_DROP: Final = 1
_MATTERS: Final = 2
_NEVER: Final = 3

_MATTER_PART: Final = bytes(bytearray(b"\r\n"))
"""Stands for what is sent of a line that matters: compared by identity."""
Read = tuple[tuple[bytes, ...], list[bytes], list[int], bool]
"""The lines that matter, each with its CR; what is sent of each line, these left open; where they stand; and whether
every line was remembered."""

_MATTER: Final = frozenset(
    {b"host", b"authorization", b"cookie", b"user-agent", b"origin", b"connection"}
)
_NEVER_NAMES: Final = frozenset(
    {
        b"content-length",
        b"content-type",
        b"content-encoding",
        b"content-location",
        b"content-range",
        b"dpop",
        b"etag",
        b"expect",
        b"http2-settings",
        b"max-forwards",
        b"proxy-connection",
        b"server",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"via",
    }
)
"""Framing, upgrades, proofs, what the parser takes for Connection, and names of which it takes one
at most."""
_STEADY: Final = frozenset(
    {
        b"accept",
        b"accept-encoding",
        b"accept-language",
        b"cache-control",
        b"connection",
        b"dnt",
        b"host",
        b"origin",
        b"pragma",
        b"priority",
        b"sec-ch-ua",
        b"sec-ch-ua-mobile",
        b"sec-ch-ua-platform",
        b"sec-fetch-dest",
        b"sec-fetch-mode",
        b"sec-fetch-site",
        b"sec-fetch-user",
        b"upgrade-insecure-requests",
        b"user-agent",
        b"x-requested-with",
    }
)
"""Names whose values are few: their lines are kept; others are read each time."""


class Way:
    """A request line of one host: where it leads."""

    __slots__ = ("front", "is_head", "logged", "method", "path", "route", "target")

    def __init__(self, method: str, target: bytes, route: Route, sent: bytes) -> None:
        """Take the target as it came, and the one to send."""
        self.method = method
        self.is_head = method == "HEAD"
        self.target = target
        self.route = route
        self.front = b"%b %b HTTP/1.1\r\n" % (method.encode("ascii"), sent)
        self.path = logged_path(target)
        self.logged = ""
        """What the log says of it, once it was said."""


class Ready:
    """What a decision makes of a request but for its line, its connection, and its id."""

    __slots__ = (
        "asserted",
        "assertions",
        "back",
        "decision",
        "demands",
        "headers",
        "holds",
        "host",
        "host_line",
        "identity",
        "key",
        "logged",
        "logged_for",
        "logged_host",
        "memory_key",
        "outs",
        "plan",
        "server",
        "tail",
        "tally",
        "told",
        "upstream",
    )  # fmt: skip

    def __init__(
        self, decision: Forward, view: RequestView, counters: RequestCounters, host: bytes
    ) -> None:
        route, identity = decision.route, decision.identity
        self.decision = decision
        self.identity: Identity | None = identity
        self.holds: Holds | None = None
        """Asked at every use; `None` on a public route only."""
        self.demands = route.unmet if route.is_demanding and identity is not None else None
        self.outs: tuple[bytes, ...] = ()
        """For each line that matters what is sent of it."""
        self.host_line = b""
        self.server = route.upstream.servers[0] if len(route.upstream.servers) == 1 else None
        self.tail = b""
        """Lines that the gate has rewritten, behind the client's."""
        self.assertions = route.assertions
        self.asserted: tuple[Header, ...] = ()
        self.told = (host, route.strip_prefix, route.upstream_host)
        """What the forwarding headers depend on, beside the connection."""
        self.host = host
        self.logged_host = logged_host(view)
        self.logged = ""
        self.logged_for: object = None
        """For which client and server."""
        self.back = back_of(decision.identity_headers)
        self.upstream = route.upstream
        scheme = identity.scheme if identity is not None else ""
        self.tally = counters.tally(route.name, scheme, route.upstream.name)
        self.key: CellKey = ("forward", route.name, scheme, None)
        self.plan = route.responses_for(decision.client)
        self.headers = view.headers
        self.memory_key = None if decision.response_headers else self.plan
        """What a rendered head of an answer depends on; `None`: on more than the route."""


def headers_of(head: bytes) -> tuple[Header, ...]:
    """Return the header fields of a head in the strict form that `Memo.read` takes."""
    lines = head[: head.find(_END)].split(b"\r\n")[1:]
    return tuple((name, value) for name, _, value in (line.partition(b": ") for line in lines))


def back_of(identity_headers: Iterable[Header]) -> bytes:
    """Return what follows the request's id: the gate's word, and the end of the head."""
    return b"\r\n" + b"".join(b"%b: %b\r\n" % header for header in identity_headers) + b"\r\n"


class Special:
    """The lines of a block that matter, and what was decided of them, by route."""

    __slots__ = ("host", "ready", "ways")

    def __init__(self, host: bytes, ways: dict[bytes, Way]) -> None:
        self.host = host
        self.ways = ways
        self.ready: dict[Route, Ready] = {}


class Block:
    """A whole block: its lines that matter, and what is sent of all of them, by route."""

    __slots__ = ("fronts", "special")

    def __init__(self, special: Special) -> None:
        self.special = special
        self.fronts: dict[Route, tuple[Ready, bytes]] = {}


class Memo:
    """What one kind of listener and peer has sent to one configuration."""

    __slots__ = (
        "_blocks", "_fields", "_gate", "_is_eager", "_is_trusted", "_line_bytes", "_lines", "_max_block", "_max_line", "_names", "_rules", "_seen", "_size",
        "_specials", "_way_bytes", "_way_count", "_ways", "find",
    )  # fmt: skip

    def __init__(
        self,
        gate: Gate,
        rules: HeaderRules,
        fields: frozenset[bytes],
        *,
        is_trusted: bool,
        header_size: int,
        is_eager: bool = False,
    ) -> None:
        """Begin empty. `fields`: lower-case names that any scheme of the file reads.

        `header_size`: bytes of a whole head; nothing is remembered that could exceed it. `is_eager`:
        what is seen for the first time is remembered as well.
        """
        self._is_eager = is_eager
        self._max_line = min(MAX_LINE, header_size // 4)
        self._max_block = min(MAX_BLOCK, header_size - self._max_line)
        self._gate = gate
        self._rules = rules
        self._fields = fields
        self._is_trusted = is_trusted
        self._names: dict[bytes, int] = {}
        self._lines: dict[bytes, bytes] = {}
        self._line_bytes = 0
        self._blocks: dict[bytes, Block] = {}
        self._specials: dict[tuple[bytes, ...], Special] = {}
        self._ways: dict[bytes, dict[bytes, Way]] = {}
        self._seen: dict[int, None] = {}
        self._size = 0
        self._way_count = self._way_bytes = 0
        self.find: Callable[[bytes], Block | None] = self._blocks.get
        """Return what is known of a whole block."""

    def __len__(self) -> int:
        """Return how many blocks and sets of lines are kept."""
        return len(self._blocks) + len(self._specials)

    def clear(self) -> None:
        """Forget everything."""
        for memory in (self._lines, self._blocks, self._specials, self._ways, self._seen):
            memory.clear()
        self._size = self._line_bytes = self._way_count = self._way_bytes = 0

    # hot: every request of the express lane whose block was not seen before
    def read(self, block: bytes) -> Read | None:
        """Take a block apart; `None` for what is not of the strictest form, or never remembered."""
        if block[-4:] != _END or block[:2] != b"\r\n" or len(block) > self._max_block:
            return None
        known = self._lines.get
        parts: list[bytes] = []
        matter: list[bytes] = []
        places: list[int] = []
        is_steady = True
        for line in block[2:-3].split(b"\n"):
            part = known(line)
            if part is None:
                part = self._read_line(line)
                if part is None:
                    return None
                is_steady = False
            if part is _MATTER_PART:
                matter.append(line)
                places.append(len(parts))
            parts.append(part)
        return tuple(matter), parts, places, is_steady

    def _read_line(self, line: bytes) -> bytes | None:
        """Return what is sent of a line that is not remembered; `_MATTER_PART`: that depends."""
        if line[-1:] != b"\r":
            return None  # a bare LF
        name, colon, value = line[:-1].partition(b": ")
        kind = self._names.get(name)
        if kind is None:
            kind = self._learn_name(name)
        if kind == _NEVER or not value or not colon or value.translate(None, _TEXT):
            return None
        if value[0] == 32 or value[-1] == 32:
            return None
        if kind == _MATTERS:
            self._learn_line(line, _MATTER_PART)
            return _MATTER_PART
        part = b"" if kind == _DROP else line + b"\n"
        if name.lower() in _STEADY:
            self._learn_line(line, part)
        return part

    def special(self, matter: tuple[bytes, ...]) -> Special | None:
        """Return what was decided of requests with these lines."""
        return self._specials.get(matter)

    # hot: every request of the express lane whose line was not seen before
    def way(self, special: Special, line: bytes) -> Way | None:
        """Return where a request line leads, and keep it; `None`: it is not for the lane."""
        if len(line) > self._max_line:
            return None
        words = line.split(b" ")
        if len(words) != 3 or words[2] != b"HTTP/1.1" or words[0] not in (b"GET", b"HEAD"):
            return None
        target = words[1]
        if target[:1] != b"/" or target.translate(None, _VISIBLE):
            return None
        method = words[0].decode("ascii")
        found = self._gate.route_of(special.host, target, method)
        if found is None:
            return None
        way = Way(method, target, *found)
        self._way_count += 1
        self._way_bytes += _WAY_COPIES * len(line) + ENTRY_BYTES
        if self._way_count > MAX_WAYS or self._way_bytes > MAX_BYTES:
            self._way_count, self._way_bytes = 1, _WAY_COPIES * len(line) + ENTRY_BYTES
            for ways in self._ways.values():
                ways.clear()
        special.ways[line] = way
        return way

    def is_new(self, thing: object) -> bool:
        """Tell whether something is seen for the first time, lately."""
        if self._is_eager:
            return False
        seen, mark = self._seen, hash(thing)
        if mark in seen:
            return False
        if len(seen) >= SIGHTS:
            seen.clear()
        seen[mark] = None
        return True

    def learn(self, block: bytes, ready: Ready, view: RequestView, front: bytes) -> bool:
        """Keep a decision for other requests with the same lines that matter; False: it is not kept.

        `front`: what was sent of the block, from the Host line to the last of the client's headers.
        Of `ready` only what matters is left: the rest is another one's in the next request.
        """
        decision = ready.decision
        read = self.read(block)
        if read is None or not self._is_fit(decision, view):
            return False
        matter, parts, places, _ = read
        if len(parts) != len(view.headers) or self.is_new(matter):
            return False
        holds = None
        if decision.held:
            holds = decision.held[0].scheme.stand(decision.held[0].found)
            if holds is None:
                return False
        # By what they are, not by what they say: a header that was made anew stands in its own place.
        sent = {id(header) for header in decision.headers}
        client = {id(header) for header in view.headers}
        outs = [
            line + b"\n" if id(view.headers[place]) in sent else b""
            for line, place in zip(matter, places, strict=True)
        ]
        tail = b"".join(
            b"%b: %b\r\n" % header for header in decision.headers if id(header) not in client
        )
        host_line = front[: front.find(b"\r\n") + 2]
        for place, out in zip(places, outs, strict=True):
            parts[place] = out
        if host_line + b"".join(parts) + tail != front:
            return False  # whatever it is, it is not put together again
        ready.headers = tuple(view.headers[place] for place in places)
        ready.decision = replace(decision, headers=[], target=b"")
        ready.holds = holds
        ready.outs = tuple(outs)
        ready.tail = tail
        ready.host_line = host_line
        special = self._specials.get(matter)
        if special is None:
            ways = self._ways.get(ready.host)
            if ways is None:
                if len(self._ways) >= MAX_HOSTS:
                    self.clear()  # what leads nowhere else must not go on growing
                ways = self._ways[ready.host] = {}
            special = Special(ready.host, ways)
            self._specials[matter] = special
        size = _SPECIAL_COPIES * sum(map(len, matter)) + _LINE_BYTES * len(matter)
        self._count(size + len(tail) + len(ready.back))
        special.ready[decision.route] = ready
        return True

    def keep(
        self, block: bytes, special: Special, route: Route, ready: Ready, front: bytes
    ) -> None:
        """Keep a whole block, once it was seen before."""
        if self.is_new(block):
            return
        self._count(len(block) + len(front))
        found = self._blocks.get(block)
        if found is None or found.special is not special:
            found = self._blocks[block] = Block(special)
        found.fronts[route] = (ready, front)

    def _is_fit(self, decision: Forward, view: RequestView) -> bool:
        """Tell whether the decision hangs on what `read` calls lines that matter, and no more."""
        route = decision.route
        if not decision.is_repeatable or view.method not in ("GET", "HEAD"):
            return False
        if route.provider_token is not None or len(decision.held) > 1:
            return False
        if route.upstream_host == "upstream" and len(route.upstream.servers) > 1:
            return False
        if any(place.kind in ("query", "dpop") for place in (h.found.place for h in decision.held)):
            return False
        if any(place.kind == "query" for place in route.credentials.read):
            return False
        options = b",".join(view.values(b"connection")).lower().split(b",")
        return all(option.strip() in (b"", b"keep-alive") for option in options)

    def _count(self, size: int) -> None:
        self._size += size + ENTRY_BYTES
        if self._size > MAX_BYTES:
            self.clear()
            self._size = size + ENTRY_BYTES

    def _learn_line(self, line: bytes, part: bytes) -> None:
        self._line_bytes += len(line) + len(part)
        if len(self._lines) >= MAX_LINES or self._line_bytes > MAX_BYTES:
            self._lines.clear()
            self._line_bytes = 0
        self._lines[line] = part

    def _learn_name(self, name: bytes) -> int:
        kind = self._classify(name)
        if len(name) <= 64:
            if len(self._names) >= MAX_NAMES:
                self._names.clear()
            self._names[name] = kind
        return kind

    def _classify(self, name: bytes) -> int:
        lower, folded = name.lower(), fold(name)
        if not is_token(name) or folded in _NEVER_NAMES or folded.startswith(b"sec-websocket-"):
            return _NEVER
        if self._is_trusted and (folded in FORWARDING_NAMES or folded.startswith(b"x-forwarded-")):
            return _NEVER
        if lower in _MATTER or lower in self._fields:
            return _MATTERS
        becomes = self._rules.becomes(name, is_trusted=self._is_trusted)
        if becomes is None:
            return _MATTERS
        return _KEEP if becomes else _DROP


def fields_of(routes: Sequence[Route]) -> frozenset[bytes]:
    """Return the names of the headers that any scheme of `routes` reads a credential from."""
    places = {place for route in routes for place in route.credentials.read}
    return frozenset(place.name.encode().lower() for place in places if place.kind == "header")
