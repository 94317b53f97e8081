"""What a worker tells of its counters."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from proxy.adapters.store import StoreAddress
from proxy.adapters.upstreams import Upstream, UpstreamSettings
from proxy.config.addresses import UpstreamServer
from proxy.config.loader import load_config
from proxy.edge.counters import RequestCounters
from proxy.run.counting import count_worker
from proxy.run.metric_table import METRICS, fits
from proxy.services.coherence import Coherence

TEXT = """
upstreams: {app: {servers: ["http://127.0.0.1:1"]}}
routes: [{match: {path: "/**"}, auth: none, upstream: app}]
"""
OF_THE_SUPERVISOR = {
    "store_up",
    "ready",
    "config_loaded_timestamp_seconds",
    "config_info",
    "config_last_reload_successful",
    "config_reloads_total",
    "build_info",
}

RENAMED = {"losses": "connections_lost"}


class Worker:
    """The counters of a worker, and its clock."""

    def __init__(self, directory: Path) -> None:
        file = directory / "latchgate.yaml"
        file.write_text(TEXT)
        self.now = 100.0
        self.requests = RequestCounters(["app"])
        server = UpstreamServer("http", "127.0.0.1", 1)
        self.upstream = Upstream(UpstreamSettings("app", (server,)))
        self.coherence = Coherence(load_config(file).config, clock=lambda: self.now)

    def tally(self):
        """Return what it tells."""
        return count_worker(self.requests, self.coherence, 4, [self.upstream])


def test_everything_that_it_counts_stands_in_the_table(tmp_path):
    """No name is misspelt, no label is missing, and nothing that workers count is left out."""
    worker = Worker(tmp_path)
    worker.coherence.track("store", StoreAddress(socket_path="/nowhere")).source.tracked(100.0)
    worker.requests.request(("forward", "r", "", None), 0.1)
    worker.requests.report("r", "role_missing")
    worker.requests.certificates = {"cert": 1.0}
    tally = worker.tally()
    assert [1] == tally["latchgate_reported_total", ("r", "role_missing")]
    assert [] == [sample for sample in tally if not fits(*sample, tally[sample])]
    untold = {name.removeprefix("latchgate_") for name in set(METRICS) - {n for n, _ in tally}}
    assert OF_THE_SUPERVISOR == {n for n in untold if not n.startswith(("worker", "jwks"))}


def test_requests_are_told_by_route_scheme_decision_and_code(tmp_path):
    """Durations of one route come together, whatever was decided."""
    worker = Worker(tmp_path)
    worker.requests.request(("forward", "r", "web", None), 0.001, 3, 5)
    worker.requests.request(("challenge", "r", "", "credential_missing"), 20.0)
    worker.requests.certificates = {"cert": 2_000_000_000.0}
    tally = worker.tally()
    name = "latchgate_certificate_expires_timestamp_seconds"
    assert [2_000_000_000_000_000_000] == tally[name, ("cert",)]
    assert [1] == tally["latchgate_decisions_total", ("r", "web", "forward", "")]
    key = ("r", "", "challenge", "credential_missing")
    assert [1] == tally["latchgate_decisions_total", key]
    assert [1, *[0] * 10, 1, 20_001_000_000] == tally["latchgate_request_duration_seconds", ("r",)]
    assert [3] == tally["latchgate_received_bytes_total", ()]
    assert [5] == tally["latchgate_sent_bytes_total", ()]
    assert [4] == tally["latchgate_client_connections", ()]


def numbered(counters, *, at):
    """Give every number of `counters` a value of its own, from `at` on; return them by name."""
    values = {}
    for field in fields(counters):
        if isinstance(getattr(counters, field.name), int | float):
            values[field.name] = at + len(values)
            setattr(counters, field.name, values[field.name])
    return values


def one(tally, name, *labels):
    (value,) = tally[f"latchgate_{name}", labels]
    return value


def test_every_number_of_the_verdicts_stands_under_its_own_name(tmp_path):
    """A rate of hits that is one of misses would tell people the opposite."""
    worker = Worker(tmp_path)
    values = numbered(worker.coherence.counters, at=1000)
    tally = worker.tally()
    told = {}
    for name in values:
        match name.split("_", 1):
            case ["evicted", cause]:
                told[name] = one(tally, "verdict_evictions_total", cause)
            case ["attempts", outcome]:
                told[name] = one(tally, "attempts_total", outcome)
            case _:
                told[name] = one(tally, f"verdict_{name}_total")
    assert values == told


def test_every_number_of_a_store_stands_under_its_own_name(tmp_path):
    """Counts as they are, times as a summary of count and nanoseconds, or in buckets."""
    worker = Worker(tmp_path)
    worker.coherence.track("store", StoreAddress(socket_path="/nowhere"))
    counters = worker.coherence.counters.sources["store"]
    values = numbered(counters, at=1000)
    counters.notices.count(0.003)
    counters.looked_up.count(0.002)
    counters.looked_up.count(0.002)
    tally = worker.tally()
    lag = tally["latchgate_store_invalidation_lag_seconds", ("store",)]
    assert [*[0] * 5, 1, *[0] * 6, 3_000_000] == lag
    lookups = tally["latchgate_store_lookup_seconds", ("store",)]
    assert [*[0] * 4, 2, *[0] * 7, 4_000_000] == lookups
    heartbeats = [values.pop("pings"), values.pop("ping_s") * 1_000_000_000]
    assert heartbeats == tally["latchgate_store_heartbeat_seconds", ("store",)]
    modes = {"connections": "tracked", "untracked": "untracked"}
    told = {
        name: one(tally, "store_connections_total", "store", modes[name])
        if name in modes
        else one(tally, f"store_{RENAMED.get(name, name)}_total", "store")
        for name in values
    }
    assert values == told


def test_every_number_of_open_connections_stands_under_its_own_name(tmp_path):
    """Levels and totals; `kept` is told by nothing, for nothing ended."""
    worker = Worker(tmp_path)
    values = numbered(worker.coherence.streams, at=1000)
    tally = worker.tally()
    names = {"tunnels": "tunnels", "watched": "streams_watched"}
    names["decided_again"] = "streams_decided_again_total"
    for name, value in values.items():
        if name.startswith("ended_"):
            reason = name.removeprefix("ended_")
            assert value == one(tally, "streams_ended_total", reason)
        elif name != "kept":
            assert value == one(tally, names[name])


def test_an_upstream_is_told_before_it_was_asked(tmp_path):
    """A rate needs a zero to begin with."""
    tally = Worker(tmp_path).tally()
    assert [0] == tally["latchgate_upstream_errors_total", ("app", "upstream_timeout")]
    assert [0] == tally["latchgate_upstream_responses_total", ("app", "2xx")]


def test_tracking_has_a_state_and_a_proof_an_age(tmp_path):
    """One state is 1, the others 0; before the first proof there is no age."""
    worker = Worker(tmp_path)
    source = worker.coherence.track("store", StoreAddress(socket_path="/nowhere")).source
    age = ("latchgate_store_proof_age_seconds", ("store",))
    assert [1] == worker.tally()["latchgate_store_tracking", ("store", "waiting")]
    assert age not in worker.tally()
    source.tracked(98.5)
    tally = worker.tally()
    assert [1] == tally["latchgate_store_tracking", ("store", "tracking")]
    assert [0] == tally["latchgate_store_tracking", ("store", "waiting")]
    assert [1_500_000_000] == tally[age]
    assert [1] == tally["latchgate_store_connections_total", ("store", "tracked")]
    source.lost()
    assert [1] == worker.tally()["latchgate_store_tracking", ("store", "lost")]
    assert [1] == worker.tally()["latchgate_store_connections_lost_total", ("store",)]


def test_servers_are_told_by_name(tmp_path):
    """Whether they get requests, and how often they did not."""
    worker = Worker(tmp_path)
    (server,) = worker.upstream.servers
    labels = ("app", "http://127.0.0.1:1")
    assert [1] == worker.tally()["latchgate_upstream_server_used", labels]
    server.on_check(is_good=False, most=1)

    assert [0] == worker.tally()["latchgate_upstream_server_used", labels]
    assert [1] == worker.tally()["latchgate_upstream_server_ejections_total", labels]
