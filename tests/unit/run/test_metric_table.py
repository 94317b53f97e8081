"""The table of metrics, and its page in docs/."""

from __future__ import annotations

import re
from pathlib import Path

from proxy.run.metric_table import HIGHEST, METRICS, fits

NONE = "\N{EN DASH}"
PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"


def rows():
    """Return the rows of the page: name, type, labels, meaning."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| `latchgate_")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_the_page_says_what_the_code_says():
    """docs/metrics.md has every metric once, in the code's order, with type, labels and meaning."""
    table = [
        [f"`{m.name}`", m.kind, ", ".join(f"`{label}`" for label in m.labels) or NONE]
        for m in METRICS.values()
    ]
    assert table == [row[:3] for row in rows()]
    for metric, row in zip(METRICS.values(), rows(), strict=True):
        assert row[3].startswith(metric.help), metric.name


def test_every_expression_names_a_metric():
    """What the page tells people to watch is there."""
    used = set(re.findall(r"latchgate_\w+", PAGE.read_text()))
    stems = {re.sub(r"_(sum|count|bucket)$", "", name) for name in used}
    assert stems <= set(METRICS) | {"latchgate_"}


def test_names_follow_the_conventions():
    """A counter ends in `_total`, nothing else does; times are seconds, sizes bytes."""
    for metric in METRICS.values():
        assert re.fullmatch(r"latchgate(_[a-z]+)+", metric.name), metric.name
        assert metric.name.endswith("_total") == (metric.kind == "counter"), metric.name
        assert metric.name.endswith("_info") == (metric.kind == "info"), metric.name
        if metric.kind in ("histogram", "summary"):
            assert metric.name.endswith("_seconds"), metric.name


def test_only_levels_are_shown_as_the_highest():
    """A total that is not a sum would be none."""
    assert all(METRICS[name].kind == "gauge" for name in HIGHEST)


def test_a_sample_of_another_version_does_not_fit():
    """A worker that was replaced may run newer code than its supervisor."""
    assert fits("latchgate_ready", (), [1])
    assert not fits("latchgate_future", (), [1])
    assert not fits("latchgate_ready", ("x",), [1])
    assert not fits("latchgate_ready", (), [1, 2])
