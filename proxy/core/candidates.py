"""Which other routes come near a request, and why another one wins: for people who ask.

The router decides; this only looks at the same tables and patterns once more, one by one. Slow, and
never part of serving.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

from proxy.core.paths import BadTarget, readings, segments
from proxy.core.patterns import Node, Pattern, Step, find
from proxy.core.routing import Leaf, Router, Rule, Table

T = TypeVar("T")

Tier = Literal["exact", "wildcard", "any"]

MAX_SHOWN: Final = 20
"""Near misses that are told; a file may have ten thousand routes."""


@dataclass(frozen=True, slots=True)
class RouteMatch:
    """A route as the router has it."""

    name: str
    host: str | None
    path: str
    methods: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class NearMiss:
    """A route that matches part of a request, and why it is not the one."""

    route: RouteMatch
    reason: str


@dataclass(frozen=True, slots=True)
class Candidates:
    """Where the router looked, and what else is there."""

    tier: Tier
    """How the request's host was found among the hosts that routes name."""
    host: str | None
    """The host pattern; `None` for the routes of any host."""
    best: tuple[RouteMatch, ...]
    """The routes of the most specific pattern that matches the path; its methods decide."""
    near: tuple[NearMiss, ...]


def candidates(router: Router[T], host: str | None, path: bytes, method: str) -> Candidates:
    """Return what the router has for a request, beside the route that it finds."""
    table = router.table_of(host)
    key = next(key for key, value in router.tables.items() if value is table)
    tier: Tier = "any" if key is None else "wildcard" if key.startswith(".") else "exact"
    parts = _parts(path)
    best = None if parts is None else find(table.root, parts, 0)
    near: list[NearMiss] = []
    if parts is not None:
        near += _same_leaf(best, method)
        near += _more_general(table, best, parts)
        near += _other_hosts(router, table, parts)
    return Candidates(
        tier,
        _shown_host(key),
        () if best is None else tuple(_match(rule) for rule in _rules(best)),
        tuple(near[:MAX_SHOWN]),
    )


def _parts(path: bytes) -> list[bytes] | None:
    """Return the segments of the path's first reading; `None` where it has none."""
    try:
        return list(segments(readings(path).paths[0]))
    except BadTarget:
        return None


def _same_leaf(best: Leaf[T] | None, method: str) -> Iterator[NearMiss]:
    if best is None:
        return
    chosen = best.rule(method)
    for rule in _rules(best):
        if rule is not chosen:
            methods = rule.spec.methods
            of = ", ".join(sorted(methods)) if methods else "every method that no other route lists"
            yield NearMiss(_match(rule), f"the same path, for {of}")


def _more_general(table: Table[T], best: Leaf[T] | None, parts: list[bytes]) -> Iterator[NearMiss]:
    winner = next((pattern for pattern, leaf in table.leaves.items() if leaf is best), None)
    if winner is None:
        return
    for pattern, leaf in table.leaves.items():
        if leaf is not best and _matches(pattern, parts):
            reason = f"matches too, but is more general: {_difference(winner, pattern)}"
            for rule in _rules(leaf):
                yield NearMiss(_match(rule), reason)


def _other_hosts(router: Router[T], table: Table[T], parts: list[bytes]) -> Iterator[NearMiss]:
    own = next(key for key, value in router.tables.items() if value is table)
    for key, other in router.tables.items():
        if other is table:
            continue
        if key is None:
            reason = f"for hosts that no route names; {_shown_host(own)} uses its own routes only"
        else:
            reason = f"for another host ({_shown_host(key)})"
        for pattern, leaf in other.leaves.items():
            if _matches(pattern, parts):
                for rule in _rules(leaf):
                    yield NearMiss(_match(rule), reason)


def _matches(pattern: Pattern, parts: list[bytes]) -> bool:
    """Tell whether one pattern matches, by the router's own walk."""
    root: Node[bool] = Node()
    root.put(pattern, True)  # noqa: FBT003 - what the tree holds, not a switch
    return find(root, parts, 0) is not None


def _difference(winner: Pattern, other: Pattern) -> str:
    """Say at which segment the first of two patterns is more specific."""
    for index in range(max(len(winner.steps), len(other.steps)) + 1):
        ours, theirs = _step(winner, index), _step(other, index)
        if ours != theirs:
            return f"segment {index + 1} is {theirs} there and {ours} in the route that wins"
    return "the other one ends with **"


def _step(pattern: Pattern, index: int) -> str:
    if index < len(pattern.steps):
        step: Step = pattern.steps[index]
        return "{x}" if step is None else step.decode("utf-8", "replace")
    return "**" if pattern.has_rest else "the end"


def _rules(leaf: Leaf[T]) -> list[Rule[T]]:
    """Return the routes of one pattern, each once, in the file's order."""
    rules = {id(rule): rule for rule in (leaf.by_method or {}).values()}
    if leaf.fallback is not None:
        rules[id(leaf.fallback)] = leaf.fallback
    return sorted(rules.values(), key=lambda rule: rule.index)


def _match(rule: Rule[T]) -> RouteMatch:
    spec = rule.spec
    methods = None if spec.methods is None else tuple(sorted(spec.methods))
    return RouteMatch(spec.name, spec.host, spec.path, methods)


def _shown_host(key: str | None) -> str | None:
    return f"*{key}" if key is not None and key.startswith(".") else key
