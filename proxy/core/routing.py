"""From host, path and method to a route (reference.md, Matching; security.md, P1, P2, P4 to P6).

A `Router` is built once per configuration. It takes nothing of a request but host, path and method,
so that no header and no query can choose a rule (P6). What it returns is exact: a path that another
server could read as one of another policy is `Ambiguous`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, NamedTuple, TypeVar
from urllib.parse import quote_from_bytes

from proxy.core.hosts import parse_host
from proxy.core.paths import (
    FORMS,
    TOLERATED_FORMS,
    BadTarget,
    Readings,
    fold,
    is_foldable,
    is_plain,
    readings,
    segments,
)
from proxy.core.patterns import MAX_SEGMENTS, Node, Pattern, examples, find, parse_pattern
from proxy.errors import ProxyError

T = TypeVar("T")

REFUSED_METHODS: Final = frozenset({"CONNECT", "TRACE"})
"""Never let through, on no route (P3)."""

USUAL_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
"""What `Allow` says of a route that lists no methods."""


@dataclass(frozen=True, slots=True)
class RouteSpec(Generic[T]):
    """What routing needs to know of one route."""

    name: str
    host: str | None
    """A name, `*.` and a name, or `None` for every host that no other route names."""
    path: str
    methods: frozenset[str] | None
    """Upper case; GET includes HEAD. `None`: every method that no other route of the path lists."""
    policy: Hashable
    """What a request on the route must satisfy: equal policies may be confused, others not (P2)."""
    is_folded: bool
    """False where the upstream says `paths: exact` (P5)."""
    allow_paths: frozenset[str]
    """Odd forms, of `proxy.core.paths.FORMS`, that the route lets through."""
    strip_prefix: str | None
    payload: T


class Found(NamedTuple, Generic[T]):
    """The route of a request, and the path to send."""

    payload: T
    path: bytes
    """Raw bytes: as they came, or without the route's `strip_prefix`."""


@dataclass(frozen=True, slots=True)
class NotFound:
    """No route matches host and path (404)."""


@dataclass(frozen=True, slots=True)
class MethodNotAllowed:
    """None of the routes of the most specific path has the method (405)."""

    allow: tuple[str, ...]
    """For the `Allow` header."""


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """Another server could read a path of another policy (400 `path_ambiguous`)."""

    detail: str
    """For the log; holds nothing of the request."""


_NO_METHOD: Final = MethodNotAllowed(USUAL_METHODS)


class RouteConflicts(ProxyError):
    """Routes that are equal, or that no request can ever match: all of them at once."""

    def __init__(self, conflicts: Sequence[tuple[int, str]]) -> None:
        super().__init__("; ".join(message for _, message in conflicts))
        self.conflicts = tuple(conflicts)
        """Index in the sequence of specs, and what is wrong there."""


class Rule(Generic[T]):
    """A spec, compiled."""

    __slots__ = ("host", "index", "is_folded", "pattern", "payload", "policy", "prefix", "spec")

    def __init__(self, index: int, spec: RouteSpec[T]) -> None:
        """Raise `ValueError` where host, path, methods or prefix are none."""
        self.index = index
        self.spec = spec
        self.host = _compile_host(spec.host)
        self.pattern = parse_pattern(spec.path)
        self.payload = spec.payload
        self.policy = spec.policy
        self.is_folded = spec.is_folded
        self.prefix = _compile_prefix(spec.strip_prefix, self.pattern)
        """The segments that are cut off before the path is sent."""
        _check_methods(spec.methods)
        if not spec.allow_paths <= FORMS:
            raise ValueError(f"allow_paths: {min(spec.allow_paths - FORMS)} is not an odd form")


