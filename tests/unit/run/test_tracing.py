"""A worker's traces over reloads: which collector gets the spans of which request."""

from __future__ import annotations

import threading
from contextlib import AsyncExitStack

from proxy.edge.forward import Passage
from proxy.model import Peer, RequestView
from proxy.run.tracing import MOST_SENDERS, Tracing
from proxy.services.runtime import Runtime, load
from tests.collector import collecting
from tests.live.processes.conftest import eventually

CONFIG = """
upstreams: {{app: {{servers: ["http://127.0.0.1:1"]}}}}
routes: [{{match: {{path: "/**"}}, auth: none, upstream: app}}]
{tracing}
"""
VIEW = RequestView("GET", b"/", (), Peer(None, None, is_unix=True, is_tls=False))


async def test_spans_go_where_the_configuration_of_their_request_says(tmp_path):
    """One that names the collector of before keeps its batches; what began under another is not lost."""
    async with AsyncExitStack() as stack:
        first, second = [await stack.enter_async_context(collecting()) for _ in range(2)]
        tracing, begun = Tracing(worker=3), []
        for service, collector in (("a", first), ("a", first), ("b", second), (None, None)):
            text = (
                f'tracing: {{endpoint: "{collector.endpoint}", sample: 1, service: {service}}}'
                if collector
                else ""
            )
            file = tmp_path / "latchgate.yaml"
            file.write_text(CONFIG.format(tracing=text))
            runtime = await Runtime.start(load(file))
            stack.push_async_callback(runtime.close)
            tracer = tracing.tracer_of(runtime)
            assert (tracer is None) == (collector is None)
            if tracer is not None:
                begun.append(tracer.begin(VIEW, lot=True))
        for trace in begun:
            trace.finish(VIEW, None, "error", Passage(status=500))
        await tracing.close()

    names = [
        [span.name for span in collector.spans if span.kind == "server"]
        for collector in (first, second)
    ]
    assert [["GET", "GET"], ["GET"]] == names
    assert [["a"], ["b"]] == [
        [one["service.name"] for one in collector.resources] for collector in (first, second)
    ]
    assert all(one["service.instance.id"].endswith("/3") for one in first.resources)


async def test_reloads_leave_no_threads_behind(tmp_path):
    """However often the collector changes, the last few have one each; at the end none has."""

    def senders():
        return sum("OtelBatch" in thread.name for thread in threading.enumerate())

    before, tracing = senders(), Tracing(worker=0)
    for number in range(MOST_SENDERS + 4):
        text = f'tracing: {{endpoint: "http://127.0.0.1:{number + 1}/"}}'
        file = tmp_path / "latchgate.yaml"
        file.write_text(CONFIG.format(tracing=text))
        runtime = await Runtime.start(load(file))
        tracing.tracer_of(runtime)
        await runtime.close()
    await eventually(lambda: senders() - before == MOST_SENDERS)
    await tracing.close()

    assert before == senders()
