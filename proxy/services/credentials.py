"""Which credentials travel on to the upstream, and which are taken out (security.md, H6).

Only the credential that decided may travel on; every other one that the route's schemes read is
removed. Native cookies and this gate's own bearers are removed on every route, public ones too,
unless the route says `forward_credentials: true`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from proxy.core.cookies import remove_cookies
from proxy.core.credentials import (
    authorization_scheme,
    claimed_issuers,
    remove_query_parameter,
)
from proxy.model import Header
from proxy.services.schemes.port import Found, Place, Scheme

_BY_PROOF: Final = Place("dpop")


@dataclass(frozen=True, slots=True)
class CredentialPlan:
    """What one route takes out of its requests."""

    read: frozenset[Place]
    """Every place that a scheme of the route reads."""
    native_cookies: frozenset[bytes]
    """Of every native scheme of the file; empty where the route forwards credentials."""
    local_cookies: frozenset[bytes]
    """What they are called besides on http://localhost; empty likewise."""
    state_cookies: frozenset[bytes]
    """Those of a sign-in that is under way: no upstream ever sees them."""
    own_issuers: frozenset[str]
    """The gate's own issuers; empty where the route forwards credentials."""
    is_authorization_set: bool
    """True with `identity.bearer`: the gate writes Authorization itself."""
    forwards: bool | None
    """The route's `forward_credentials`; `None`: as the deciding scheme has it by default."""

    @classmethod
    def compile(
        cls,
        schemes: Iterable[Scheme],
        *,
        native_cookies: Iterable[bytes],
        local_cookies: Iterable[bytes] = (),
        state_cookies: Iterable[bytes] = (),
        own_issuers: Iterable[str],
        forwards: bool | None,
        is_authorization_set: bool,
        is_opened: bool = True,
    ) -> CredentialPlan:
        """Collect the places of `schemes`, and what the whole file protects.

        `is_opened`: False for requests that report mode lets through though no credential opened the
        route (S14). Nobody's word is in them then. What an application reads itself it gets as it did
        before there was a gate; what only the gate can judge is taken out as ever.
        """
        schemes = tuple(schemes)
        is_open = forwards is True
        read = frozenset(place for scheme in schemes for place in scheme.places)
        if not is_opened and forwards is not False:
            read -= frozenset(
                place
                for scheme in schemes
                if is_open or not scheme.is_native
                for place in scheme.places
            )
        return cls(
            read=read,
            native_cookies=frozenset() if is_open else frozenset(native_cookies),
            local_cookies=frozenset() if is_open else frozenset(local_cookies),
            state_cookies=frozenset(state_cookies),
            own_issuers=frozenset() if is_open else frozenset(own_issuers),
            is_authorization_set=is_authorization_set,
            forwards=forwards,
        )

    def kept(self, found: Found, scheme: Scheme) -> Place | None:
        """Return the place whose credential may travel on: that of the one that decided."""
        forwards = (not scheme.is_native) if self.forwards is None else self.forwards
        return found.place if forwards else None

    def clean_headers(
        self, headers: list[Header], kept: Place | None, *, is_local: bool = False
    ) -> list[Header]:
        """Return `headers` without the credentials that must not travel on.

        A proof (RFC 9449) goes where its token goes: who has both could use them once. `is_local`: a browser came over http://localhost (S5).
        """
        dropped = self._dropped_headers(kept)
        tokens = [value for name, value in headers if name.lower() == b"authorization"]
        if any(self._drops_authorization(value, kept) for value in tokens):
            dropped |= {b"authorization", b"dpop"}
        elif _BY_PROOF in self.read and kept != _BY_PROOF:
            dropped |= {b"dpop"}
        cleaned = [header for header in headers if header[0].lower() not in dropped]
        return self._clean_cookies(cleaned, kept, is_local=is_local)

    def clean_query(self, query: bytes | None, kept: Place | None) -> bytes | None:
        """Return the query without the credentials that must not travel on."""
        for place in self.read:
            if query is not None and place.kind == "query" and place != kept:
                query = remove_query_parameter(query, place.name)
        return query

    def _dropped_headers(self, kept: Place | None) -> frozenset[bytes]:
        return frozenset(
            place.name.encode() for place in self.read if place.kind == "header" and place != kept
        )

    def _drops_authorization(self, value: bytes, kept: Place | None) -> bool:
        if self.is_authorization_set:
            return True
        kind = authorization_scheme(value)
        for place in self.read:
            if place.kind == kind and place.kind in ("bearer", "dpop", "basic"):
                return place != kept
        return self._is_own(value)

    def _is_own(self, value: bytes) -> bool:
        """Tell whether `value` carries a token of this gate; a hint, so unverified is enough."""
        return bool(self.own_issuers) and not self.own_issuers.isdisjoint(claimed_issuers(value))

    def _clean_cookies(
        self, headers: list[Header], kept: Place | None, *, is_local: bool
    ) -> list[Header]:
        names = {
            place.name.encode() for place in self.read if place.kind == "cookie" and place != kept
        }
        names |= self.native_cookies | self.state_cookies
        if is_local:
            names |= self.local_cookies
        if kept is not None and kept.kind == "cookie":
            names.discard(kept.name.encode())
        if not names:
            return headers
        values = [value for name, value in headers if name.lower() == b"cookie"]
        if not values:
            return headers
        rebuilt = remove_cookies(values, frozenset(names))
        others = [header for header in headers if header[0].lower() != b"cookie"]
        return others if rebuilt is None else [*others, (b"Cookie", rebuilt)]