class Leaf(Generic[T]):
    """The routes of one host and pattern, by method."""

    __slots__ = ("by_method", "fallback", "refusal")

    def __init__(self) -> None:
        self.by_method: dict[str, Rule[T]] | None = None
        self.fallback: Rule[T] | None = None
        self.refusal = _NO_METHOD

    def add(self, rule: Rule[T]) -> Rule[T] | None:
        """Put a rule in; return the one that it equals, if there is one."""
        if rule.spec.methods is None:
            other, self.fallback = self.fallback, self.fallback or rule
            self.refusal = _NO_METHOD
            return other
        if self.by_method is None:
            self.by_method = {}
        methods = set(rule.spec.methods)
        if "GET" in methods:
            methods.add("HEAD")
        for method in sorted(methods):
            other = self.by_method.setdefault(method, rule)
            if other is not rule:
                return other
        if self.fallback is None:
            self.refusal = MethodNotAllowed(tuple(sorted(self.by_method)))
        return None

    def rules(self) -> tuple[Rule[T], ...]:
        """Return every rule, each once."""
        found = dict.fromkeys((self.by_method or {}).values())
        if self.fallback is not None:
            found[self.fallback] = None
        return tuple(found)

    def rule(self, method: str) -> Rule[T] | None:
        """Return the rule of a method; `None` means 405.

        A route without methods takes upper-case ones only: applications that read `post` as POST
        (WSGI's do) would otherwise undo a rule that another route has for POST.
        """
        if self.by_method is not None:
            found = self.by_method.get(method)
            if found is not None:
                return found
        return self.fallback if method.isupper() and method not in REFUSED_METHODS else None


class Table(Generic[T]):
    """Every route of one host."""

    __slots__ = ("folded", "has_foldings", "leaves", "literal", "lower", "root")

    def __init__(self) -> None:
        self.leaves: dict[Pattern, Leaf[T]] = {}
        self.root: Node[Leaf[T]] = Node()
        self.literal: dict[bytes, Leaf[T]] = {}
        """The patterns that match one plain path only: the most specific there can be."""
        self.lower: Node[tuple[Leaf[T], ...]] = Node()
        """For those that fold letters' case and no more."""
        self.folded = self.lower
        """For those that fold all that `fold` does; another tree only if it has other patterns."""
        self.has_foldings = False
        """True when a pattern is not its own folding, so that lower case proves nothing."""

    def add(self, rule: Rule[T]) -> Rule[T] | None:
        """Put a rule in; return the one that it equals, if there is one."""
        leaf = self.leaves.get(rule.pattern)
        if leaf is None:
            leaf = self.leaves[rule.pattern] = Leaf()
            self.root.put(rule.pattern, leaf)
            if rule.pattern.is_literal:
                path = b"".join(b"/" + step for step in rule.pattern.steps if step is not None)
                self.literal[path] = self.literal[path + b"/"] = leaf
        return leaf.add(rule)

    def finish(self) -> None:
        """Build the trees of foldings, once all rules are in."""
        has_other_foldings = False
        for pattern, leaf in self.leaves.items():
            lower, folded = pattern.folded(bytes.lower), pattern.folded(fold)
            has_other_foldings = has_other_foldings or folded != lower
            self.has_foldings = self.has_foldings or folded != pattern
            self.lower.put(lower, (*(self.lower.get(lower) or ()), leaf))
        if has_other_foldings:
            self.folded = Node()
            for pattern, leaf in self.leaves.items():
                folded = pattern.folded(fold)
                self.folded.put(folded, (*(self.folded.get(folded) or ()), leaf))

    def has_other_case(self, lower: list[bytes], index: int, rule: Rule[T], method: str) -> bool:
        """Tell whether the path in lower case belongs to a route of another policy (P5)."""
        return not _is_agreed(find(self.lower, lower, index), rule, method) or (
            self.folded is not self.lower
            and not _is_agreed(find(self.folded, lower, index), rule, method)
        )


