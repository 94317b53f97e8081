"""The gate's own session records (reference.md §4).

Any program may write one and set the cookie, so a record is read as a stranger's: bounded, strict
about types, and whatever does not fit is `Absent` with a reason for the log.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

from proxy.core.binding import Binding
from proxy.core.mapping import as_text
from proxy.core.strict_json import BadJson, loads_object
from proxy.model import Absent, Identity

VERSION: Final = 1
MAX_RECORD_BYTES: Final = 64 * 1024
MAX_NAMES: Final = 1024
"""Roles, scopes or authentication methods of one session."""

CLOCK_SKEW_S: Final = 300.0
"""How far ahead of this host's clock a session may have been created by another host."""

DEFAULT_ORIGIN: Final = "local"
"""Origin of native sessions where no `tokens.issuer` is configured (security.md, K6)."""


@dataclass(slots=True)  # not frozen: that takes thrice the time, for each look-up
class NativeSession:
    """One session record. Times are epoch seconds."""

    subject: str
    created_at: float
    expires_at: float
    auth_time: float | None = None
    amr: tuple[str, ...] = ()
    version: int = 1
    """`ver`: raised by every change of the record, so that a late writer is noticed (R6)."""
    email: str | None = None
    name: str | None = None
    roles: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    claims: Mapping[str, Any] = field(default_factory=dict)
    address: str | None = None
    agent: str | None = None
    is_remembered: bool = False
    """Asked for at login: it lives as long as `login.sessions.remember`, used or not."""
    binding: Binding | None = None


class _Misfit(ValueError):
    """A record that is no session; the text never quotes it."""


def native_origin(token_issuer: str | None) -> str:
    """Return the origin of native sessions: `tokens.issuer`, else `local` (K6)."""
    return token_issuer or DEFAULT_ORIGIN


def cookie_digest(value: bytes | str) -> str:
    """Return what a session is stored and shown under: hex SHA-256 of its cookie's value."""
    raw = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
    return sha256(raw).hexdigest()


