"""Warnings about routes: what one guards, another lets in under a weaker policy (security.md, P4).

The router never falls through from a more specific route to a wider one of the same host. But the
application behind it may be reached by a second way: under another host, or under another prefix
that is stripped. `check` reports such ways; whether they are meant, only the author knows.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from proxy.core.patterns import Node, Pattern, Step, examples, find
from proxy.core.routing import USUAL_METHODS, RouteSpec, Rule, Table

T = TypeVar("T")

_FRESH: Final = b"\x01"
"""A segment that no pattern has as a literal."""
_ANY: Final = "…".encode()


@dataclass(frozen=True, slots=True)
class Overlap:
    """A route by which requests reach what other routes guard more strictly."""

    index: int
    """Of the weaker route in the sequence of specs."""
    guarded: tuple[int, ...]
    """The stricter routes whose upstream paths it reaches."""
    example: str
    """An upstream path that both reach; `…` stands for any segment."""
    message: str


@dataclass(slots=True)
class _Ways(Generic[T]):
    """The rules of one upstream, by the way in which requests come to them: host and prefix."""

    by_way: dict[tuple[str | None, tuple[bytes, ...]], list[Rule[T]]] = field(default_factory=dict)
    trees: dict[tuple[str | None, tuple[bytes, ...]], Node[tuple[Rule[T], ...]]] = field(
        default_factory=dict
    )
    """The same, found by the pattern that the upstream sees."""

    def add(self, rule: Rule[T]) -> None:
        way = (rule.host, rule.prefix)
        self.by_way.setdefault(way, []).append(rule)
        tree, seen = self.trees.setdefault(way, Node()), _seen_by_upstream(rule)
        tree.put(seen, (*(tree.get(seen) or ()), rule))


def overlaps(
    specs: Sequence[RouteSpec[T]],
    *,
    upstream_of: Callable[[T], Hashable],
    is_weaker: Callable[[Hashable, Hashable], bool],
) -> Iterator[Overlap]:
    """Yield each route that reaches, by another host or prefix, what a stricter one guards.

    `is_weaker(a, b)` tells whether policy a lets in requests that b refuses. The specs are ones
    that a `Router` accepts; wrong ones raise its `ValueError`s.
    """
    tables: dict[str | None, Table[T]] = {}
    upstreams: dict[Hashable, _Ways[T]] = {}
    for index, spec in enumerate(specs):
        rule = Rule(index, spec)
        tables.setdefault(rule.host, Table()).add(rule)
        upstreams.setdefault(upstream_of(spec.payload), _Ways()).add(rule)
    found: list[Overlap] = []
    for ways in upstreams.values():
        for way, rules in ways.by_way.items():
            others = [tree for other, tree in ways.trees.items() if other != way]
            for rule in rules if others else ():
                found.extend(_overlaps_of(rule, others, tables, is_weaker))
    yield from sorted(found, key=lambda overlap: overlap.index)


def _overlaps_of(
    rule: Rule[T],
    others: Iterable[Node[tuple[Rule[T], ...]]],
    tables: dict[str | None, Table[T]],
    is_weaker: Callable[[Hashable, Hashable], bool],
) -> Iterator[Overlap]:
    """Yield at most one overlap: of `rule` with all the stricter rules that it reaches."""
    seen = _seen_by_upstream(rule)
    guarded: dict[int, tuple[Rule[T], str]] = {}
    for tree in others:
        for candidates, common in _meetings(tree, seen, ()):
            for other in candidates:
                if other.index not in guarded and is_weaker(rule.policy, other.policy):
                    example = _shared_path(rule, other, common, tables)
                    if example is not None:
                        guarded[other.index] = (other, example)
    if guarded:
        indexes = tuple(sorted(guarded))
        other, example = guarded[indexes[0]]
        more = f" (and {len(guarded) - 1} more)" if len(guarded) > 1 else ""
        message = (
            f"reaches {example} of its upstream under a weaker policy than route"
            f" {other.spec.name!r}{more}, by another host or prefix"
        )
        yield Overlap(rule.index, indexes, example, message)


def _seen_by_upstream(rule: Rule[T]) -> Pattern:
    return Pattern(rule.pattern.steps[len(rule.prefix) :], rule.pattern.has_rest)


def _meetings(
    node: Node[tuple[Rule[T], ...]], pattern: Pattern, taken: tuple[Step, ...]
) -> Iterator[tuple[tuple[Rule[T], ...], Pattern]]:
    """Yield what in the tree matches paths that the pattern matches too, and those paths.

    `taken` is what both have in common above `node`, and `pattern` what is left of the pattern.
    """
    steps, has_rest = pattern.steps, pattern.has_rest
    if node.rest is not None:
        yield node.rest, Pattern(taken + steps, has_rest)
    if not steps and node.exact is not None:
        yield node.exact, Pattern(taken, has_rest=False)
    if not steps and not has_rest:
        return
    step = steps[0] if steps else None
    below = Pattern(steps[1:], has_rest)
    literals = node.literals or {}
    for literal in literals if step is None else literals.keys() & {step}:
        yield from _meetings(literals[literal], below, (*taken, literal))
    if node.parameter is not None:
        yield from _meetings(node.parameter, below, (*taken, step))


def _shared_path(
    weaker: Rule[T], stricter: Rule[T], common: Pattern, tables: dict[str | None, Table[T]]
) -> str | None:
    """Return an upstream path that requests of both rules reach, neither taken by a third rule."""
    methods = _shared_methods(weaker, stricter)
    for path in examples(common, _FRESH, longest=2):
        for method in methods:
            if all(_is_taken_by(rule, path, method, tables) for rule in (weaker, stricter)):
                text = b"/" + b"/".join(_ANY if part == _FRESH else part for part in path)
                return text.decode("utf-8", "replace")
    return None


def _is_taken_by(
    rule: Rule[T], path: tuple[bytes, ...], method: str, tables: dict[str | None, Table[T]]
) -> bool:
    leaf = find(tables[rule.host].root, rule.prefix + path, 0)
    return leaf is not None and leaf.rule(method) is rule


def _shared_methods(one: Rule[T], other: Rule[T]) -> Iterable[str]:
    """Return the methods that both rules may take."""
    listed = [rule.spec.methods for rule in (one, other) if rule.spec.methods is not None]
    return sorted(frozenset.intersection(*listed)) if listed else USUAL_METHODS
