"""A worker's traces: the collector that a configuration names, and who decides about requests."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from proxy import __version__
from proxy.adapters.tasks import spawn
from proxy.config.models import TracingConfig
from proxy.services.runtime import Runtime

if TYPE_CHECKING:
    from proxy.adapters.telemetry.otlp import SpanSender
    from proxy.edge.tracing import Tracer

CLOSE_TIMEOUT_S: Final = 3.0
"""How long the spans that wait may take at the end."""

MOST_SENDERS: Final = 3
"""Collectors of the last configurations; each has a thread. What began under an earlier one, and still goes
on, has no spans."""


class Tracing:
    """Makes and sends the spans of one process, whatever is loaded meanwhile."""

    def __init__(self, worker: int) -> None:
        self._worker = worker
        self._settings: TracingConfig | None = None
        self._senders: list[SpanSender] = []
        """The last is used; those before it have spans of requests that began before a reload."""

    def tracer_of(self, runtime: Runtime) -> Tracer | None:
        """Return who decides under a configuration; `None` where it wants no traces."""
        settings = runtime.config.tracing
        if settings is None:
            return None
        # A gate without traces imports nothing of OpenTelemetry, which need not be installed.
        from proxy.edge.tracing import Tracer  # noqa: PLC0415 - as above

        if settings != self._settings:
            self._settings = settings
            self._senders.append(self._sender_of(settings, runtime.gate_id))
            if len(self._senders) > MOST_SENDERS:
                oldest = self._senders.pop(0)
                closing = asyncio.to_thread(oldest.close, CLOSE_TIMEOUT_S)
                spawn(closing, name="spans of an earlier configuration")
        return Tracer(
            self._senders[-1].export,
            sample=settings.sample,
            parents=settings.parents,
            forwarding=runtime.forwarding,
        )

    async def close(self) -> None:
        """Send what waits; never raises."""
        senders, self._senders, self._settings = self._senders, [], None
        closing = [asyncio.to_thread(sender.close, CLOSE_TIMEOUT_S) for sender in senders]
        await asyncio.gather(*closing, return_exceptions=True)

    def _sender_of(self, settings: TracingConfig, gate_id: str) -> SpanSender:
        from proxy.adapters.telemetry.otlp import SpanSender  # noqa: PLC0415 - as above

        return SpanSender(
            settings.endpoint,
            resource={
                "service.name": settings.service,
                "service.version": __version__,
                "service.instance.id": f"{gate_id}/{self._worker}",
            },
            version=__version__,
            headers={name: header.reveal() for name, header in settings.headers.items()},
            timeout_s=settings.timeout,
            ca=None if settings.ca is None else str(settings.ca),
        )
