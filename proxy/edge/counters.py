"""What one worker counts of its requests: plain integers that a collector reads (security.md, S15).

A request costs a look-up in a dictionary and a few additions. Every part of a key comes from a
closed set: names of the configuration, decisions, and the rows of proxy.codes. What never belongs
here: anything that a client can choose, and whatever renders the numbers.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import Final

from proxy.codes import CODES

BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the buckets of every duration, in seconds; what is longer has one of its own."""

KNOWN_CODES: Final = frozenset({*CODES, "client_left"})
"""`client_left` is logged and counted, never sent."""

UPSTREAM_CODES: Final = ("upstream_unreachable", "upstream_timeout", "upstream_invalid")
"""What goes wrong behind the gate."""

CellKey = tuple[str, str, str, str | None]
"""Decision, route, scheme and code; empty where there is none."""


class Durations:
    """How long something took, in buckets. Seconds."""

    __slots__ = ("buckets", "total_s")

    def __init__(self) -> None:
        self.buckets = [0] * (len(BOUNDS) + 1)
        self.total_s = 0.0


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


class RequestCounters:
    """What one worker counts while it serves."""

    __slots__ = ("bytes_in", "bytes_out", "cells", "refused_connections", "upstreams")

    def __init__(self, upstreams: Iterable[str]) -> None:
        """Begin at zero; `upstreams` are the configured names."""
        self.cells: dict[CellKey, Cell] = {}
        self.upstreams = {name: UpstreamCounters() for name in upstreams}
        self.bytes_in = 0
        """Of bodies and tunnels, from clients."""
        self.bytes_out = 0
        """Of bodies, tunnels and the gate's own answers, to clients."""
        self.refused_connections = 0

    # hot: benchmarks/metrics.py
    def request(
        self,
        key: CellKey,
        duration_s: float | None,
        bytes_in: int = 0,
        bytes_out: int = 0,
    ) -> None:
        """Count a request that is over; `duration_s` is `None` where its length says nothing."""
        cell = self.cells.get(key)
        if cell is None:
            cell = self._cell(key)
        cell.count += 1
        if duration_s is not None:
            durations = cell.durations
            durations.buckets[bisect_left(BOUNDS, duration_s)] += 1
            durations.total_s += duration_s
        self.bytes_in += bytes_in
        self.bytes_out += bytes_out

    # hot: benchmarks/metrics.py
    def upstream(self, name: str, status: int, code: str | None, upstream_s: float | None) -> None:
        """Count what an upstream did with a request; `upstream_s` is `None` without an answer.

        An answer that breaks off behind its head is counted as an answer and as an error.
        """
        counters = self.upstreams[name]
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
        return self.cells.setdefault(key, Cell())
