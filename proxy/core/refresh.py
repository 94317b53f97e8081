"""Refresh families: what a presented refresh token means (security.md, S7 and S9; RFC 9700 §4.14).

One family for each login. Exactly one of its tokens is good at any time; each use makes a new one and
spends the old one. Pure: reading, writing and making tokens is the work of services.refresh.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from hmac import compare_digest
from typing import Any, Final, Literal

from proxy.core.compact import decode_segment, encode_segment, to_json
from proxy.core.freshness import amr_with_code
from proxy.core.strict_json import loads_object

MAX_REPEATS: Final = 10
"""S9: how often a spent token gets its answer again."""
MAX_RECORD_BYTES: Final = 64 * 1024
MARK: Final = "lgr_"
"""Begins every refresh token, so that people and scanners know a leaked one when they see it."""

_VERSION: Final = 1
_HANDLE_BYTES: Final = 16
_SECRET_BYTES: Final = 32
_BYTES: Final = _HANDLE_BYTES + _SECRET_BYTES

Meaning = Literal["current", "repeat", "reused", "over"]
"""`current`: rotate it. `repeat`: the same answer again. `reused`: end the family. `over`: too old."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose a token is, and what it says of them."""

    subject: str
    email: str | None = None
    name: str | None = None
    roles: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    claims: Mapping[str, Any] = field(default_factory=dict)
    auth_time: int | None = None
    """When they last proved who they are, in epoch seconds; a refresh copies it (S7)."""
    amr: tuple[str, ...] = ()
    """How they did (RFC 8176)."""


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a client uses its tokens from."""

    place: str
    """Digest of address block and user agent."""
    address: str | None = None
    """As its owner sees it in a list."""
    agent: str | None = None


OtpRule = Literal["never", "always", "new_client"] | float
"""When a refresh asks for a one-time password; a number: so many seconds after the last factor."""


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A refresh token, as its client has it."""

    text: str = field(repr=False)
    family: str
    """Where its family is kept, and the `sid` of its access tokens. It says nothing of the token:
    whoever sees an access token must not be able to name the family to the gate."""

    @property
    def digest(self) -> str:
        """Return what the store knows of it: hex SHA-256."""
        return sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Presented:
    """A refresh token that a client presents."""

    digest: str
    client: str
    """The client that it was told to, authenticated where it can be."""
    jkt: str | None = None
    """Thumbprint of the key that the client has proved to hold (RFC 9449 §5)."""