class Router(Generic[T]):
    """Finds the one route of a request; built once, then only read."""

    def __init__(self, specs: Sequence[RouteSpec[T]]) -> None:
        """Raise `RouteConflicts` for every spec that is wrong, equals another or never matches."""
        self._tables: dict[str | None, Table[T]] = {None: Table()}
        """By host; of wildcards by the part from the first dot on."""
        self._has_wildcards = False
        conflicts: list[tuple[int, str]] = []
        rules: list[Rule[T]] = []
        for index, spec in enumerate(specs):
            try:
                rule = Rule(index, spec)
            except ValueError as error:
                conflicts.append((index, str(error)))
                continue
            other = self._tables.setdefault(rule.host, Table()).add(rule)
            if other is None:
                rules.append(rule)
            else:
                conflicts.append((index, f"matches the same requests as {other.spec.name!r}"))
        for table in self._tables.values():
            table.finish()
        self._has_wildcards = any((host or "").startswith(".") for host in self._tables)
        conflicts.extend(self._unmatched(rules))
        if conflicts:
            raise RouteConflicts(sorted(conflicts))

    def match(
        self, host: str | None, path: bytes, method: str
    ) -> Found[T] | NotFound | MethodNotAllowed | Ambiguous:
        """Return the route of a request, or why it has none.

        `host` is the name that `parse_host` returns, `None` where the request has no Host; `path`
        is raw, without query.
        """
        table = self.table_of(host)
        if not is_plain(path):
            return self._match_unusual(table, path, method)
        leaf = table.literal.get(path)
        if leaf is None:
            leaf = find(table.root, _split(path), 1)
            if leaf is None:
                return _NOT_FOUND
        rule = leaf.rule(method)
        if rule is None:
            return leaf.refusal
        if rule.is_folded:
            lower = path.lower()
            if b"./" in path or path[-1:] == b"." or b":$" in path:
                return self._match_unusual(table, path, method)
            if (lower != path or table.has_foldings) and table.has_other_case(
                _split(lower), 1, rule, method
            ):
                return _FOLDS
        return Found(rule.payload, _strip(path, rule) if rule.prefix else path)

    @property
    def tables(self) -> Mapping[str | None, Table[T]]:
        """The tables by host, of wildcards by the part from the first dot on."""
        return self._tables

    def table_of(self, host: str | None) -> Table[T]:
        """Return the routes that a host uses: its own, those of a wildcard, or those of any host."""
        return self._tables.get(host) or self._table_above(host)

    def _table_above(self, host: str | None) -> Table[T]:
        """Return the table of the longest wildcard that covers `host`, else that of any host."""
        if self._has_wildcards and host is not None:
            dot = host.find(".")
            while dot >= 0:
                table = self._tables.get(host[dot:])
                if table is not None:
                    return table
                dot = host.find(".", dot + 1)
        return self._tables[None]

    def _match_unusual(
        self, table: Table[T], path: bytes, method: str
    ) -> Found[T] | NotFound | MethodNotAllowed | Ambiguous:
        """Match a path that has escapes, odd forms or foldings (P2, P5)."""
        try:
            found = readings(path)
            leaf = find(table.root, segments(found.paths[0]), 0)
            rule = leaf.rule(method) if leaf is not None else None
            if rule is not None:
                return _checked(table, rule, path, method, found)
        except BadTarget as bad:
            return Ambiguous(bad.detail)
        if found.forms:
            return Ambiguous("an odd form in a path that no route matches")
        return _NOT_FOUND if leaf is None else leaf.refusal

    def _unmatched(self, rules: Iterable[Rule[T]]) -> Iterable[tuple[int, str]]:
        """Yield the rules that no request can match, tried with a path and each method of theirs."""
        rules = list(rules)
        fresh = b"x"
        literals = {fold(step) for rule in rules for step in rule.pattern.steps if step}
        while fresh in literals:
            fresh += b"x"
        for rule in rules:
            for method in _methods_to_try(rule, self._tables[rule.host]):
                detail = self._why_unmatched(rule, method, fresh)
                if detail is not None:
                    yield rule.index, f"never matches {method}: {detail}"
                    break

    def _why_unmatched(self, rule: Rule[T], method: str, fresh: bytes) -> str | None:
        """Match requests made for `rule`; return the last refusal when none of them gets through."""
        table = self._tables[rule.host]
        detail = "other routes are more specific"
        for path in examples(rule.pattern, fresh, longest=MAX_SEGMENTS):
            leaf = find(table.root, path, 0)
            if leaf is None or leaf.rule(method) is not rule:
                continue
            raw = b"".join(b"/" + quote_from_bytes(step, PCHAR).encode() for step in path)
            outcome = self._match_unusual(table, raw or b"/", method)
            if not isinstance(outcome, Ambiguous):
                return None
            detail = outcome.detail
        return detail


_NOT_FOUND: Final = NotFound()
_FOLDS: Final = Ambiguous("with case folded the path belongs to a route of another policy")
PCHAR: Final = "!$&'()*+,;=:@~"
"""What a path that is made of segments does not escape (RFC 3986 §3.3)."""


def _split(path: bytes) -> list[bytes]:
    """Split a plain path; the segments begin at index 1 and a final slash adds none."""
    parts = path.split(b"/")
    if not parts[-1]:
        parts.pop()
    return parts


def _is_agreed(leaves: Iterable[Leaf[T]] | None, rule: Rule[T], method: str) -> bool:
    """Tell whether another reading's leaves ask of the request what `rule` asks."""
    for leaf in leaves or ():
        other = leaf.rule(method)
        if other is not rule and (other is None or other.policy != rule.policy):
            return False
    return leaves is not None


