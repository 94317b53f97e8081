"""The rules of matching (reference.md) done the slow, obvious way: the oracle of the router's tests.

Shares nothing with proxy.core.routing but the specs that describe routes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from proxy.core.routing import RouteSpec

ALL_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def make_spec(path: str, policy: str = "guarded", **changes: Any) -> RouteSpec[str]:
    """Return a spec whose payload is its name, with everything else at its default."""
    methods = changes.pop("methods", None)
    fields: dict[str, Any] = {
        "name": path,
        "host": None,
        "path": path,
        "methods": None if methods is None else frozenset(methods),
        "policy": policy,
        "is_folded": True,
        "allow_paths": frozenset(),
        "strip_prefix": None,
        "payload": changes.get("name", path),
    }
    return RouteSpec(**(fields | changes))


def same(text: str) -> str:
    """Leave a segment as it is."""
    return text


def split(path: str) -> list[str]:
    """Split a decoded path; a final slash adds no segment."""
    parts = path.split("/")[1:]
    if parts and not parts[-1]:
        parts.pop()
    return parts


def matching_specs(
    specs: Sequence[RouteSpec[Any]],
    host: str | None,
    parts: Sequence[str],
    key: Callable[[str], str] = same,
) -> list[RouteSpec[Any]]:
    """Return the specs of the most specific host and pattern, whatever their methods are.

    `key` makes two spellings of a segment equal: several patterns may then be the most specific.
    """
    of_host = _of_most_specific_host(specs, host)
    ranked = [(rank, spec) for spec in of_host if (rank := _rank(spec.path, parts, key))]
    if not ranked:
        return []
    best = min(rank for rank, _ in ranked)
    return [spec for rank, spec in ranked if rank == best]


def policies(
    specs: Sequence[RouteSpec[Any]],
    host: str | None,
    parts: Sequence[str],
    method: str,
    key: Callable[[str], str] = same,
) -> set[object]:
    """Return the policies under which the path can be reached; None stands for not at all."""
    found = matching_specs(specs, host, parts, key)
    by_pattern: dict[tuple[str, ...], list[RouteSpec[Any]]] = {}
    for spec in found:
        steps = tuple("{}" if step.startswith("{") else step for step in split(spec.path))
        by_pattern.setdefault(steps, []).append(spec)
    if not by_pattern:
        return {None}
    return {
        chosen.policy if (chosen := by_method(group, method)) else None
        for group in by_pattern.values()
    }


def by_method(found: Sequence[RouteSpec[Any]], method: str) -> RouteSpec[Any] | None:
    """Choose among the specs of one pattern; GET includes HEAD."""
    for spec in found:
        if spec.methods is not None and (
            method in spec.methods or (method == "HEAD" and "GET" in spec.methods)
        ):
            return spec
    return next((spec for spec in found if spec.methods is None), None)


def _of_most_specific_host(
    specs: Sequence[RouteSpec[Any]], host: str | None
) -> list[RouteSpec[Any]]:
    if host is not None:
        names = {spec.host for spec in specs if spec.host is not None}
        if host in names:
            return [spec for spec in specs if spec.host == host]
        wildcards = [name for name in names if name[:2] == "*." and host.endswith(name[1:])]
        if wildcards:
            longest = max(wildcards, key=len)
            return [spec for spec in specs if spec.host == longest]
    return [spec for spec in specs if spec.host is None]


def _rank(pattern: str, parts: Sequence[str], key: Callable[[str], str]) -> tuple[int, ...] | None:
    """Return how specific a pattern is for a path, smaller being more; None: it does not match."""
    rank: list[int] = []
    steps = split(pattern)
    for index, step in enumerate(steps):
        if step == "**":
            return (0, *rank, 3)
        if index >= len(parts):
            return None
        if step.startswith("{"):
            if not parts[index]:
                return None
            rank.append(2)
        elif key(step) == key(parts[index]):
            rank.append(1)
        else:
            return None
    return (0, *rank) if len(steps) == len(parts) else None
