"""What a route requires of an identity (`require:`), compiled to one check.

The same for every scheme of the route (reference.md §1). What never belongs here: how the identity
was proved, or anything of the request.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from proxy.core.templates import claim_at
from proxy.model import Identity, Refusal

Scalar = str | int | float | bool
Require = Callable[[Identity], Refusal | None]

_SHOWN: Final = 12
"""How many names a line of the log lists before it says that there are more."""


@dataclass(frozen=True, slots=True)
class ClaimRule:
    """What one claim has to say. A list says each of its members, any other value itself."""

    values: tuple[Scalar, ...]
    is_all: bool = False
    """True: every one of `values` is said (`{all: […]}`); else one of them is enough."""

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError("a rule without values opens to nobody")


def compile_require(
    roles_any: Collection[str] = (),
    roles_all: Collection[str] = (),
    scopes: Collection[str] = (),
    claims: Mapping[str, ClaimRule] | None = None,
) -> Require:
    """Return the check of a route; it answers `None` or the `Refusal` of the first rule that fails.

    An empty collection asks for nothing. Refusals: `role_missing`, `scope_missing`,
    `claim_mismatch`; their details are for the log.
    """
    checks: list[Require] = []
    if roles_any:
        checks.append(_any_role(frozenset(roles_any)))
    if roles_all:
        checks.append(_all_roles(frozenset(roles_all)))
    if scopes:
        checks.append(_all_scopes(frozenset(scopes)))
    checks.extend(_claim(path, rule) for path, rule in (claims or {}).items())
    if len(checks) == 1:
        return checks[0]
    return _each(tuple(checks))


def is_same_subject(first: Identity, second: Identity, *, has_same_subjects: bool) -> bool:
    """Say whether two identities are one person (K6).

    (origin, sub) names a person; `sub` alone does where the route says `same_subjects: true`.
    """
    if first.subject != second.subject:
        return False
    return has_same_subjects or first.origin == second.origin


def _each(checks: tuple[Require, ...]) -> Require:
    def require(identity: Identity) -> Refusal | None:
        for check in checks:
            if (refusal := check(identity)) is not None:
                return refusal
        return None

    return require


def _any_role(wanted: frozenset[str]) -> Require:
    asked = f"one of the roles {_listed(wanted)}"

    def require(identity: Identity) -> Refusal | None:
        if not wanted.isdisjoint(identity.roles):
            return None
        return Refusal("role_missing", f"has {_listed(identity.roles)}, the route wants {asked}")

    return require


def _all_roles(wanted: frozenset[str]) -> Require:
    def require(identity: Identity) -> Refusal | None:
        if wanted.issubset(identity.roles):
            return None
        missing = wanted.difference(identity.roles)
        return Refusal("role_missing", f"lacks the roles {_listed(missing)}")

    return require


def _all_scopes(wanted: frozenset[str]) -> Require:
    def require(identity: Identity) -> Refusal | None:
        if wanted.issubset(identity.scopes):
            return None
        missing = wanted.difference(identity.scopes)
        return Refusal("scope_missing", f"lacks the scopes {_listed(missing)}")

    return require


def _claim(path: str, rule: ClaimRule) -> Require:
    wanted = frozenset(map(_typed, rule.values))
    asked = f"{'all' if rule.is_all else 'one'} of {_listed(map(str, rule.values))}"

    def require(identity: Identity) -> Refusal | None:
        said = _said(claim_at(identity.claims, path))
        if wanted <= said if rule.is_all else not wanted.isdisjoint(said):
            return None
        return Refusal("claim_mismatch", f"claim {path} does not say {asked}")

    return require


def _said(value: Any) -> frozenset[tuple[bool, Any]]:
    """Return what a claim says: its members, or itself; other shapes say nothing."""
    members = value if isinstance(value, list | tuple) else (value,)
    return frozenset(_typed(member) for member in members if isinstance(member, Scalar))


def _typed(value: Scalar) -> tuple[bool, Scalar]:
    """Keep `true` apart from 1, which Python holds to be equal."""
    return isinstance(value, bool), value


def _listed(names: Iterable[str]) -> str:
    listed = sorted(names)
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return (", ".join(name[:64] for name in listed[:_SHOWN]) or "none") + more
