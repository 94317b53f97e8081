"""What another configuration changes in effect: which requests it lets in that were refused, and the other way.

Both route tables are asked about the same requests, examples of every path of either, so that a rule
which only hides another one counts for what it does. A change that is not plainly stricter may open.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from proxy.config.models import Config, RouteConfig
from proxy.core.patterns import examples, parse_pattern
from proxy.core.routing import Found, Router
from proxy.services import compile as compiling
from proxy.services.strictness import (
    Verdict,
    compare_routes,
    compare_settings,
    leads_elsewhere,
)

Kind = Literal["opens", "closes", "changes", "moves"]
_ORDER: Final[tuple[Kind, ...]] = ("opens", "closes", "changes", "moves")
_METHODS: Final = ("GET", "HEAD", "POST", "OPTIONS", "ANYTHING")
"""The last stands for every method that no route names."""
_NO_HOST: Final = "other.invalid"
"""Stands for every host that no route names."""


@dataclass(frozen=True, slots=True, order=True)
class Change:
    """One effect on one route, or on all of them."""

    kind: Kind
    route: str
    """As the new configuration calls it; as the old one does where it is gone; `""` for all."""
    detail: str

    def __str__(self) -> str:
        where = f"route {self.route}" if self.route else "every route"
        return f"{self.kind} {where}: {self.detail}"


@dataclass(frozen=True, slots=True)
class Effects:
    """All of them, each once."""

    changes: Sequence[Change] = field(default_factory=tuple)
    sections: Sequence[str] = field(default_factory=tuple)
    """Other parts of the file that have changed."""

    @property
    def may_open(self) -> bool:
        """True where somebody may get in who did not before."""
        return any(change.kind in ("opens", "changes") for change in self.changes)

    @property
    def digest(self) -> str:
        """Names these effects, for whoever confirms them."""
        told = json.dumps(self.to_json(), sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()[:16]

    def lines(self) -> list[str]:
        """Return a line for each effect, what opens first."""
        found = [str(change) for change in self.changes]
        if self.sections:
            found.append(f"changes nothing of who may pass in: {', '.join(self.sections)}")
        return found

    def summary(self) -> str:
        """Return it in one line, such as "opens 3 routes, closes 1"."""
        parts: list[str] = []
        for kind in _ORDER:
            count = len({change.route for change in self.changes if change.kind == kind})
            if count:
                parts.append(f"{kind} {count}" + ("" if parts else f" route{'s'[: count != 1]}"))
        return ", ".join(parts) or "changes nothing of who may pass where"

    def to_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "changes": [
                {"kind": one.kind, "route": one.route, "detail": one.detail} for one in self.changes
            ],
            "sections": list(self.sections),
            "may_open": self.may_open,
        }

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Effects:
        """Read what `to_json` gives."""
        changes = [Change(one["kind"], one["route"], one["detail"]) for one in told["changes"]]
        return cls(tuple(changes), tuple(told["sections"]))


def effects_of(before: Config, after: Config) -> Effects:
    """Return what `after` changes for requests, compared with `before`."""
    found = set(_changes(before, after))
    order = {kind: number for number, kind in enumerate(_ORDER)}
    ordered = sorted(found, key=lambda one: (order[one.kind], one.route, one.detail))
    return Effects(tuple(ordered), tuple(_sections(before, after)))


def _changes(before: Config, after: Config) -> Iterator[Change]:
    for verdict in compare_settings(before, after):
        yield Change(_kind(verdict), "", verdict.detail)
    old, new = _router(before), _router(after)
    seen = set()
    for host, path, method in _requests(before, after):
        was, becomes = _route(old, host, path, method), _route(new, host, path, method)
        pair = (id(was), id(becomes), method if (was is None) != (becomes is None) else "")
        if pair in seen or (was is None and becomes is None):
            continue
        seen.add(pair)
        yield from _of_pair(before, was, after, becomes)


def _of_pair(
    before: Config, was: RouteConfig | None, after: Config, becomes: RouteConfig | None
) -> Iterator[Change]:
    if becomes is None:
        assert was is not None  # noqa: S101 - one of the two is there
        yield Change("closes", was.name, "it is gone, or hidden by another one")
        return
    if was is None:
        how = " or ".join(becomes.auth) if becomes.auth else "public"
        yield Change("opens", becomes.name, f"what had no route is {how} now")
        return
    for verdict in compare_routes(before, was, after, becomes):
        yield Change(_kind(verdict), becomes.name, verdict.detail)
    if leads_elsewhere(before, was, after, becomes):
        yield Change("moves", becomes.name, f"to upstream {becomes.upstream}")


def _kind(verdict: Verdict) -> Kind:
    if verdict.is_looser and verdict.is_stricter:
        return "changes"
    return "opens" if verdict.is_looser else "closes"


def _router(config: Config) -> Router[RouteConfig]:
    return Router(compiling.route_specs(config, lambda route: route))


def _route(router: Router[RouteConfig], host: str, path: bytes, method: str) -> RouteConfig | None:
    found = router.match(host, path, method)
    return found.payload if isinstance(found, Found) else None


def _requests(before: Config, after: Config) -> Iterator[tuple[str, bytes, str]]:
    """Yield requests that stand for all that either configuration tells apart."""
    routes = [*before.routes, *after.routes]
    named = {method for route in routes for method in route.match.methods or ()}
    methods = [*_METHODS, *sorted(named.difference(_METHODS))]
    hosts = {_example_host(route.match.host) for route in routes} | {_NO_HOST}
    paths: dict[str, list[bytes]] = {}
    for route in routes:
        if route.match.path not in paths:
            found = examples(parse_pattern(route.match.path), b"any", longest=2)
            paths[route.match.path] = [b"/" + b"/".join(each) for each in found]
    for host in sorted(hosts):
        at = {
            path
            for route in routes
            if _covers(route.match.host, host)
            for path in paths[route.match.path]
        }
        for path in sorted(at):
            for method in methods:
                yield host, path, method


def _covers(pattern: str | None, host: str) -> bool:
    """Tell whether a host may use the routes of a pattern: if nothing else is nearer to it."""
    if pattern is None or pattern == host:
        return True
    return pattern.startswith("*") and host.endswith(pattern[1:])


def _example_host(pattern: str | None) -> str:
    if pattern is None:
        return _NO_HOST
    return f"any{pattern[1:]}" if pattern.startswith("*") else pattern


def _sections(before: Config, after: Config) -> Iterator[str]:
    for name in type(before).model_fields:
        if name not in ("routes", "tests") and getattr(before, name) != getattr(after, name):
            yield name
