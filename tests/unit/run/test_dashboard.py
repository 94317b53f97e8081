"""The dashboard and the alerts in config/: every expression is one, of metrics that there are."""

from __future__ import annotations

import json
import re
from pathlib import Path

import promql_parser as promql
import pytest
from ruamel.yaml import YAML

from proxy.codes import CODES
from proxy.run.metric_table import METRICS

CONFIG = Path(__file__).parents[3] / "config"
DASHBOARD = json.loads((CONFIG / "grafana-dashboard.json").read_text())
GROUPS = YAML(typ="safe").load((CONFIG / "prometheus-rules.yml").read_text())["groups"]
RULES = [rule for group in GROUPS for rule in group["rules"]]
OF_PROMETHEUS = {"job", "instance"}
"""Labels that every sample gets when it is scraped."""
VARIABLES = {one["name"] for one in DASHBOARD["templating"]["list"]}

EXPRESSIONS = [
    *((panel["title"], t["expr"]) for panel in DASHBOARD["panels"] for t in panel.get("targets", ())),
    *((one["name"], one["expr"]) for one in DASHBOARD["annotations"]["list"]),
    *((rule["alert"], rule["expr"]) for rule in RULES),
]  # fmt: skip


def samples() -> dict[str, set[str]]:
    """Return the labels of everything that a scrape may name."""
    found = {}
    for metric in METRICS.values():
        labels = {*metric.labels, *OF_PROMETHEUS}
        match metric.kind:
            case "histogram":
                found |= {f"{metric.name}_{word}": labels for word in ("sum", "count")}
                found[f"{metric.name}_bucket"] = labels | {"le"}
            case "summary":
                found |= {f"{metric.name}_{word}": labels for word in ("sum", "count")}
            case _:
                found[metric.name] = labels
    return found


SAMPLES = samples()
CLOSED = {
    ("latchgate_decisions_total", "decision"): {
        "forward", "allow", "answer", "challenge", "deny", "unavailable", "error",
    },
    ("latchgate_decisions_total", "code"): {*CODES, ""},
    ("latchgate_upstream_errors_total", "code"): {*CODES},
    ("latchgate_store_tracking", "state"): {"waiting", "tracking", "lost", "untracked"},
}  # fmt: skip
"""Values that the product itself gives a label."""


def looked_at(node, labels=frozenset()):
    """Yield every selector of an expression, and the labels by which it is grouped or matched."""
    match node:
        case promql.AggregateExpr():
            named = set(node.modifier.labels) if node.modifier else set()
            yield from looked_at(node.expr, labels | named)
        case promql.BinaryExpr():
            matching = node.modifier.matching if node.modifier else None
            named = set(matching.labels) if matching else set()
            yield from looked_at(node.lhs, labels | named)
            yield from looked_at(node.rhs, labels | named)
        case promql.Call():
            for argument in node.args:
                yield from looked_at(argument, labels)
        case promql.ParenExpr() | promql.UnaryExpr() | promql.SubqueryExpr():
            yield from looked_at(node.expr, labels)
        case promql.MatrixSelector():
            yield node.vector_selector, labels
        case promql.VectorSelector():
            yield node, labels
        case promql.NumberLiteral() | promql.StringLiteral():
            return
        case _:
            raise AssertionError(f"unknown: {node!r}")


def labels_of(node):
    """Return the labels of what an expression comes to."""
    match node:
        case promql.AggregateExpr():
            return set(node.modifier.labels) if node.modifier else set()
        case promql.BinaryExpr():
            return labels_of(node.lhs)
        case promql.Call():
            return labels_of(node.args[-1]) - {"le"}
        case promql.ParenExpr() | promql.UnaryExpr():
            return labels_of(node.expr)
        case promql.MatrixSelector():
            return SAMPLES[node.vector_selector.name]
    return SAMPLES[node.name]


def parsed(expression):
    """Parse an expression as Grafana sends it."""
    return promql.parse(expression.replace("$__rate_interval", "1m"))


@pytest.mark.parametrize(("title", "expression"), EXPRESSIONS, ids=range(len(EXPRESSIONS)))
def test_an_expression_asks_for_what_there_is(title, expression):
    """It is PromQL, and its metrics have the labels by which it selects, groups and matches."""
    selectors = list(looked_at(parsed(expression)))

    assert selectors, title
    for selector, grouped in selectors:
        assert selector.name in SAMPLES, (title, selector.name)
        there = SAMPLES[selector.name]
        matchers = selector.matchers.matchers
        assert grouped | {one.name for one in matchers} <= there, (title, selector.name)
        for one in matchers:
            known = CLOSED.get((selector.name, one.name))
            if known is not None:
                assert set(one.value.split("|")) <= known, title


def test_what_is_counted_is_looked_at_as_what_it_is():
    """A counter is shown by how it grows, and a gauge is not; quantiles keep `le`."""
    for title, expression in EXPRESSIONS:
        growing = re.findall(r"(?:rate|increase)\((latchgate_\w+)", expression)
        named = re.findall(r"\blatchgate_\w+", expression)
        totals = [name for name in named if re.search(r"_(total|sum|count|bucket)$", name)]
        assert growing == totals, title
        assert expression.count("histogram_quantile(") == expression.count("_bucket"), title


def test_a_dashboard_uses_its_own_variables_alone():
    """Whoever imports it chooses a data source, jobs, gates and routes; none is written in it."""
    text = json.dumps(DASHBOARD)
    used = {*re.findall(r"\$\{?(\w+)", text)} - {"__rate_interval", "__all"}
    sources = {panel["datasource"]["uid"] for panel in DASHBOARD["panels"] if "datasource" in panel}

    assert used == VARIABLES
    assert {"${datasource}"} == sources
    assert sorted({p["id"] for p in DASHBOARD["panels"]}) == [p["id"] for p in DASHBOARD["panels"]]
    for one in DASHBOARD["templating"]["list"]:
        for name in re.findall(r"latchgate_\w+", json.dumps(one)):
            assert name in SAMPLES


def test_panels_do_not_overlap():
    """Each has a place of its own within the 24 columns."""
    taken = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_an_alert_says_whom_it_wakes_and_what_it_is_about():
    """Names are unique; labels that a summary quotes are there, and a severity is one of two."""
    names = [rule["alert"] for rule in RULES]
    assert len(names) == len(set(names))
    for rule in RULES:
        assert {"alert", "expr", "labels", "annotations"} <= rule.keys() <= {
            "alert", "expr", "for", "labels", "annotations",
        }  # fmt: skip
        assert rule["labels"]["severity"] in ("page", "ticket")
        expression = parsed(rule["expr"])
        assert isinstance(expression, promql.BinaryExpr), rule["alert"]
        for quoted in re.findall(r"\$labels\.(\w+)", str(rule["annotations"])):
            assert quoted in labels_of(expression), (rule["alert"], quoted)


@pytest.mark.parametrize(
    "alert",
    [
        "LatchgateStoreLost", "LatchgateRevocationLag", "LatchgateUpstreamEjected",
        "LatchgateNotReady", "LatchgateWorkerHangs", "LatchgateReloadNotTaken", "LatchgateCertificateEnds",
    ],
)  # fmt: skip
def test_what_may_not_be_missed_has_an_alert(alert):
    """Losses that people notice first otherwise."""
    assert alert in {rule["alert"] for rule in RULES}
