"""Checks of section `tracing`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from proxy.config.addresses import is_loopback
from proxy.config.installed import is_installed
from proxy.config.survey import Survey
from proxy.errors import Problem

NEEDED: Final = "opentelemetry.exporter.otlp.proto.http.trace_exporter"


def check_exporter(survey: Survey) -> Iterator[Problem]:
    """Find tracing that was asked for where what sends the spans is not installed."""
    if survey.config.tracing is not None and not is_installed(NEEDED):
        yield Problem(("tracing",), "needs OpenTelemetry: pip install 'latchgate[otel]'")


def check_collector(survey: Survey) -> Iterator[Problem]:
    """Find headers for the collector that are none, or secrets on their way in clear text."""
    tracing = survey.config.tracing
    if tracing is None or not tracing.headers:
        return
    for name, value in tracing.headers.items():
        if not re.fullmatch(rb"[!-~]([ -~]*[!-~])?", value.reveal_bytes()):
            yield Problem(("tracing", "headers", name), "must be printable ASCII in one line")
    url = urlsplit(tracing.endpoint)
    if url.scheme == "http" and not is_loopback(url.hostname or ""):
        message = "must start with https:// where `headers` are sent, unless it is this machine"
        yield Problem(("tracing", "endpoint"), message)


CHECKS: Final = (check_exporter, check_collector)
