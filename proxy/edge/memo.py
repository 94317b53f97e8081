"""What the express lane remembers of requests: header blocks, request lines, and what became of them.

A client sends the same header block again and again, or one that differs in a line or two. What was
parsed and decided once is kept by the bytes that it depends on; a hit replaces parsing and nothing
else (design.md §8). Whether the credential is still good, and everything that belongs to the clock,
the connection or the target, is asked by the lane each time. What never belongs here: I/O, clocks.

Three memories, each bounded. Request lines by host: line → route and path to send. Blocks: bytes →
the lines that matter. The lines that matter (host, credentials, whatever a scheme or a rule reads)
as a tuple → what the upstream is sent for them. A line that does not matter is copied or dropped by
its name. Only lines of the strictest form are read here, which no two parsers read differently; all
else is for the parser. What has a body is known by its method and by where its browser says that it
comes from as well, apart from all that has none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from proxy.core.headers import HeaderRules
from proxy.edge.lines import LADEN, MAX_BLOCK, Lines
from proxy.edge.ready import Block, Read, Ready, Special, Way
from proxy.edge.strangers import Shape, Strangers
from proxy.model import RequestView
from proxy.services.decision import Forward
from proxy.services.gate import Gate
from proxy.services.route import Route

MAX_LINE: Final = 2048
"""Bytes of a request line."""
LONGEST: Final = MAX_LINE + MAX_BLOCK
"""Bytes of a head that may be remembered whole."""
MAX_BYTES: Final = 16 * 1024 * 1024
"""Of each memory of a worker, as estimated."""
MAX_KEPT_BYTES: Final = 64 * 1024 * 1024
"""Of blocks and of what was decided, together: for ten thousand callers at a time."""
PATIENCE: Final = 4
"""How many times more than it holds a full memory turns away before it begins anew."""
ENTRY_BYTES: Final = 2000
"""What an entry costs beside its bytes (measured: tests/unit/edge/test_memo.py)."""
_BLOCK_BYTES: Final = 700
"""What a whole block costs beside its bytes and what is sent of it (measured: as above)."""
_SPECIAL_COPIES: Final = 5
"""Bytes that are kept for each byte of a line that matters: as key, as header, as it is sent, as
credential, as what is known by it."""
_LINE_BYTES: Final = 350
"""What each of them costs beside."""
_WAY_COPIES: Final = 5
"""The same for a request line: as key, as target, as it is sent, as it is logged."""
_STEPS: Final = 8
"""Looked at for each one that comes: whether its verdict is still kept."""
SIGHTS: Final = 65_536
"""How many things that were seen once are remembered as such: more than there are callers at a time."""
MAX_HOSTS: Final = 256
"""Whose request lines are kept."""
MAX_WAYS: Final = 8192
SAFE: Final = frozenset({b"GET", b"HEAD"})
"""Methods of what is remembered without a body."""
_VISIBLE: Final = bytes(range(0x21, 0x7F))


class Memo:
    """What one kind of listener and peer has sent to one configuration."""

    __slots__ = (
        "_blocks", "_gate", "_hand", "_hanging", "_is_eager", "_lines", "_max_line", "_refused",
        "_seen", "_size", "_specials", "_way_bytes", "_way_count", "_ways", "find", "read",
        "read_laden", "strangers",
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
        self._gate = gate
        self._lines = Lines(
            rules, fields, is_trusted=is_trusted, max_block=header_size - self._max_line
        )
        self._blocks: dict[bytes, Block] = {}
        self._specials: dict[tuple[bytes, ...], Special] = {}
        self._ways: dict[bytes, tuple[dict[bytes, Way], dict[bytes, Way]]] = {}
        """By host: where its requests lead, and where those with a body do."""
        self._seen: dict[int, None] = {}
        self._hanging: dict[tuple[bytes, ...] | bytes, None] = {}
        """Those of `_specials` and `_blocks` that hang on a verdict."""
        self._hand: list[tuple[bytes, ...] | bytes] = []
        """Which of them `_reclaim` has still to look at, before it begins anew."""
        self._size = self._refused = 0
        self._way_count = self._way_bytes = 0
        self.strangers = Strangers()
        self.find: Callable[[bytes], Block | None] = self._blocks.get
        """Return what is known of a whole block."""
        self.read_laden = self._lines.read_laden
        """Take a block apart that has a body behind it."""
        self.read: Callable[[bytes], Read | None] = self._lines.read
        """Take a block apart."""

    def __len__(self) -> int:
        """Return how many blocks and sets of lines are kept."""
        return len(self._blocks) + len(self._specials)

    def clear(self) -> None:
        """Forget everything."""
        for memory in (self._lines, self._ways, self._seen):
            memory.clear()
        self._clear_kept()
        self._way_count = self._way_bytes = 0
        self.strangers.clear()

    def _clear_kept(self) -> None:
        for memory in (self._blocks, self._specials, self._hanging, self._hand):
            memory.clear()
        self._size = 0

    def special(self, matter: tuple[bytes, ...]) -> Special | None:
        """Return what was decided of requests with these lines."""
        return self._specials.get(matter)

    # hot: every request of the express lane whose line was not seen before
    def way(
        self, special: Special | Shape, line: bytes, methods: frozenset[bytes] = SAFE
    ) -> Way | None:
        """Return where a request line leads, and keep it; `None`: it is not for the lane."""
        if len(line) > self._max_line:
            return None
        words = line.split(b" ")
        if len(words) != 3 or words[2] != b"HTTP/1.1" or words[0] not in methods:
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
            for both in self._ways.values():
                for ways in both:
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

    def turns_away(self) -> bool:
        """Tell whether there is no room for what could be learned, and count it as turned away."""
        if self._size + ENTRY_BYTES <= MAX_KEPT_BYTES:
            return False
        return not self._has_room(ENTRY_BYTES)

    def meets(self, block: bytes, method: str, size: int) -> bool:
        """Tell whether requests with a body and these lines are none to be kept, or not yet."""
        read = self.read_laden(block, method.encode("ascii"), size)
        return read is None or self.is_new(read[0])

    def learn(
        self, block: bytes, ready: Ready, view: RequestView, front: bytes, size: int = 0
    ) -> bool:
        """Keep a decision for other requests with the same lines that matter; False: it is not kept.

        `front`: what was sent of the block, from the Host line to the last of the client's headers.
        `size`: of the body that came with it. Of `ready` only what matters is left: the rest is
        another one's in the next request.
        """
        decision, headers, method = ready.decision, view.headers, view.method.encode("ascii")
        if not self._is_fit(decision, view) or method not in (LADEN if size else SAFE):
            return False
        read = self.read_laden(block, method, size) if size else self.read(block)
        if read is None:
            return False
        if size:
            headers = tuple(h for h in headers if h[0].lower() != b"content-length")
        matter, parts, places, _ = read
        if len(parts) != len(headers):
            return False
        is_new = self.is_new(matter)
        if is_new and (size or not self.strangers.lacks(matter, decision.route)):
            return False
        holds = None
        if decision.held:
            holds = decision.held[0].scheme.stand(decision.held[0].found)
            if holds is None:
                return False
        # By what they are, not by what they say: a header that was made anew stands in its own place.
        sent = {id(header) for header in decision.headers}
        client = {id(header) for header in headers}
        outs = [
            line + b"\n" if id(headers[place]) in sent else b""
            for line, place in zip(matter[1:] if size else matter, places, strict=True)
        ]
        tail = b"".join(
            b"%b: %b\r\n" % header for header in decision.headers if id(header) not in client
        )
        host_line = front[: front.find(b"\r\n") + 2]
        for place, out in zip(places, outs, strict=True):
            parts[place] = out
        if host_line + b"".join(parts) + tail != front:
            return False  # whatever it is, it is not put together again
        asked = decision.asked and (decision.asked[0], b"", "")  # the rest is its line's, and long
        known = ready.alike(replace(decision, headers=[], target=b"", asked=asked), ready.back)
        known.headers = tuple(headers[place] for place in places)
        known.holds = holds
        known.outs = tuple(outs)
        known.tail = tail
        known.host_line = host_line
        if not size:
            self.strangers.learn(matter, known, self._ways_of(ready.host))
        if is_new:
            return False
        self.adopt(matter, known)
        return True

    def adopt(self, matter: tuple[bytes, ...], ready: Ready) -> None:
        """Keep what is made of requests with these lines that matter, of whom that is known."""
        self._reclaim()
        size = ENTRY_BYTES + _SPECIAL_COPIES * sum(map(len, matter)) + _LINE_BYTES * len(matter)
        size += len(ready.tail) + len(ready.back)
        route = ready.decision.route
        special = self._specials.get(matter)
        if special is not None and route in special.ready:  # its verdict was renewed
            self._size -= special.ready.pop(route).size
        if not self._has_room(size):
            return
        ways = self._ways_of(ready.host, is_laden=matter[0] in LADEN)  # it may clear everything
        special = self._specials.get(matter)
        if special is None:
            special = self._specials[matter] = Special(ready.host, ways)
        ready.size = size
        special.ready[route] = ready
        if ready.decision.held:
            self._hanging[matter] = None

    def _ways_of(self, host: bytes, *, is_laden: bool = False) -> dict[bytes, Way]:
        ways = self._ways.get(host)
        if ways is None:
            if len(self._ways) >= MAX_HOSTS:
                self.clear()  # what leads nowhere else must not go on growing
            ways = self._ways[host] = ({}, {})
        return ways[is_laden]

    def keep(
        self, block: bytes, special: Special, route: Route, ready: Ready, front: bytes
    ) -> None:
        """Keep a whole block, once it was seen before."""
        if self.is_new(block):
            return
        self._reclaim()
        size = _BLOCK_BYTES + len(block) + len(front)
        if not self._has_room(size):
            return
        found = self._blocks.get(block)
        if found is not None and found.special is not special:
            for other in tuple(found.fronts):
                self.drop(found, other)
            found = None
        if found is None:
            found = self._blocks[block] = Block(special)
        elif route in found.fronts:
            self.drop(found, route)
        found.fronts[route] = (ready, front, size)
        if ready.decision.held:
            self._hanging[block] = None

    def drop(self, block: Block, route: Route) -> None:
        """Forget what is sent of a block on one route."""
        self._size -= block.fronts.pop(route)[2]

    def _reclaim(self) -> None:
        """Let go of what hangs on no verdict any more, some looked at for each one that comes.

        It would keep whom the verdict named, however much its application says of them, and whatever
        bound the verdicts have.
        """
        for _ in range(_STEPS):
            if not self._hand:
                self._hand = list(self._hanging)
                if not self._hand:
                    return
            name = self._hand.pop()
            table: dict[Any, Any] = self._blocks if isinstance(name, bytes) else self._specials
            found: Special | Block | None = table.get(name)
            if found is not None:
                self._size -= found.let_go()
                if found.hangs:
                    continue
                if found.is_empty:
                    del table[name]
            self._hanging.pop(name, None)

    def _is_fit(self, decision: Forward, view: RequestView) -> bool:
        """Tell whether the decision hangs on what `read` calls lines that matter, and no more."""
        route = decision.route
        if not decision.is_repeatable:
            return False
        if route.provider_token is not None or len(decision.held) > 1:
            return False
        if route.upstream_host == "upstream" and len(route.upstream.servers) > 1:
            return False
        if any(place.kind in ("query", "dpop") for place in (h.found.place for h in decision.held)):
            return False
        if any(place.kind in ("query", "certificate") for place in route.credentials.read):
            return False  # a certificate is its connection's, and stands in no line
        options = b",".join(view.values(b"connection")).lower().split(b",")
        return all(option.strip() in (b"", b"keep-alive") for option in options)

    def _has_room(self, size: int) -> bool:
        """Count what is to be kept; False where there is no room for it.

        What is there stays: whoever comes by turns would else drive each other out, all of them. Once
        far more was turned away than there is, it is not what is asked for any more, and all goes.
        """
        if self._size + size > MAX_KEPT_BYTES:
            self._refused += 1
            if self._refused <= PATIENCE * len(self):
                return False
            self._clear_kept()
            self._refused = 0
        self._size += size
        return True


def fields_of(routes: Sequence[Route]) -> frozenset[bytes]:
    """Return the names of the headers that any scheme of `routes` reads a credential from."""
    places = {place for route in routes for place in route.credentials.read}
    return frozenset(place.name.encode().lower() for place in places if place.kind == "header")
