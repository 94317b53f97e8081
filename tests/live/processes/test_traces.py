"""Traces of a whole gate, by the packages of its extra."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.collector import collecting
from tests.live.processes.conftest import ROOT

pytestmark = pytest.mark.slow


async def test_every_worker_sends_its_spans_also_at_the_end(serve, public, application):
    """Two workers, one collector; what waits when the gate is told to stop is sent before it ends."""
    async with collecting() as collector:
        gate = await serve(
            f'{public}\ntracing: {{endpoint: "{collector.endpoint}", sample: 1, service: shop}}\n'
        )
        await gate.ready()
        for _ in range(20):
            assert (200, b"hello") == await gate.get("/a?b")
        gate.send(signal.SIGTERM)
        assert 0 == await gate.exit()

        spans = collector.spans
    assert 20 == sum(span.kind == "server" for span in spans)
    parents = {span.span_id for span in spans if span.name == "GET app"}
    told = {
        line.rpartition(b": ")[2].split(b"-")[2].decode()
        for head in application.heads
        for line in head.splitlines()
        if line.startswith(b"traceparent")
    }
    assert parents == told
    assert 20 == len(told)
    assert {"shop"} == {one["service.name"] for one in collector.resources}
    assert 2 == len({one["service.instance.id"] for one in collector.resources})


async def test_a_reload_begins_and_ends_with_traces(serve, public, shell):
    """The running gate sends spans of what comes while its configuration says so, and none after."""
    async with collecting() as collector:
        gate = await serve(public)
        await gate.ready()
        file = gate.directory / "latchgate.yaml"
        for tracing in (f'tracing: {{endpoint: "{collector.endpoint}", sample: 1}}', ""):
            await gate.get("/before")
            file.write_text(f"{public}\n{tracing}\n")
            status, out, error = await shell.run("reload")
            assert 0 == status, out + error
            await gate.get("/after")
        await collector.until(6)
        gate.send(signal.SIGTERM)
        assert 0 == await gate.exit()

    paths = [s.attributes["url.path"] for s in collector.spans if s.kind == "server"]
    assert ["/after", "/before"] == sorted(paths)


def test_a_gate_without_traces_imports_nothing_of_them():
    """Neither its supervisor nor a worker, and its requests are not looked at."""
    program = (
        "import sys, proxy.run.worker, proxy.run.supervisor, proxy.run.tracing\n"
        "print([m for m in sys.modules if m.partition('.')[0] in ('opentelemetry', 'requests')])"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )

    assert "[]\n" == run.stdout
