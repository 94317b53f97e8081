"""What one worker counts of its requests: plain integers that a collector reads (security.md, S15).

A request costs a look-up in a dictionary and a few additions. Every part of a key comes from a
closed set: names of the configuration, decisions, and the rows of proxy.codes. What never belongs
here: anything that a client can choose, and whatever renders the numbers.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Final

from proxy.codes import CODES

BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the buckets of every duration, in seconds; what is longer has one of its own."""

KNOWN_CODES: Final = frozenset({*CODES, "client_left"})
"""`client_left` is logged and counted, never sent."""

UPSTREAM_CODES: Final = (
    "upstream_unreachable", "upstream_timeout", "upstream_invalid", "upstream_down", "upstream_busy",
)  # fmt: skip
"""What goes wrong behind the gate."""

CellKey = tuple[str, str, str, str | None]
"""Decision, route, scheme and code; empty where there is none."""


class Durations:
    """How long something took, in buckets. Seconds."""

    __slots__ = ("buckets", "total_s")

    def __init__(self) -> None:
        self.buckets = [0] * (len(BOUNDS) + 1)
        self.total_s = 0.0

    def count(self, duration_s: float) -> None:
        """Count one."""
        self.buckets[bisect_left(BOUNDS, duration_s)] += 1
        self.total_s += duration_s


class Cell:
    """The requests that had one route, scheme, decision and code."""

    __slots__ = ("count", "durations")

    def __init__(self) -> None:
        self.count = 0
        self.durations = Durations()
        """Without tunnels and event streams, which last as long as they are wanted."""


class UpstreamCounters:
    """What became of the requests that were sent to one upstream."""

    __slots__ = ("durations", "errors", "statuses")

    def __init__(self) -> None:
        self.statuses = [0, 0, 0, 0, 0]
        """Answers with 1xx (a switch of protocols), 2xx, 3xx, 4xx, 5xx."""
        self.errors = dict.fromkeys(UPSTREAM_CODES, 0)
        self.durations = Durations()
        """From sending the request to the answer's head."""


class Tally:
    """Requests of the express lane that were answered with 2xx within the first bucket: nearly all.

    Three additions each; `RequestCounters` makes the rest of them when somebody reads.
    """

    __slots__ = ("_find_cell", "_upstream", "bytes_out", "count", "total_s")

    def __init__(self, find_cell: Callable[[], Cell], upstream: UpstreamCounters) -> None:
        self._find_cell = find_cell  # made with its first request: no kind is told of before
        self._upstream = upstream
        self.count = 0
        self.total_s = 0.0
        self.bytes_out = 0

    def settle(self) -> int:
        """Count what was tallied where it belongs; return its bytes."""
        count, total_s, size = self.count, self.total_s, self.bytes_out
        if not count:
            return 0
        self.count, self.total_s, self.bytes_out = 0, 0.0, 0
        cell = self._find_cell()
        cell.count += count
        self._upstream.statuses[1] += count
        for durations in (cell.durations, self._upstream.durations):
            durations.buckets[0] += count
            durations.total_s += total_s
        return size


class RequestCounters:
    """What one worker counts while it serves."""

    __slots__ = (
        "_bytes_out", "_cells", "_tallies", "_upstreams", "bytes_in", "certificates", "refused_connections",
        "reported",
    )  # fmt: skip

    def __init__(self, upstreams: Iterable[str]) -> None:
        """Begin at zero; `upstreams` are the configured names."""
        self._cells: dict[CellKey, Cell] = {}
        self._tallies: dict[tuple[str, str, str], Tally] = {}
        self._upstreams = {name: UpstreamCounters() for name in upstreams}
        self.bytes_in = 0
        """Of bodies and tunnels, from clients."""
        self._bytes_out = 0
        self.refused_connections = 0
        self.certificates: Mapping[str, float] = {}
        """When the certificates of the listener end, in epoch seconds, by their keys in `server.tls`."""
        self.reported: dict[tuple[str, str], int] = {}
        """What report mode let through, by route and the code that it would have been refused with."""

    @property
    def cells(self) -> dict[CellKey, Cell]:
        """What was counted, by what it has in common."""
        self._settle()
        return self._cells

    @property
    def upstreams(self) -> dict[str, UpstreamCounters]:
        """What the upstreams did, by name."""
        self._settle()
        return self._upstreams

    @property
    def bytes_out(self) -> int:
        """Of bodies, tunnels and the gate's own answers, to clients."""
        self._settle()
        return self._bytes_out

    def add_upstreams(self, names: Iterable[str]) -> None:
        """Count for these upstreams too: those of another configuration."""
        for name in names:
            self._upstreams.setdefault(name, UpstreamCounters())

    def _settle(self) -> None:
        for tally in self._tallies.values():
            self._bytes_out += tally.settle()

    def tally(self, route: str, scheme: str, upstream: str) -> Tally:
        """Return where the lane counts what is quick and good."""
        key = (route, scheme, upstream)
        found = self._tallies.get(key)
        if found is None:
            find = partial(self.cell, ("forward", route, scheme, None))
            found = self._tallies[key] = Tally(find, self._upstreams[upstream])
        return found

    # hot: benchmarks/metrics.py
    def request(
        self,
        key: CellKey,
        duration_s: float | None,
        bytes_in: int = 0,
        bytes_out: int = 0,
    ) -> None:
        """Count a request that is over; `duration_s` is `None` where its length says nothing."""
        cell = self._cells.get(key)
        if cell is None:
            cell = self._cell(key)
        cell.count += 1
        if duration_s is not None:
            durations = cell.durations
            durations.buckets[bisect_left(BOUNDS, duration_s)] += 1
            durations.total_s += duration_s
        self.bytes_in += bytes_in
        self._bytes_out += bytes_out

    def report(self, route: str, code: str) -> None:
        """Count what report mode let through (security.md, S14)."""
        key = (route, code if code in KNOWN_CODES else "internal_error")
        self.reported[key] = self.reported.get(key, 0) + 1

    def cell(self, key: CellKey) -> Cell:
        """Return where requests of one kind are counted: whoever counts many of them keeps it."""
        return self._cells.get(key) or self._cell(key)

    # hot: benchmarks/metrics.py
    def upstream(self, name: str, status: int, code: str | None, upstream_s: float | None) -> None:
        """Count what an upstream did with a request; `upstream_s` is `None` without an answer.

        An answer that breaks off behind its head is counted as an answer and as an error.
        """
        counters = self._upstreams[name]
        if upstream_s is not None:
            durations = counters.durations
            durations.buckets[bisect_left(BOUNDS, upstream_s)] += 1
            durations.total_s += upstream_s
            counters.statuses[status // 100 - 1] += 1
        if code is not None and code in counters.errors:
            counters.errors[code] += 1

    def _cell(self, key: CellKey) -> Cell:
        """Make the cell of a key that was not counted before; a code without a row has no label."""
        decision, route, scheme, code = key
        if code is not None and code not in KNOWN_CODES:
            key = (decision, route, scheme, "internal_error")
        return self._cells.setdefault(key, Cell())