def _checked(
    table: Table[T], rule: Rule[T], path: bytes, method: str, found: Readings
) -> Found[T] | Ambiguous:
    """Let the path through if every reading of it agrees with `rule`; may raise `BadTarget`."""
    if rule.is_folded and (len(found.paths) > 1 or is_foldable(found.paths[0])):
        found = readings(path, is_folded=True)
    refusal = _disagreement(table, rule, found, method, ())
    if refusal is not None:
        return Ambiguous(refusal)
    if not rule.prefix:
        return Found(rule.payload, path)
    rest = _strip(path, rule)
    if rest[:2] == b"//":
        return Ambiguous("without strip_prefix the path begins with two slashes")
    found = readings(rest, is_folded=rule.is_folded)
    refusal = _disagreement(table, rule, found, method, rule.prefix)
    if refusal is not None:
        return Ambiguous(f"without strip_prefix: {refusal}")
    return Found(rule.payload, rest)


def _disagreement(
    table: Table[T], rule: Rule[T], found: Readings, method: str, prefix: tuple[bytes, ...]
) -> str | None:
    """Say which reading of a path is of another policy, or which form of it is not allowed.

    `prefix` is put before each reading of a path that has lost it: what a server makes of the
    rewritten path is a path below the prefix to the gate.
    """
    for text in found.paths:
        parts = prefix + segments(text)
        leaf = find(table.root, parts, 0)
        if not _is_agreed(None if leaf is None else (leaf,), rule, method):
            return "another reading of the path belongs to no route or one of another policy"
        if rule.is_folded:
            lower, folded = [part.lower() for part in parts], [fold(part) for part in parts]
            if not _is_agreed(find(table.lower, lower, 0), rule, method) or not _is_agreed(
                find(table.folded, folded, 0), rule, method
            ):
                return _FOLDS.detail
    refused = found.forms - TOLERATED_FORMS - rule.spec.allow_paths
    return f"allow_paths does not name {min(refused)}" if refused else None


def _strip(path: bytes, rule: Rule[T]) -> bytes:
    """Cut the rule's prefix off a raw path that the rule matches."""
    parts = path.split(b"/", len(rule.prefix) + 1)
    return b"/" + b"".join(parts[len(rule.prefix) + 1 :])


def _compile_host(text: str | None) -> str | None:
    """Return the key of the host's table."""
    if text is None:
        return None
    name = text.removeprefix("*.")
    try:
        host = parse_host(name.encode("ascii"))
    except (BadTarget, UnicodeEncodeError):
        raise ValueError("host: not a name (write names beyond ASCII as xn--…)") from None
    if host.port is not None or name.endswith(":"):
        raise ValueError("host: a port does not choose a route")
    if name == text:
        return host.name
    if host.name.startswith("["):
        raise ValueError("host: an address has no wildcard")
    return f".{host.name}"


def _compile_prefix(text: str | None, pattern: Pattern) -> tuple[bytes, ...]:
    """Return the segments of `strip_prefix`, which must be what the route's paths begin with."""
    if text is None:
        return ()
    try:
        prefix = parse_pattern(text)
    except ValueError as error:
        raise ValueError(f"strip_prefix: {error}") from None
    steps = tuple(step for step in prefix.steps if step is not None)
    if not steps or len(steps) != len(prefix.steps) or prefix.has_rest:
        raise ValueError("strip_prefix: literal segments only, at least one")
    if pattern.steps[: len(steps)] != steps:
        raise ValueError("strip_prefix: the route's path does not begin with it")
    return steps


def _check_methods(methods: frozenset[str] | None) -> None:
    if methods is None:
        return
    if not methods:
        raise ValueError("methods: an empty list never matches")
    for method in sorted(methods):
        if method in REFUSED_METHODS:
            raise ValueError(f"methods: {method} is never let through")
        if not method.isupper():
            raise ValueError(f"methods: {method!r} is not in upper case")


def _methods_to_try(rule: Rule[T], table: Table[T]) -> Iterable[str]:
    """Return the methods that `rule` must be able to serve."""
    if rule.spec.methods is not None:
        return sorted(rule.spec.methods)
    listed = table.leaves[rule.pattern].by_method or ()
    return [next((name for name in USUAL_METHODS if name not in listed), "M-SEARCH")]
