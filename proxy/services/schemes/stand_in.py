"""A scheme that knows its answer beforehand: for policy tests, which have no store and no keys.

It is asked by the same code as a real one, at the same places, and is given the same rivals.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from proxy.config.models import (
    Config,
    JwtSchemeConfig,
    PolicyActor,
    SchemeConfig,
    SessionSchemeConfig,
)
from proxy.core.coherence import Key
from proxy.core.compact import encode_segment
from proxy.core.formats.native import native_origin
from proxy.model import Authenticated, Identity, Outcome, Rejected
from proxy.services import compile as compiling
from proxy.services.schemes.port import Carried, Found, Place, Scheme

NOW: Final = 0.0
"""The time at which every rehearsed request is made; nothing but `auth_time` is measured by it."""
_BY_PROOF: Final = Place("dpop")
_A_KEY: Final = "stand-in"


@dataclass(frozen=True, slots=True)
class StandIn:
    """Stands for one entry of `schemes:`; every request carries its identity's credential."""

    name: str
    places: tuple[Place, ...]
    is_native: bool
    issuer: str | None
    identity: Identity | None
    """`None`: no request carries a credential of this scheme."""

    def find(self, carried: Carried) -> Found | None:
        """Return a credential at the scheme's first place, whatever the request is.

        A token that could be sent with a proof is: it is good on every route then.
        """
        del carried
        if self.identity is None:
            return None
        place = self.places[0] if self.identity.jkt is None else _BY_PROOF
        return Found(place, _like_a_token(self.issuer))

    def known(self, found: Found, now: float) -> Outcome | None:
        """Return `None`: `judge` knows as fast."""
        del found, now
        return None

    async def judge(self, found: Found, now: float) -> Outcome:
        """Say whose the credential is: always the same person's."""
        del now
        assert self.identity is not None  # noqa: S101 - only a found credential is judged
        return Authenticated(self.identity, found.place.is_ambient)

    def begin(self, found: Found, now: float) -> None:
        """Begin nothing: there is nothing to find out."""
        del found, now

    def recall(self, found: Found) -> None:
        """Know nobody."""
        del found

    def meet(self, found: Found, now: float) -> None:
        """Begin nothing."""
        del found, now

    def stand(self, found: Found) -> None:
        """Promise nothing: a rehearsal is asked once."""
        del found

    def key(self, found: Found) -> Key:
        """Return the credential itself: no verdict is kept."""
        return (self.name, 0, found.value)

    async def guessed(self, found: Found) -> Rejected | None:
        """Do nothing: nobody guesses in a rehearsal."""
        del found
        return None

    def use(self, found: Found, now: float) -> bool:
        """Do nothing: nothing stays open in a rehearsal."""
        del found, now
        return True


def stand_ins(config: Config, actor: PolicyActor | None) -> dict[str, Scheme]:
    """Return a stand-in for every scheme of `config`; that of `actor` lets them in."""
    found: dict[str, Scheme] = {}
    for name, scheme in config.schemes.items():
        origin, issuer = _origin(config, name, scheme)
        places = compiling.places_of(scheme)
        jkt = _A_KEY if _BY_PROOF in places[:2] else None
        found[name] = StandIn(
            name,
            places,
            _is_native(scheme),
            issuer,
            _identity(actor, origin, jkt) if actor is not None and actor.scheme == name else None,
        )
    return found


def _is_native(scheme: SchemeConfig) -> bool:
    if isinstance(scheme, JwtSchemeConfig):
        return scheme.keys.local
    return isinstance(scheme, SessionSchemeConfig) and scheme.format == "native"


def _origin(config: Config, name: str, scheme: SchemeConfig) -> tuple[str, str | None]:
    """Return the origin of a scheme's people (security.md, K6), and the issuer of its tokens."""
    if isinstance(scheme, JwtSchemeConfig):
        issuer = compiling.scheme_issuer(config, scheme)
        return issuer, issuer
    if not _is_native(scheme):
        return name, None
    return native_origin(config.tokens.issuer if config.tokens is not None else None), None


def _identity(actor: PolicyActor, origin: str, jkt: str | None) -> Identity:
    roles, scopes = tuple(actor.roles or ()), tuple(actor.scopes or ())
    told: Mapping[str, Any] = {
        "roles": list(roles),
        "scopes": list(scopes),
        "scope": " ".join(scopes),
        "email": actor.email,
        "name": actor.name,
        **actor.claims,
        "iss": origin,
        "sub": actor.subject,
    }
    return Identity(
        origin=origin,
        subject=actor.subject,
        scheme=actor.scheme,
        email=actor.email,
        name=actor.name,
        roles=roles,
        scopes=scopes,
        claims={key: value for key, value in told.items() if value is not None},
        auth_time=None if actor.login_age is None else NOW - actor.login_age,
        amr=tuple(actor.amr or ()),
        jkt=jkt,
    )


def _like_a_token(issuer: str | None) -> bytes:
    """Return what names `issuer` as a token does: where rivals read one place it picks the scheme."""
    return b"e30.%b." % encode_segment(json.dumps({"iss": issuer}).encode())
