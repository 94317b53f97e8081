"""Computes docs/scale.md: its measured inputs from benchmarks/results, everything else from its own formulas.

Run it with `python benchmarks/scale.py`; exit status 1 means that the page says something else than its inputs
and formulas give. `--write` writes what they give. Assumptions are changed in the page.
"""

from __future__ import annotations

import argparse
import ast
import json
import math
import operator
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "scale.md"
RESULTS = ROOT / "benchmarks" / "results"
TABLE = re.compile(r"<!-- (measured|assumed|computed|sites) -->\n((?:\|.*\n)+)")
OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}


def evaluate(formula, names):
    """Return what a formula gives: numbers, names, `+ - * / **`, brackets and `ceil(…)`."""
    return _value(ast.parse(formula, mode="eval").body, names)


def _value(node, names):
    match node:
        case ast.Constant(value=int() | float()):
            return node.value
        case ast.Name():
            return names[node.id]
        case ast.BinOp():
            return OPERATORS[type(node.op)](_value(node.left, names), _value(node.right, names))
        case ast.Call(func=ast.Name(id="ceil"), args=[inner], keywords=[]):
            return math.ceil(_value(inner, names))
    raise ValueError(f"not a formula: {ast.dump(node)}")


def measured():
    """Return the inputs that stand in benchmarks/results."""
    peers, memory = ((RESULTS / name).read_text() for name in ("peers.md", "memory.md"))
    _, _, browsers = peers.partition("## Small answers to browsers")
    _, _, logged = browsers.partition("## The same with access logs")
    found = json.loads((RESULTS / "store_costs.json").read_text())
    return {
        **found,
        "hit_us": _cell(logged, "Latchgate, session", 1),
        "miss_us": _cell(peers.partition("## Every credential new")[2], "Latchgate, session", 1),
        "post_us": _cell(peers.partition("## Posts of 1 KiB")[2], "Latchgate, session", 1),
        "connection_kib": _cell(peers.partition("## Memory")[2], "Latchgate, session", 1),
        "remembered_kib": _cell(peers.partition("## Memory")[2], "Latchgate, session", 3),
        "worker_mib": _cell(memory, "before the first of them", 1),
    }


def _cell(text, first, column):
    row = next(line for line in text.splitlines() if line.startswith(f"| {first} |"))
    return number(cells(row)[column])


def cells(line):
    """Return what stands in a row of a table."""
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def number(text):
    return float(text.replace(",", "").strip("*"))


def shown(value):
    """Return a number as the page shows it: three digits or more."""
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def filled(text, inputs):
    """Return the page with its measured values, and with what its formulas make of all inputs."""
    names = {}

    def table(match):
        kind, lines = match[1], match[2].splitlines()
        rows = [cells(line) for line in lines[2:]]
        work = {"measured": _measured, "assumed": _assumed, "computed": _computed, "sites": _sites}
        for row in rows:
            work[kind](row, names, inputs)
        body = [f"| {' | '.join(row)} |" for row in rows]
        return "\n".join([f"<!-- {kind} -->", *lines[:2], *body, ""])

    return TABLE.sub(table, text)


def _measured(row, names, inputs):
    name = row[0].strip("`")
    row[1] = shown(inputs[name])
    names[name] = number(row[1])


def _assumed(row, names, _inputs):
    names[row[0].strip("`")] = number(row[1])


def _computed(row, names, _inputs):
    value = evaluate(row[1].strip("`"), names)
    names[row[0].strip("`")] = value
    row[2] = shown(value)


def _sites(row, names, _inputs):
    sites = names.setdefault("sites", [{} for _ in row[2:-1]])
    for column, site in enumerate(sites, start=2):
        if row[1]:
            value = evaluate(row[1].strip("`"), names | site)
            row[column] = shown(value)
        else:
            value = number(row[column])
        site[row[0].strip("`")] = value


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="write what the formulas give")
    options = parser.parse_args()
    text = PAGE.read_text()
    found = filled(text, measured())
    if options.write:
        PAGE.write_text(found)
        return 0
    print("good" if found == text else f"{PAGE.name} says something else")
    return int(found != text)


if __name__ == "__main__":
    sys.exit(main())
