"""A worker's side of `/metrics`: its counters, read when the supervisor asks for them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Final, get_args

from proxy.adapters.upstreams import Upstream
from proxy.core.coherence.counters import Notices
from proxy.core.coherence.source import State
from proxy.edge.counters import Durations, RequestCounters
from proxy.run.tally import Tally, nanoseconds, put
from proxy.services.coherence import Coherence

_STATUSES: Final = ("1xx", "2xx", "3xx", "4xx", "5xx")
_CAUSES: Final = ("room", "invalidated", "lost", "expired", "key")
_VERDICTS: Final = (
    "hits",
    "refusal_hits",
    "misses",
    "shared",
    "stale",
    "served_stale",
    "restored",
    "fills",
    "unkept",
)


def count_worker(
    requests: RequestCounters,
    coherence: Coherence,
    connections: int,
    upstreams: Iterable[Upstream] = (),
) -> Tally:
    """Return what one worker has counted so far; `connections` are the clients' open ones."""
    tally: Tally = {}
    put(tally, "latchgate_client_connections", values=[connections])
    _count_requests(tally, requests)
    _count_upstreams(tally, requests)
    _count_servers(tally, upstreams)
    _count_verdicts(tally, coherence)
    _count_streams(tally, coherence)
    _count_stores(tally, coherence)
    return tally


def _count_requests(tally: Tally, requests: RequestCounters) -> None:
    for (decision, route, scheme, code), cell in requests.cells.items():
        labels = (route, scheme, decision, code or "")
        put(tally, "latchgate_decisions_total", *labels, values=[cell.count])
        name = "latchgate_request_duration_seconds"
        put(tally, name, route, values=_histogram(cell.durations))
    for (route, code), number in requests.reported.items():
        put(tally, "latchgate_reported_total", route, code, values=[number])
    for certificate, ends_at in requests.certificates.items():
        name = "latchgate_certificate_expires_timestamp_seconds"
        put(tally, name, certificate, values=[nanoseconds(ends_at)])
    for name, number in (
        ("latchgate_received_bytes_total", requests.bytes_in),
        ("latchgate_sent_bytes_total", requests.bytes_out),
        ("latchgate_client_connections_refused_total", requests.refused_connections),
    ):
        put(tally, name, values=[number])


def _count_upstreams(tally: Tally, requests: RequestCounters) -> None:
    for upstream, counters in requests.upstreams.items():
        name = "latchgate_upstream_duration_seconds"
        put(tally, name, upstream, values=_histogram(counters.durations))
        for status, number in zip(_STATUSES, counters.statuses, strict=True):
            name = "latchgate_upstream_responses_total"
            put(tally, name, upstream, status, values=[number])
        for code, number in counters.errors.items():
            put(tally, "latchgate_upstream_errors_total", upstream, code, values=[number])


def _count_servers(tally: Tally, upstreams: Iterable[Upstream]) -> None:
    for upstream in upstreams:
        for server in upstream.servers:
            for word, number in (
                ("used", int(not server.standing.is_out)),
                ("busy", server.busy),
                ("connections", server.open),
                ("waiting", server.waiting),
                ("ejections_total", server.standing.ejections),
                ("retries_total", server.retries),
            ):
                name = f"latchgate_upstream_server_{word}"
                put(tally, name, upstream.name, server.name, values=[number])


def _count_streams(tally: Tally, coherence: Coherence) -> None:
    streams = coherence.streams
    put(tally, "latchgate_tunnels", values=[streams.tunnels])
    put(tally, "latchgate_streams_watched", values=[streams.watched])
    put(tally, "latchgate_streams_decided_again_total", values=[streams.decided_again])
    for reason in ("revoked", "expired", "unconfirmed"):
        number = getattr(streams, f"ended_{reason}")
        put(tally, "latchgate_streams_ended_total", reason, values=[number])


def _count_verdicts(tally: Tally, coherence: Coherence) -> None:
    counters, cache = coherence.counters, coherence.cache
    for word in _VERDICTS:
        put(tally, f"latchgate_verdict_{word}_total", values=[getattr(counters, word)])
    for cause in _CAUSES:
        number = getattr(counters, f"evicted_{cause}")
        put(tally, "latchgate_verdict_evictions_total", cause, values=[number])
    for outcome in ("slowed", "refused"):
        number = getattr(counters, f"attempts_{outcome}")
        put(tally, "latchgate_attempts_total", outcome, values=[number])
    put(tally, "latchgate_verdict_entries", values=[len(cache)])
    put(tally, "latchgate_verdict_bytes", values=[cache.size])
    put(tally, "latchgate_verdict_refusals", values=[cache.refusals])


def _count_stores(tally: Tally, coherence: Coherence) -> None:
    for store, counters in coherence.counters.sources.items():
        name = "latchgate_store_lookup_seconds"
        put(tally, name, store, values=_histogram(counters.looked_up))
        pings = [counters.pings, nanoseconds(counters.ping_s)]
        put(tally, "latchgate_store_heartbeat_seconds", store, values=pings)
        name = "latchgate_store_invalidation_lag_seconds"
        put(tally, name, store, values=_histogram(counters.notices))
        for word, number in (
            ("lookups_failed", counters.lookups_failed),
            ("lookups_voided", counters.lookups_voided),
            ("invalidations", counters.invalidations),
            ("flushes", counters.flushes),
            ("connections_lost", counters.losses),
        ):
            put(tally, f"latchgate_store_{word}_total", store, values=[number])
        for mode, number in (("tracked", counters.connections), ("untracked", counters.untracked)):
            put(tally, "latchgate_store_connections_total", store, mode, values=[number])
    for tracked in coherence.tracked.values():
        source = tracked.source
        for state in get_args(State):
            values = [int(source.state == state)]
            put(tally, "latchgate_store_tracking", source.name, state, values=values)
        _count_age(tally, source.name, source.proven_at, coherence.clock)


def _count_age(tally: Tally, store: str, proven_at: float, clock: Callable[[], float]) -> None:
    """Tell how old the proof is; nothing where there has never been one."""
    if proven_at == -math.inf:
        return
    age = nanoseconds(max(0.0, clock() - proven_at))
    sample = ("latchgate_store_proof_age_seconds", (store,))
    tally[sample] = [max(age, *tally.get(sample, [0]))]


def _histogram(durations: Durations | Notices) -> list[int]:
    return [*durations.buckets, nanoseconds(durations.total_s)]
