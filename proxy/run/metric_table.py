"""Every metric of `/metrics`: its name, its labels, what it says. docs/metrics.md is held to it.

Labels have values from closed sets only: names of the configuration, codes, words that stand in
this program (security.md, S15).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from proxy.core.coherence.counters import NOTICE_BOUNDS
from proxy.edge.counters import BOUNDS

Kind = Literal["counter", "gauge", "histogram", "summary", "info"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One row. What is called `_seconds` is counted in nanoseconds, and shown in seconds."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    is_highest: bool = False
    """True where the highest number of all workers is shown instead of their sum."""
    bounds: tuple[float, ...] = BOUNDS
    """Upper bounds of a histogram's buckets, in seconds."""

    @property
    def is_total(self) -> bool:
        """True for what never goes down, and outlives the worker that counted it."""
        return self.kind in ("counter", "histogram", "summary")

    @property
    def width(self) -> int:
        """How many numbers it has: see proxy.run.tally."""
        return {"summary": 2, "histogram": len(self.bounds) + 2}.get(self.kind, 1)


_ROWS: Final = (
    # Requests
    Metric(
        "latchgate_decisions_total",
        "counter",
        "Requests by what became of them.",
        ("route", "scheme", "decision", "code"),
    ),
    Metric(
        "latchgate_reported_total",
        "counter",
        "Requests and open connections that report mode let go on, by what would have refused them.",
        ("route", "code"),
    ),
    Metric(
        "latchgate_request_duration_seconds",
        "histogram",
        "From a request's head to the last byte of its answer, without tunnels and event streams.",
        ("route",),
    ),
    Metric(
        "latchgate_received_bytes_total", "counter", "Bytes of bodies and tunnels from clients."
    ),
    Metric("latchgate_sent_bytes_total", "counter", "Bytes of answers and tunnels to clients."),
    Metric("latchgate_client_connections", "gauge", "Open connections of clients."),
    Metric(
        "latchgate_client_connections_refused_total",
        "counter",
        "Connections that were closed at once: beyond a limit, or while draining.",
    ),
    Metric(
        "latchgate_certificate_expires_timestamp_seconds",
        "gauge",
        "When a certificate of the listener, or one of its chain, ends.",
        ("certificate",),
        is_highest=True,
    ),
    Metric("latchgate_tunnels", "gauge", "Open tunnels: WebSockets and other upgrades."),
    Metric(
        "latchgate_streams_watched",
        "gauge",
        "Open tunnels and long answers that end with the credential that opened them.",
    ),
    Metric(
        "latchgate_streams_decided_again_total",
        "counter",
        "Times at which the credentials of open connections were decided again.",
    ),
    Metric(
        "latchgate_streams_ended_total",
        "counter",
        "Tunnels and long answers that the gate ended: `revoked`, `expired` or `unconfirmed`.",
        ("reason",),
    ),
    # Upstreams
    Metric(
        "latchgate_upstream_duration_seconds",
        "histogram",
        "From sending a request to the head of the upstream's answer.",
        ("upstream",),
    ),
    Metric(
        "latchgate_upstream_responses_total",
        "counter",
        "Answers of an upstream by class of status.",
        ("upstream", "status"),
    ),
    Metric(
        "latchgate_upstream_errors_total",
        "counter",
        "Requests that an upstream did not answer, or not to the end.",
        ("upstream", "code"),
    ),
    Metric(
        "latchgate_upstream_server_used",
        "gauge",
        "Workers that send the server requests: it is neither ejected nor failing its checks.",
        ("upstream", "server"),
    ),
    Metric(
        "latchgate_upstream_server_busy",
        "gauge",
        "Requests and connection attempts in flight.",
        ("upstream", "server"),
    ),
    Metric(
        "latchgate_upstream_server_connections",
        "gauge",
        "Open connections, those that are being made included.",
        ("upstream", "server"),
    ),
    Metric(
        "latchgate_upstream_server_waiting",
        "gauge",
        "Requests that wait for a connection.",
        ("upstream", "server"),
    ),
    Metric(
        "latchgate_upstream_server_ejections_total",
        "counter",
        "Times at which a worker left the server alone.",
        ("upstream", "server"),
    ),
    Metric(
        "latchgate_upstream_server_retries_total",
        "counter",
        "Second attempts on a lost connection.",
        ("upstream", "server"),
    ),
    # Verdicts
    Metric("latchgate_verdict_hits_total", "counter", "Requests that a cached verdict answered."),
    Metric(
        "latchgate_verdict_refusal_hits_total",
        "counter",
        "Requests that the memory of unknown, revoked or forged credentials answered.",
    ),
    Metric("latchgate_verdict_misses_total", "counter", "Requests that looked up or verified."),
    Metric(
        "latchgate_verdict_shared_total",
        "counter",
        "Requests that waited for the look-up of another one.",
    ),
    Metric(
        "latchgate_verdict_stale_total",
        "counter",
        "Cached verdicts that were not used, because their freshness was not proven.",
    ),
    Metric(
        "latchgate_verdict_served_stale_total",
        "counter",
        "Cached verdicts that were used in an outage (on_outage: serve_cached).",
    ),
    Metric(
        "latchgate_verdict_restored_total",
        "counter",
        "Changed sessions whose bytes turned out to be the same.",
    ),
    Metric("latchgate_verdict_fills_total", "counter", "Verdicts that were put into the cache."),
    Metric(
        "latchgate_verdict_unkept_total",
        "counter",
        "Verdicts that were not kept, because the store's user may not ask for the life of a key.",
    ),
    Metric(
        "latchgate_verdict_evictions_total",
        "counter",
        "Verdicts that left the cache.",
        ("cause",),
    ),
    Metric("latchgate_verdict_entries", "gauge", "Verdicts in the cache."),
    Metric("latchgate_verdict_bytes", "gauge", "Bytes that the verdicts take, by an estimate."),
    Metric("latchgate_verdict_refusals", "gauge", "Credentials that are known to open nothing."),
    Metric(
        "latchgate_attempts_total",
        "counter",
        "Unknown or forged credentials of a client that sends too many.",
        ("outcome",),
    ),
    # Stores
    Metric(
        "latchgate_store_up",
        "gauge",
        "1 while the store answers the supervisor.",
        ("store",),
    ),
    Metric(
        "latchgate_store_lookup_seconds",
        "histogram",
        "Look-ups that were answered, and how long that took.",
        ("store",),
        bounds=NOTICE_BOUNDS,
    ),
    Metric(
        "latchgate_store_lookups_failed_total",
        "counter",
        "Look-ups without a good answer: too late, lost, refused, or overtaken again and again.",
        ("store",),
    ),
    Metric(
        "latchgate_store_lookups_voided_total",
        "counter",
        "Look-ups that were repeated, because something changed between their replies.",
        ("store",),
    ),
    Metric(
        "latchgate_store_heartbeat_seconds",
        "summary",
        "Heartbeats that were answered, and their round trip.",
        ("store",),
    ),
    Metric(
        "latchgate_store_invalidation_lag_seconds",
        "histogram",
        "From sending a write until a worker was told of it, tried now and then.",
        ("store",),
        bounds=NOTICE_BOUNDS,
    ),
    Metric(
        "latchgate_store_invalidations_total",
        "counter",
        "Keys that the store said had changed, by worker that was told.",
        ("store",),
    ),
    Metric(
        "latchgate_store_flushes_total",
        "counter",
        "Times at which the store said that everything had changed.",
        ("store",),
    ),
    Metric(
        "latchgate_store_connections_total",
        "counter",
        "Connections of workers that were made, tracked or not.",
        ("store", "mode"),
    ),
    Metric(
        "latchgate_store_connections_lost_total",
        "counter",
        "Tracked connections that were lost.",
        ("store",),
    ),
    Metric(
        "latchgate_store_tracking",
        "gauge",
        "Workers by whether the store tells them what changes.",
        ("store", "state"),
    ),
    Metric(
        "latchgate_store_proof_age_seconds",
        "gauge",
        "Age of the last proof of freshness, in the worker where it is oldest.",
        ("store",),
        is_highest=True,
    ),
    # Keys of providers
    Metric(
        "latchgate_jwks_age_seconds",
        "gauge",
        "Age of the provider's keys that are in use.",
        ("scheme",),
    ),
    Metric(
        "latchgate_jwks_fetches_total",
        "counter",
        "Attempts to fetch the provider's keys.",
        ("scheme",),
    ),
    Metric(
        "latchgate_jwks_fetch_failures_total",
        "counter",
        "Attempts that failed.",
        ("scheme",),
    ),
    # The gate
    Metric("latchgate_ready", "gauge", "1 while /readyz answers 200."),
    Metric("latchgate_workers_wanted", "gauge", "Worker processes that there should be."),
    Metric("latchgate_workers_ready", "gauge", "Worker processes that serve."),
    Metric(
        "latchgate_workers_silent",
        "gauge",
        "Workers that did not answer this scrape in time: their last known numbers are shown.",
    ),
    Metric("latchgate_worker_restarts_total", "counter", "Workers that ended and were replaced."),
    Metric(
        "latchgate_config_loaded_timestamp_seconds",
        "gauge",
        "When the running configuration was loaded.",
    ),
    Metric(
        "latchgate_config_reloads_total",
        "counter",
        "Reloads by what became of them: done, refused (not acceptable, or not confirmed), failed.",
        ("result",),
    ),
    Metric(
        "latchgate_config_last_reload_successful",
        "gauge",
        "1 unless the last reload was not taken: the gate then runs what it ran before.",
    ),
    Metric(
        "latchgate_config_info",
        "info",
        "How much the running configuration has of each.",
        ("routes", "schemes", "upstreams"),
    ),
    Metric("latchgate_build_info", "info", "What runs.", ("version", "python")),
)

METRICS: Final[Mapping[str, Metric]] = {metric.name: metric for metric in _ROWS}
"""By name, in the order of the page."""


def fits(name: str, labels: tuple[str, ...], values: list[int]) -> bool:
    """Tell whether a sample is one of the table: a worker's code may have been replaced since."""
    metric = METRICS.get(name)
    return metric is not None and (len(metric.labels), metric.width) == (len(labels), len(values))


HIGHEST: Final = frozenset(metric.name for metric in _ROWS if metric.is_highest)
