"""What may stand in section `tracing`."""

from __future__ import annotations

import pytest

from proxy.config import tracing_checks

TEXT = 'tracing: {endpoint: "http://127.0.0.1:4318/v1/traces"%s}\nroutes: []\n'


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (", sample: 2", "tracing.sample: must be a number from 0 to 1, such as 0.1"),
        (", sample: many", "tracing.sample: must be a number from 0 to 1, such as 0.1"),
        (", sample: yes", "tracing.sample: must be a number from 0 to 1, such as 0.1"),
        (", sample: .nan", "tracing.sample: the number is not finite"),
        (', headers: {a: "b\u00fcc"}', "tracing.headers.a: must be printable ASCII in one line"),
        (", parents: strangers", "tracing.parents: "),
    ],
    ids=["high", "word", "flag", "nan", "header", "parents"],
)
def test_a_mistake_is_told(reading, more, said):
    """With its place, before the gate starts."""
    mistakes = [one for one in reading.mistakes(TEXT % more) if "tracing" in one]

    assert any(said in one for one in mistakes), mistakes


@pytest.mark.parametrize(
    ("endpoint", "is_good"),
    [
        ("https://otel.example.com/v1/traces", True),
        ("http://127.0.0.1:4318/v1/traces", True),
        ("http://otel.example.com/v1/traces", False),
    ],
    ids=["tls", "here", "clear"],
)
def test_headers_are_not_sent_in_clear_text(reading, endpoint, is_good):
    """They are credentials: beyond this machine they need TLS."""
    text = (
        f'tracing: {{endpoint: "{endpoint}", headers: {{Authorization: "Bearer x"}}}}\nroutes: []\n'
    )
    mistakes = [one for one in reading.mistakes(text) if "must start with https" in one]

    assert is_good == (not mistakes)


def test_the_extra_is_missed_before_the_gate_starts(reading, monkeypatch):
    """Whoever wants traces is told what to install, and gets no gate without them."""
    monkeypatch.setattr(tracing_checks, "NEEDED", "opentelemetry_that_is_not_there.exporter")

    assert any("pip install 'latchgate[otel]'" in one for one in reading.mistakes(TEXT % ""))
