"""Spans on their way to a collector: OpenTelemetry's own batches, over OTLP/HTTP.

Imported only where tracing is configured. Spans are encoded and sent on a thread of their own; what
the collector does not take in time is lost, and nobody waits for it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Final

import requests
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from proxy.adapters.telemetry.spans import Span

QUEUE: Final = 4096
"""Spans that wait to be sent; beyond, the oldest are lost."""
BATCH: Final = 256
DELAY_S: Final = 1.0
"""How long spans wait for others."""
COMPLAIN_S: Final = 60.0
"""How often it is said that spans are lost."""

_KINDS: Final = {
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "internal": SpanKind.INTERNAL,
}
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_log: Final = logging.getLogger("latchgate.tracing")


class SpanSender:
    """Sends spans to one collector. Made once for each process."""

    def __init__(
        self,
        endpoint: str,
        *,
        resource: Mapping[str, str],
        version: str,
        headers: Mapping[str, str],
        timeout_s: float,
        ca: str | None = None,
        delay_s: float = DELAY_S,
    ) -> None:
        """Begin to send to `endpoint`, a URL; `headers` go with every batch and are secret."""
        # Their messages quote what a collector answers, and the loss is told by `_Telling`.
        for name in ("opentelemetry.exporter", "opentelemetry.sdk", "urllib3"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        session = requests.Session()
        session.trust_env = False  # neither a proxy nor a .netrc of whoever started the gate
        exporter = OTLPSpanExporter(
            endpoint=endpoint,
            headers=dict(headers),
            timeout=timeout_s,
            certificate_file=ca,
            compression=Compression.Gzip,
            session=session,
        )
        self._resource = Resource(dict(resource))
        self._scope = InstrumentationScope("latchgate", version)
        self._processor = BatchSpanProcessor(
            _Telling(exporter),
            max_queue_size=QUEUE,
            schedule_delay_millis=delay_s * 1000,
            max_export_batch_size=BATCH,
            export_timeout_millis=timeout_s * 1000,
        )

    def export(self, spans: Sequence[Span]) -> None:
        """Take spans; they are sent later."""
        for span in spans:
            self._processor.on_end(self._readable(span))

    def close(self, timeout_s: float) -> None:
        """Send what waits, for at most about `timeout_s`; blocks."""
        # The processor's own `shutdown` takes no time limit.
        self._processor._batch_processor.shutdown(int(timeout_s * 1000))  # noqa: SLF001 - as above

    def _readable(self, span: Span) -> ReadableSpan:
        state = TraceState.from_header([span.state]) if span.state else None
        trace_id = int(span.trace_id, 16)
        parent = None
        if span.parent_id is not None:
            parent = SpanContext(
                trace_id, int(span.parent_id, 16), span.is_parent_remote, _SAMPLED, state
            )
        return ReadableSpan(
            name=span.name,
            context=SpanContext(trace_id, int(span.span_id, 16), False, _SAMPLED, state),  # noqa: FBT003 - as the library has it
            parent=parent,
            resource=self._resource,
            attributes=dict(span.attributes),
            kind=_KINDS[span.kind],
            status=Status(StatusCode.ERROR) if span.is_failed else Status(),
            start_time=span.began_ns,
            end_time=span.ended_ns,
            instrumentation_scope=self._scope,
        )


class _Telling(SpanExporter):
    """Says in the log that spans are lost, now and then, in words of our own."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._lost = 0
        self._told_at = -COMPLAIN_S

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        if result is not SpanExportResult.SUCCESS:
            self._lost += len(spans)
            now = time.monotonic()
            if now - self._told_at >= COMPLAIN_S:
                self._told_at = now
                _log.warning("%d spans were lost: the collector does not take them", self._lost)
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()