def encode(session: NativeSession) -> bytes:
    """Return the record to store; `ValueError` if `decode` would not take it back."""
    members: dict[str, Any] = {
        "v": VERSION,
        "sub": session.subject,
        "created_at": session.created_at,
        "expires_at": session.expires_at,
        "auth_time": session.auth_time,
        "amr": session.amr,
        "ver": session.version,
        "email": session.email,
        "name": session.name,
        "roles": session.roles,
        "scopes": session.scopes,
        "claims": dict(session.claims),
        "address": session.address,
        "agent": session.agent,
        "remembered": session.is_remembered or None,
        "bound": _bound(session.binding),
    }
    told = {name: value for name, value in members.items() if value not in (None, (), {})}
    told.setdefault("amr", ())
    try:
        text = json.dumps(told, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        record = text.encode()
        _session(loads_object(record, max_bytes=MAX_RECORD_BYTES))
    except (TypeError, RecursionError) as error:
        raise ValueError("a claim is not JSON") from error
    return record


def read(record: bytes | None) -> NativeSession | Absent:
    """Return what a record says, whether or not it is still good; `Absent` if it is none."""
    if record is None:
        return Absent("session_unknown", "no such session")
    try:
        return _session(loads_object(record, max_bytes=MAX_RECORD_BYTES))
    except BadJson as bad:
        return Absent("session_unknown", f"record cannot be read: {bad}")
    except _Misfit as misfit:
        return Absent("session_unknown", f"record does not fit: {misfit}")


@dataclass(slots=True)
class Facts:
    """What the store says of one session, whatever the time is. Times are epoch seconds."""

    identity: Identity
    begins_at: float
    """Before this the record is one from the future, which is no session yet."""
    ends_at: float
    """The absolute end: the record's, and never later than the lifetime after its beginning."""
    seen_at: float
    """The last use."""
    is_remembered: bool = False
    """True where it does not end by being idle."""
    binding: Binding | None = None


def facts(
    record: bytes | None,
    seen: bytes | None,
    *,
    lifetime: float | None,
    scheme: str,
    origin: str,
    remember: float | None = None,
) -> Facts | Absent:
    """Return what `record` and `seen`, as the store holds them, say; `Absent` for no session.

    `lifetime` is the longest life in seconds, `remember` that of a session that is remembered; with
    `None` no session is, whatever its record says.
    """
    session = read(record)
    if isinstance(session, Absent):
        return session
    is_remembered = session.is_remembered and remember is not None
    ends_at = end_of(session, lifetime=lifetime, remember=remember)
    return Facts(
        is_remembered=is_remembered,
        binding=session.binding,
        identity=_identity(session, scheme=scheme, origin=origin, ends_at=ends_at),
        begins_at=session.created_at - CLOCK_SKEW_S,
        ends_at=ends_at,
        seen_at=last_seen(session, seen),
    )


def end_of(
    session: NativeSession, *, lifetime: float | None, remember: float | None = None
) -> float:
    """Return when a session ends at the latest, in epoch seconds: see `facts`."""
    longest = remember if session.is_remembered and remember is not None else lifetime
    if longest is None:
        return session.expires_at
    return min(session.expires_at, session.created_at + longest)


def over_at(
    now: float, *, begins_at: float, ends_at: float, idle_at: float | None
) -> Absent | None:
    """Return why a session is not good at `now`, or `None`; idle from `idle_at` on."""
    if now < begins_at:
        return Absent("session_unknown", "created in the future")
    if now >= ends_at:
        return Absent("session_expired", "its lifetime is over")
    if idle_at is not None and now >= idle_at:
        return Absent("session_expired", "it was idle for too long")
    return None


def decode(
    record: bytes | None,
    seen: bytes | None,
    *,
    now: float,
    idle_timeout: float | None,
    lifetime: float | None,
    scheme: str,
    origin: str,
) -> Identity | Absent:
    """Return whose session it is at `now`, or `Absent` (`session_unknown`, `session_expired`).

    `record` and `seen` are what the store holds, `idle_timeout` and `lifetime` seconds.
    """
    found = facts(record, seen, lifetime=lifetime, scheme=scheme, origin=origin)
    if isinstance(found, Absent):
        return found
    idle_at = None if idle_timeout is None else found.seen_at + idle_timeout
    over = over_at(now, begins_at=found.begins_at, ends_at=found.ends_at, idle_at=idle_at)
    return over or found.identity


def last_seen(session: NativeSession, seen: bytes | None) -> float:
    """Return when the session was last used, in epoch seconds: `created_at` where nothing says."""
    at = read_time(seen)
    return session.created_at if at is None else max(session.created_at, at)


def read_time(value: bytes | None) -> float | None:
    """Return epoch seconds written as text in the store; `None` for nothing and for anything else."""
    if value is None or len(value) > 32:
        return None
    try:
        at = float(value)
    except ValueError:
        return None
    return at if math.isfinite(at) else None


def _identity(session: NativeSession, *, scheme: str, origin: str, ends_at: float) -> Identity:
    claims: dict[str, Any] = dict(session.claims)
    claims.update(  # the record's own members win over claims of the same name
        iss=origin, sub=session.subject, roles=list(session.roles), scopes=list(session.scopes)
    )
    for name, value in (("email", session.email), ("name", session.name)):
        claims.pop(name, None)
        if value is not None:
            claims[name] = value
    return Identity(
        origin=origin,
        subject=session.subject,
        scheme=scheme,
        email=session.email,
        name=session.name,
        roles=session.roles,
        scopes=session.scopes,
        claims=claims,
        expires_at=ends_at,
        auth_time=session.auth_time,
        amr=session.amr,
    )


def _session(members: dict[str, Any]) -> NativeSession:
    version = members.get("v")
    if version != VERSION or type(version) is not int:  # neither 1.0 nor true
        raise _Misfit("v is not 1")
    subject = as_text(members.get("sub"))
    if subject is None or not subject.strip():
        raise _Misfit("sub names nobody")
    claims = members.get("claims")
    if claims is None:
        claims = {}
    if not isinstance(claims, dict):
        raise _Misfit("claims is not an object")
    created_at, expires_at = _time(members, "created_at"), _time(members, "expires_at")
    if created_at is None or expires_at is None:
        raise _Misfit("created_at or expires_at is missing")
    return NativeSession(
        subject=subject,
        created_at=created_at,
        expires_at=expires_at,
        auth_time=_time(members, "auth_time"),
        amr=_names(members, "amr"),
        version=_whole(members, "ver"),
        email=_text(members, "email"),
        name=_text(members, "name"),
        roles=_names(members, "roles"),
        scopes=_names(members, "scopes"),
        claims=claims,
        address=_text(members, "address"),
        agent=_text(members, "agent"),
        is_remembered=members.get("remembered") is True,
        binding=_binding(members.get("bound")),
    )


def _binding(bound: Any) -> Binding | None:
    """Read what a session is bound to; what is none makes the record one that does not fit."""
    if bound is None:
        return None
    if not isinstance(bound, dict):
        raise _Misfit("bound is not an object")
    return Binding(_text(bound, "network"), _text(bound, "agent"))


def _bound(binding: Binding | None) -> dict[str, str] | None:
    if binding is None:
        return None
    told = {"network": binding.network, "agent": binding.agent}
    return {name: value for name, value in told.items() if value is not None}


def _time(members: dict[str, Any], name: str) -> float | None:
    value = members.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _Misfit(f"{name} is not a time")
    return value


def _whole(members: dict[str, Any], name: str) -> int:
    value = members.get(name, 1)
    if isinstance(value, bool) or not isinstance(value, int):
        raise _Misfit(f"{name} is not a whole number")
    return value


def _text(members: dict[str, Any], name: str) -> str | None:
    value = members.get(name)
    if value is not None and not isinstance(value, str):
        raise _Misfit(f"{name} is not a text")
    return value or None


def _names(members: dict[str, Any], name: str) -> tuple[str, ...]:
    value = members.get(name)
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > MAX_NAMES:
        raise _Misfit(f"{name} is not a list of at most {MAX_NAMES}")
    if not all(isinstance(item, str) and item for item in value):
        raise _Misfit(f"{name} has a member that is not a text")
    return tuple(value)
