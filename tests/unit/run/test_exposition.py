"""Tallies as Prometheus reads them."""

from __future__ import annotations

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as read_open_metrics,
)
from prometheus_client.parser import text_string_to_metric_families as read_text

from proxy.run.exposition import OPEN_METRICS, expose
from proxy.run.metric_table import METRICS

TALLY = {
    ("latchgate_decisions_total", ('r"\n', "web", "forward", "")): [7],
    ("latchgate_request_duration_seconds", ("r",)): [1, 2, *[0] * 9, 4, 1_500_000_000],
    ("latchgate_store_heartbeat_seconds", ("store",)): [4, 2_000_000],
    ("latchgate_store_invalidation_lag_seconds", ("store",)): [1, 2, *[0] * 9, 4, 1_500_000_000],
    ("latchgate_tunnels", ()): [3],
    ("latchgate_jwks_age_seconds", ("api",)): [2_500_000_000],
    ("latchgate_build_info", ("1.2.3", "3.13.0")): [1],
}


def read(accept):
    """Return content type, and every sample by name and labels."""
    content_type, body = expose(TALLY, accept)
    parse = read_open_metrics if content_type.startswith(OPEN_METRICS) else read_text
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in parse(body.decode())
        for sample in family.samples
    }
    return content_type, samples


@pytest.mark.parametrize("accept", ["", "*/*", "application/openmetrics-text; version=1.0.0"])
def test_every_kind_is_told_in_both_formats(accept):
    """A parser of each format reads back what was counted, times in seconds."""
    _, samples = read(accept)
    key = ("latchgate_decisions_total", ("code", ""), ("decision", "forward"))
    assert 7 == samples[(*key, ("route", 'r"\n'), ("scheme", "web"))]
    histogram = "latchgate_request_duration_seconds"
    assert 1 == samples[f"{histogram}_bucket", ("le", "0.005"), ("route", "r")]
    assert 3 == samples[f"{histogram}_bucket", ("le", "10.0"), ("route", "r")]
    assert 7 == samples[f"{histogram}_bucket", ("le", "+Inf"), ("route", "r")]
    assert 7 == samples[f"{histogram}_count", ("route", "r")]
    assert 1.5 == samples[f"{histogram}_sum", ("route", "r")]
    lag = "latchgate_store_invalidation_lag_seconds"
    assert 1 == samples[f"{lag}_bucket", ("le", "0.0001"), ("store", "store")]
    assert 3 == samples[f"{lag}_bucket", ("le", "2.0"), ("store", "store")]
    assert 4 == samples["latchgate_store_heartbeat_seconds_count", ("store", "store")]
    assert 0.002 == samples["latchgate_store_heartbeat_seconds_sum", ("store", "store")]
    assert 3 == samples["latchgate_tunnels",]
    assert 2.5 == samples["latchgate_jwks_age_seconds", ("scheme", "api")]
    assert 1 == samples["latchgate_build_info", ("python", "3.13.0"), ("version", "1.2.3")]


def test_who_names_open_metrics_gets_it():
    """Prometheus does; a browser or curl gets the plain text."""
    asked = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.2"
    assert read(asked)[0].startswith("application/openmetrics-text; version=1.0.0;")
    assert read("text/html")[0].startswith("text/plain; version=0.0.4;")


@pytest.mark.parametrize(
    "accept", ["application/openmetrics-text; version=x; escaping=evil", "\xff;,;=", "a" * 8000]
)
def test_s11_nothing_of_the_accept_header_comes_back(accept):
    """S11: it chooses between two answers, and is part of neither."""
    content_type, body = expose(TALLY, accept)
    assert "evil" not in content_type
    assert "version=x" not in content_type
    assert accept.encode() not in body


def test_every_metric_is_there_before_it_has_a_number():
    """A dashboard finds names and meanings in the first scrape of an idle gate."""
    _, body = expose({}, "")
    text = body.decode()
    assert [m.name for m in METRICS.values()] == [
        line.split()[2] for line in text.splitlines() if line.startswith("# HELP")
    ]
