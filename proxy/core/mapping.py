"""Where a record or token says who it is: `identity:` of a scheme, compiled.

A mapping is a dotted path, or a template such as `{iss}|{sub}`. What cannot be read as what it
should be is left out, never guessed: a missing role closes a door, an invented one opens it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from proxy.core.templates import claim_at, compile_template

MAX_MEMBERS: Final = 256
"""Roles or scopes of one identity; an identity with more has none (it would not fit H4 either)."""

Claims = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class IdentityReader:
    """The compiled mapping of one scheme."""

    subject: Callable[[Claims], str | None]
    """`None` where the document names nobody."""
    email: Callable[[Claims], str | None]
    name: Callable[[Claims], str | None]
    roles: Callable[[Claims], tuple[str, ...]]
    scopes: Callable[[Claims], tuple[str, ...]]


def compile_mapping(
    *, subject: str, email: str | None, name: str | None, roles: str | None, scopes: str | None
) -> IdentityReader:
    """Compile the five fields of `identity:`; raises ValueError for a bad template."""
    return IdentityReader(
        subject=_text(subject),
        email=_text(email),
        name=_text(name),
        roles=_members(roles),
        scopes=_members(scopes),
    )


def as_text(value: Any) -> str | None:
    """Return a claim as text: strings and whole numbers; nothing else names anybody."""
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 64:
        return str(value)
    return None


def as_members(value: Any) -> tuple[str, ...]:
    """Return a claim as a list: an array, or one text with spaces between the members."""
    if isinstance(value, str):
        members: list[Any] = value.split(" ")
    elif isinstance(value, list | tuple):
        members = list(value)
    else:
        return ()
    if len(members) > MAX_MEMBERS:
        return ()
    texts = (as_text(member) for member in members)
    return tuple(dict.fromkeys(text for text in texts if text))


def _text(mapping: str | None) -> Callable[[Claims], str | None]:
    if mapping is None:
        return _nothing
    if "{" in mapping:
        return compile_template(mapping)
    return lambda claims: as_text(claim_at(claims, mapping))


def _members(mapping: str | None) -> Callable[[Claims], tuple[str, ...]]:
    if mapping is None:
        return _none
    if "{" in mapping:
        template = compile_template(mapping)
        return lambda claims: as_members(template(claims))
    return lambda claims: as_members(claim_at(claims, mapping))


def _nothing(_claims: Claims) -> None:
    return None


def _none(_claims: Claims) -> tuple[str, ...]:
    return ()
