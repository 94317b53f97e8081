"""`/metrics` of a whole gate: two workers, one of which may be killed or stopped."""

from __future__ import annotations

import os
import secrets
import signal

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.live.processes.conftest import eventually, kill
from tests.live.processes.test_shared import guarded

pytestmark = pytest.mark.slow

DECISIONS = "latchgate_decisions_total"
PUBLIC = {"route": "/**", "scheme": "", "decision": "forward", "code": ""}


async def scrape(gate) -> list:
    """Return the samples of one scrape."""
    status, body = await gate.health("/metrics")
    assert 200 == status
    return [s for f in text_string_to_metric_families(body.decode()) for s in f.samples]


async def value(gate, name: str, **labels: str) -> float:
    """Return the sum of the samples that have these labels."""
    return sum(
        sample.value
        for sample in await scrape(gate)
        if sample.name == name and labels.items() <= sample.labels.items()
    )


async def spread(gate, *, times: int) -> None:
    """Send requests, and wait until they are over: `Connection: close` goes where it likes."""
    before = await value(gate, DECISIONS)
    for _ in range(times):
        assert (200, b"hello") == await gate.get()

    async def are_counted() -> bool:
        return await value(gate, DECISIONS) == before + times

    await eventually(are_counted)


async def test_one_scrape_tells_of_all_workers(serve, public):
    """Totals add up over both, whichever took a connection."""
    gate = await serve(public)
    await gate.ready()
    await spread(gate, times=30)
    assert {"worker 0", "worker 1"} == {line["process"] for line in await gate.requests(30)}
    assert 30 == await value(gate, DECISIONS, **PUBLIC)
    assert 30 == await value(gate, "latchgate_upstream_responses_total", status="2xx")
    assert 30 == await value(gate, "latchgate_request_duration_seconds_count", route="/**")
    assert 2 == await value(gate, "latchgate_workers_wanted")
    assert 2 == await value(gate, "latchgate_workers_ready")


async def test_the_servers_are_read_from_what_a_real_gate_tells(serve, public, shell):
    """`latchgate upstreams` understands the exposition as it is, not as a test would write it."""
    gate = await serve(public)
    await gate.ready()
    told = await shell.json("upstreams")

    assert [row["used"] for row in told["servers"]] == [told["workers"]]


async def test_a_killed_worker_does_not_lower_a_total(serve, public):
    """What it had counted when it was last asked is kept, and its replacement adds to it."""
    gate = await serve(public)
    await gate.ready()
    await spread(gate, times=20)
    for victim in gate.workers():
        kill(victim)
    await gate.said("is ready (process", times=4)
    assert 20 == await value(gate, DECISIONS, **PUBLIC)
    assert 2 == await value(gate, "latchgate_worker_restarts_total")
    await spread(gate, times=10)
    assert 30 == await value(gate, DECISIONS, **PUBLIC)


async def test_a_stopped_worker_does_not_hang_a_scrape(serve, public):
    """A worker under SIGSTOP: its last known numbers are shown, and a gauge says so."""
    gate = await serve(public)
    await gate.ready()
    await spread(gate, times=20)
    stopped = gate.workers()[0]
    os.kill(stopped, signal.SIGSTOP)
    try:
        for _ in range(2):
            assert await value(gate, "latchgate_workers_silent") >= 1
        assert 20 == await value(gate, DECISIONS, **PUBLIC)
    finally:
        os.kill(stopped, signal.SIGCONT)

    async def answers_again() -> bool:
        return await value(gate, "latchgate_workers_silent") == 0

    await eventually(answers_again)
    assert 20 == await value(gate, DECISIONS, **PUBLIC)


async def test_s11_no_credential_and_nobody_is_in_the_metrics(serve, public, mortal_valkey):
    """S11, S15: cookies, subjects, paths, methods and hosts of requests are nowhere in the answer."""
    gate = await serve(guarded(public, mortal_valkey.url))
    await gate.ready()
    secret = secrets.token_hex(16)
    assert 401 == (await gate.get("/in", Cookie=f"sid={secret}"))[0]
    assert 401 == (await gate.get("/in", Authorization=f"Bearer {secret}"))[0]
    assert 200 == (await gate.get(f"/{secret}?{secret}", **{"X-Request-Id": secret}))[0]
    await gate.requests(3)

    async def are_counted() -> bool:
        return await value(gate, DECISIONS) == 3

    await eventually(are_counted)
    _, body = await gate.health("/metrics")
    assert secret.encode() not in body
    of_requests = [line for line in body.splitlines() if b"_upstream_server_" not in line]
    assert b"127.0.0.1" not in b"\n".join(of_requests)  # but for the addresses that are configured
    assert str(gate.directory).encode() not in body
    unknown = {"route": "/in", "scheme": "web", "decision": "challenge", "code": "session_unknown"}
    assert 1 == await value(gate, DECISIONS, **unknown)


async def test_the_store_and_its_tracking_are_told(serve, public, mortal_valkey):
    """Both workers track; when the store is gone it is not up, and they say that they lost it."""
    gate = await serve(guarded(public, mortal_valkey.url))
    await gate.ready()

    async def both_track() -> bool:
        tracking = await value(gate, "latchgate_store_tracking", store="store", state="tracking")
        return tracking == 2 and await value(gate, "latchgate_store_up", store="store") == 1

    await eventually(both_track)
    await gate.get("/in", Cookie="sid=x")

    async def lag_is_known() -> bool:
        return await value(gate, "latchgate_store_invalidation_lag_seconds_count") >= 2

    await eventually(lag_is_known)
    mortal_valkey.kill()

    async def both_lost() -> bool:
        lost = await value(gate, "latchgate_store_tracking", store="store", state="lost")
        return lost == 2 and await value(gate, "latchgate_store_up", store="store") == 0

    await eventually(both_lost)
    assert 2 == await value(gate, "latchgate_store_connections_lost_total", store="store")
    assert 1 == await value(gate, "latchgate_store_lookup_seconds_count", store="store")
