"""What a worker tells of its counters."""

from __future__ import annotations

from pathlib import Path

from proxy.adapters.store import StoreAddress
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
    "build_info",
}


class Worker:
    """The counters of a worker, and its clock."""

    def __init__(self, directory: Path) -> None:
        file = directory / "latchgate.yaml"
        file.write_text(TEXT)
        self.now = 100.0
        self.requests = RequestCounters(["app"])
        self.coherence = Coherence(load_config(file).config, clock=lambda: self.now)

    def tally(self):
        """Return what it tells."""
        return count_worker(self.requests, self.coherence, 4)


def test_everything_that_it_counts_stands_in_the_table(tmp_path):
    """No name is misspelt, no label is missing, and nothing that workers count is left out."""
    worker = Worker(tmp_path)
    worker.coherence.track("store", StoreAddress(socket_path="/nowhere")).source.tracked(100.0)
    worker.requests.request(("forward", "r", "", None), 0.1)
    tally = worker.tally()
    assert [] == [sample for sample in tally if not fits(*sample, tally[sample])]
    untold = {name.removeprefix("latchgate_") for name in set(METRICS) - {n for n, _ in tally}}
    assert OF_THE_SUPERVISOR == {n for n in untold if not n.startswith(("worker", "jwks"))}


def test_requests_are_told_by_route_scheme_decision_and_code(tmp_path):
    """Durations of one route come together, whatever was decided."""
    worker = Worker(tmp_path)
    worker.requests.request(("forward", "r", "web", None), 0.001, 3, 5)
    worker.requests.request(("challenge", "r", "", "credential_missing"), 20.0)
    tally = worker.tally()
    assert [1] == tally["latchgate_decisions_total", ("r", "web", "forward", "")]
    key = ("r", "", "challenge", "credential_missing")
    assert [1] == tally["latchgate_decisions_total", key]
    assert [1, *[0] * 10, 1, 20_001_000_000] == tally["latchgate_request_duration_seconds", ("r",)]
    assert [3] == tally["latchgate_received_bytes_total", ()]
    assert [5] == tally["latchgate_sent_bytes_total", ()]
    assert [4] == tally["latchgate_client_connections", ()]


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
