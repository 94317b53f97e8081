"""An OpenTelemetry collector, for tests: takes spans over OTLP/HTTP on a real socket.

What never belongs here: what a test expects of them.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

KINDS = {1: "internal", 2: "server", 3: "client"}


@dataclass
class Seen:
    """A span as it was received."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    state: str
    took_ns: int
    is_failed: bool
    attributes: dict[str, Any]


@dataclass
class Collector:
    """What was received, and on which port."""

    port: int = 0
    status: int = 200
    spans: list[Seen] = field(default_factory=list)
    resources: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    raw: bytes = b""
    news: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def endpoint(self) -> str:
        """Where spans are sent."""
        return f"http://127.0.0.1:{self.port}/v1/traces"

    async def take(self, request: web.Request) -> web.Response:
        """Take one batch."""
        body = await request.read()  # aiohttp has unpacked it
        async with self.news:
            self.headers.append({name.lower(): value for name, value in request.headers.items()})
            self.raw += body
            if self.status == 200:
                for part in ExportTraceServiceRequest.FromString(body).resource_spans:
                    self.resources.append(_values(part.resource.attributes))
                    self.spans += [
                        _read(span) for scope in part.scope_spans for span in scope.spans
                    ]
            self.news.notify_all()
        return web.Response(status=self.status, content_type="application/x-protobuf")

    async def until(self, count: int) -> list[Seen]:
        """Wait until so many spans were received; return all."""
        async with asyncio.timeout(20), self.news:
            await self.news.wait_for(lambda: len(self.spans) >= count)
        return self.spans


@asynccontextmanager
async def collecting(tls: ssl.SSLContext | None = None) -> AsyncIterator[Collector]:
    """Run a collector."""
    collector = Collector()
    app = web.Application(client_max_size=16 * 2**20)
    app.router.add_post("/v1/traces", collector.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    collector.port = runner.addresses[0][1]
    try:
        yield collector
    finally:
        await runner.cleanup()


def _read(span: Any) -> Seen:
    return Seen(
        name=span.name,
        kind=KINDS[span.kind],
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        state=span.trace_state,
        took_ns=span.end_time_unix_nano - span.start_time_unix_nano,
        is_failed=span.status.code == 2,
        attributes=_values(span.attributes),
    )


def _values(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}
