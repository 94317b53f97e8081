"""What another configuration changes in effect: which requests it lets in that were refused, and the other way.

Both route tables are asked about the same requests, examples of every path of either, so that a rule
which only hides another one counts for what it does. A change that is not plainly stricter may open.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import quote_from_bytes

from proxy.config.models import Config, RouteConfig
from proxy.core.paths import fold
from proxy.core.patterns import parse_pattern, told_apart
from proxy.core.routing import PCHAR, Found, Router
from proxy.services import compile as compiling
from proxy.services.strictness import (
    SECTIONS,
    Verdict,
    compare_routes,
    compare_settings,
    leads_elsewhere,
)

Kind = Literal["opens", "closes", "changes", "moves"]
_ORDER: Final[tuple[Kind, ...]] = ("opens", "closes", "changes", "moves")
_METHODS: Final = ("GET", "HEAD", "POST", "OPTIONS")
MOST_PATHS: Final = 50_000
"""Ways to begin a path that are looked at for one host."""


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
    """Parts of the file that have changed in what lets nobody in, too."""
    digest: str = field(default="", compare=False)
    """Names this change of this configuration, for whoever confirms it; it tells nothing of secrets."""

    @property
    def may_open(self) -> bool:
        """True where somebody may get somewhere who did not before."""
        return any(change.kind != "closes" for change in self.changes)

    def lines(self) -> list[str]:
        """Return a line for each effect, what opens first."""
        found = [str(change) for change in self.changes]
        if self.sections:
            found.append(f"changed as well: {', '.join(self.sections)}")
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
            "digest": self.digest,
        }

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Effects:
        """Read what `to_json` gives."""
        changes = [Change(one["kind"], one["route"], one["detail"]) for one in told["changes"]]
        return cls(tuple(changes), tuple(told["sections"]), told["digest"])


def effects_of(before: Config, after: Config) -> Effects:
    """Return what `after` changes for requests, compared with `before`."""
    found = set(_changes(before, after))
    order = {kind: number for number, kind in enumerate(_ORDER)}
    ordered = sorted(found, key=lambda one: (order[one.kind], one.route, one.detail))
    return Effects(tuple(ordered), tuple(_sections(before, after)), _digest(before, after))


def _digest(before: Config, after: Config) -> str:
    """Return what names a change; whoever has seen one has not seen another that reads alike."""
    told = f"{before!r}\n{after!r}"  # every secret shows itself as ***
    return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _changes(before: Config, after: Config) -> Iterator[Change]:
    for verdict in compare_settings(before, after):
        yield Change(_kind(verdict), "", verdict.detail)
    try:
        yield from _of_requests(before, after)
    except ValueError as error:
        yield Change("changes", "", f"cannot be compared: {error}")


def _of_requests(before: Config, after: Config) -> Iterator[Change]:
    old, new = _router(before), _router(after)
    seen = set()
    for host, path, method in _requests(before, after):
        was, becomes = _route(old, host, path, method), _route(new, host, path, method)
        pair = (id(was), id(becomes), method if was is None else "")
        if pair in seen or (was is None and becomes is None):
            continue
        seen.add(pair)
        if becomes is not None:
            yield from _of_pair(before, was, after, becomes)
        elif (
            was is not None
        ):  # gone, or some of it: a nearer path hides it, or it takes fewer methods
            example = f"{method} {path.decode('ascii')}"
            yield Change("closes", was.name, f"{example} has no route any more")


def _of_pair(
    before: Config, was: RouteConfig | None, after: Config, becomes: RouteConfig
) -> Iterator[Change]:
    if was is None:
        how = " or ".join(becomes.auth) if becomes.auth else "public"
        yield Change("opens", becomes.name, f"what had no route is {how} now")
        return
    for verdict in compare_routes(before, was, after, becomes):
        yield Change(_kind(verdict), becomes.name, verdict.detail)
    if leads_elsewhere(before, was, after, becomes):
        cut = f", without {becomes.strip_prefix}" if becomes.strip_prefix else ""
        yield Change("moves", becomes.name, f"to upstream {becomes.upstream}{cut}")


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
    """Yield requests that stand for all that either configuration tells apart.

    Raises `ValueError` where these would be too many.
    """
    routes = [*before.routes, *after.routes]
    patterns = {route.match.path: parse_pattern(route.match.path) for route in routes}
    literals = {step for one in patterns.values() for step in one.steps if step is not None}
    fresh = _fresh("x", {fold(step) for step in literals} | literals)
    named = {method for route in routes for method in route.match.methods or ()}
    other = _fresh("X", {method.encode() for method in named})
    methods = [*_METHODS, *sorted(named.difference(_METHODS)), other.decode()]
    for host in _hosts({route.match.host for route in routes}):
        at = {route.match.path for route in routes if _covers(route.match.host, host)}
        for path in told_apart((patterns[one] for one in sorted(at)), fresh, most=MOST_PATHS):
            raw = b"".join(b"/" + quote_from_bytes(step, PCHAR).encode() for step in path)
            for method in methods:
                yield host, raw or b"/", method


def _hosts(patterns: AbstractSet[str | None]) -> Iterator[str]:
    """Yield a host for each set of routes that some host has."""
    named = {pattern for pattern in patterns if pattern is not None}
    fresh = _fresh("x", {label.encode() for name in named for label in name.split(".")}).decode()
    yield fresh  # a host that no route names
    for name in sorted(named):
        yield f"{fresh}{name[1:]}" if name.startswith("*") else name


def _fresh(letter: str, taken: AbstractSet[bytes]) -> bytes:
    """Return a word that is none of `taken`."""
    word = letter
    while word.encode() in taken:
        word += letter
    return word.encode()


def _covers(pattern: str | None, host: str) -> bool:
    """Tell whether a host may use the routes of a pattern: if nothing else is nearer to it."""
    if pattern is None or pattern == host:
        return True
    return pattern.startswith("*") and host.endswith(pattern[1:])


def _sections(before: Config, after: Config) -> Iterator[str]:
    for name in type(before).model_fields:
        is_told = name in (*SECTIONS, "routes", "tests")
        if not is_told and getattr(before, name) != getattr(after, name):
            yield name