@dataclass(frozen=True, slots=True)
class Family:
    """What one login has become. Times are epoch seconds."""

    holder: Holder
    client: str
    begun_at: int
    expires_at: int
    """Its absolute end: no use moves it."""
    current: str
    """Digest of the one token that is good."""
    spent: str | None = None
    """Digest of the token before it; older ones are not remembered, and are strangers."""
    spent_at: float = 0.0
    repeats: int = 0
    """How often the answer to `spent` was told again."""
    jkt: str | None = None
    """Thumbprint of the one key whose holder may use it; `None`: it is bound to none."""
    place: str | None = None
    """Digest of where the last use came from: address block and user agent."""
    address: str | None = None
    """Where the last use came from, as its owner sees it in a list."""
    agent: str | None = None

    @property
    def subject(self) -> str:
        """Whose it is."""
        return self.holder.subject

    @property
    def used_at(self) -> float:
        """When it was begun, or used last."""
        return self.spent_at if self.spent is not None else float(self.begun_at)

    def seen_at(self, spot: Spot) -> Family:
        """Return the family as it is used from `spot`."""
        return replace(self, place=spot.place, address=spot.address, agent=spot.agent)

    def meaning(self, presented: Presented, *, now: float, grace_s: float) -> Meaning:
        """Return what presenting a token of this family means at `now`."""
        if now >= self.expires_at:
            return "over"
        if not _same(presented.client, self.client):
            return "reused"
        if self.jkt is not None and not _same(presented.jkt, self.jkt):
            return "reused"
        if _same(presented.digest, self.current):
            return "current"
        is_graced = now < self.spent_at + grace_s and self.repeats < MAX_REPEATS
        return "repeat" if is_graced and _same(presented.digest, self.spent) else "reused"

    def wants_code(self, rule: OtpRule, place: str | None, now: float) -> bool:
        """Tell whether a use from `place` needs a one-time password of its owner, by `tokens.otp`."""
        match rule:
            case "never":
                return False
            case "always":
                return True
            case "new_client":
                return not _same(place, self.place)
        proved_at = self.begun_at if self.holder.auth_time is None else self.holder.auth_time
        return now >= proved_at + rule

    def proved_code(self, now: float) -> Family:
        """Return the family after its owner has proved a one-time code, just now (S7)."""
        amr = amr_with_code(self.holder.amr)
        return replace(self, holder=replace(self.holder, auth_time=int(now), amr=amr))

    def rotated(self, digest: str, now: float) -> Family:
        """Return the family after a use: the token called `digest` is the good one now."""
        return replace(self, current=digest, spent=self.current, spent_at=now, repeats=0)

    def repeated(self) -> Family:
        """Return the family after one answer was told again."""
        return replace(self, repeats=self.repeats + 1)

    def encode(self) -> bytes:
        """Return the record to store; no token can be made of it."""
        holder = self.holder
        return to_json(
            {
                "v": _VERSION,
                "client": self.client,
                "sub": holder.subject,
                "begun_at": self.begun_at,
                "expires_at": self.expires_at,
                "auth_time": holder.auth_time,
                "amr": list(holder.amr),
                "email": holder.email,
                "name": holder.name,
                "roles": list(holder.roles),
                "scopes": list(holder.scopes),
                "claims": dict(holder.claims),
                "current": self.current,
                "spent": self.spent,
                "spent_at": self.spent_at,
                "repeats": self.repeats,
                "jkt": self.jkt,
                "place": self.place,
                "address": self.address,
                "agent": self.agent,
            }
        )

    @classmethod
    def decode(cls, record: bytes) -> Family:
        """Read `encode`'s record; raises `ValueError` without a word of it."""
        match loads_object(record, max_bytes=MAX_RECORD_BYTES):
            case {
                "v": 1,
                "client": str(client),
                "sub": str(subject),
                "begun_at": int(begun_at),
                "expires_at": int(expires_at),
                "auth_time": int() | None as auth_time,
                "amr": list(amr),
                "email": str() | None as email,
                "name": str() | None as name,
                "roles": list(roles),
                "scopes": list(scopes),
                "claims": dict(claims),
                "current": str(current),
                "spent": str() | None as spent,
                "spent_at": int() | float() as spent_at,
                "repeats": int(repeats),
                "jkt": str() | None as jkt,
                "place": str() | None as place,
                **rest,
            }:
                holder = Holder(
                    subject=subject,
                    email=email,
                    name=name,
                    roles=_texts(roles),
                    scopes=_texts(scopes),
                    claims=claims,
                    auth_time=auth_time,
                    amr=_texts(amr),
                )
                return cls(
                    holder=holder,
                    client=client,
                    begun_at=begun_at,
                    expires_at=expires_at,
                    current=current,
                    spent=spent,
                    spent_at=spent_at,
                    repeats=repeats,
                    jkt=jkt,
                    place=place,
                    address=_text(rest.get("address")),
                    agent=_text(rest.get("agent")),
                )
            case _:
                raise ValueError("not a record of a refresh family of version 1")


def new_family() -> RefreshToken:
    """Make the first token of a new family: its handle and a secret of 256 random bits."""
    return _token(secrets.token_bytes(_HANDLE_BYTES))


def successor(token: RefreshToken) -> RefreshToken:
    """Make the next token of the same family."""
    return _token(_decode(token.text)[:_HANDLE_BYTES])


def read_token(text: str) -> RefreshToken | None:
    """Return the refresh token that `text` is, `None` where it has not the form of one."""
    try:
        raw = _decode(text)
    except ValueError:
        return None
    return RefreshToken(text, _family_of(raw[:_HANDLE_BYTES]))


def _token(handle: bytes) -> RefreshToken:
    raw = handle + secrets.token_bytes(_SECRET_BYTES)
    return RefreshToken(MARK + encode_segment(raw).decode(), _family_of(handle))


def _decode(text: str) -> bytes:
    if not text.startswith(MARK) or not text.isascii():
        raise ValueError("not a refresh token")
    raw = decode_segment(text[len(MARK) :].encode())
    if len(raw) != _BYTES:
        raise ValueError("not a refresh token")
    return raw


def _family_of(handle: bytes) -> str:
    return sha256(b"latchgate refresh family\n" + handle).hexdigest()[:32]


def _same(one: str | None, other: str | None) -> bool:
    """Compare in constant time; `None` is like `None` alone."""
    if one is None or other is None:
        return one is other
    return compare_digest(one.encode(), other.encode())


def _texts(items: list[Any]) -> tuple[str, ...]:
    if not all(isinstance(item, str) for item in items):
        raise ValueError("a list of the record has a member that is not a text")
    return tuple(items)


def _text(item: Any) -> str | None:
    """Return a text that older records have not."""
    if item is None or isinstance(item, str):
        return item
    raise ValueError("a member of the record is not a text")
