"""What a proxy that asks is told of a request that may pass, and where it may not pass after all.

The gate does not forward such a request: the proxy does, with the headers that its client sent. So
whatever the gate would have taken out has to be named or refused here (security.md, H1, H2, H6), and
whatever it would have added is answered, empty where there is nothing to say (S13).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from proxy.config.models import Config, JwtSchemeConfig
from proxy.core.described import Described, Dialect
from proxy.core.headers import CONNECTION_NAMES
from proxy.model import Header, Refusal
from proxy.services.compile import identity_names
from proxy.services.decision import Forward

DECISION: Final = b"X-Latchgate-Decision"
"""`forward` with every request that may pass: what has no such header may not."""
UPSTREAM: Final = b"X-Latchgate-Upstream"
"""The configured name of where the request goes."""
TARGET: Final = b"X-Latchgate-Target"
"""What the application is asked for: without the prefix and the credentials that were taken out."""
STRIP: Final = b"X-Latchgate-Strip"
"""The prefix that is taken off."""
UPGRADE: Final = b"X-Latchgate-Upgrade"
"""The upgrade that the route allows and the request asks for."""
REMOVE: Final = b"X-Latchgate-Remove"
"""Names of headers that the application must not see."""
REMOVE_BY_ENVOY: Final = b"X-Envoy-Auth-Headers-To-Remove"

TOLD_CLIENTS: Final = (
    b"Access-Control-Allow-Origin",
    b"Access-Control-Allow-Credentials",
    b"Access-Control-Expose-Headers",
    b"DPoP-Nonce",
    b"Vary",
)
"""What the gate may add to an application's answer."""

CREDENTIAL_NAMES: Final = (b"Cookie", b"Authorization", b"DPoP")
"""Told in each answer as they may travel on, beside the headers that schemes read."""

_REMOVING: Final = {"haproxy": REMOVE, "envoy": REMOVE_BY_ENVOY}
"""Dialects whose proxies take out what they are told by name."""
_REWRITING: Final = frozenset({"nginx", "haproxy"})
"""Dialects whose proxies ask for the target that they are told."""
_STRIPPING: Final = _REWRITING | {"caddy", "envoy"}
"""Dialects whose proxies take off the prefix that they are told."""
_UPGRADING: Final = frozenset({"nginx", "haproxy", "caddy"})
"""Dialects whose proxies upgrade only where they are told to."""

_NOT_THE_CLIENTS: Final = CONNECTION_NAMES | {b"x-request-id"}
"""Of the connection, or told anew in each answer."""


@dataclass(frozen=True, slots=True)
class Letting:
    """What the answers of one configuration have in common."""

    identity_names: frozenset[bytes]
    """Every header by which any route tells who somebody is."""
    credential_names: tuple[bytes, ...]
    """Every header in which credentials come."""

    @classmethod
    def from_config(cls, config: Config) -> Letting:
        """Collect the names of a whole configuration."""
        names = {name.lower(): name for name in CREDENTIAL_NAMES}
        names |= {name.lower(): name for name in _read_headers(config)}
        told = frozenset(name.encode("ascii") for name in identity_names(config))
        return cls(told, tuple(names.values()))

    def let(self, asked: Described, forward: Forward, dialect: Dialect) -> list[Header] | Refusal:
        """Return the headers of the answer; a refusal where this proxy cannot do what has to be."""
        refusal = _elsewhere(asked, forward, dialect)
        if refusal is not None:
            return refusal
        upgrade = _upgrade(asked, forward)
        if asked.view.values(b"upgrade") and upgrade is None and dialect.name not in _UPGRADING:
            return _cannot("an upgrade that the route does not allow")
        headers: list[Header] = [
            (DECISION, b"forward"),
            (UPSTREAM, forward.route.upstream.name.encode()),
            (b"X-Request-Id", forward.request_id.encode("ascii")),
            (b"Cache-Control", b"no-store"),
        ]
        if forward.route.strip_prefix:
            headers.append((STRIP, forward.route.strip_prefix))
        if dialect.name in _REWRITING:
            headers.append((TARGET, forward.target))
        if upgrade is not None:
            headers.append((UPGRADE, upgrade))
        headers += self._told(forward)
        way = _REMOVING.get(dialect.name)
        # What an answer names takes the place of what the client sent: of proxies that take out by
        # name this is all that is needed. Of others nothing of the kind may be left in the question.
        passing = {name.lower() for name, _ in (*forward.headers, *(headers if way else ()))}
        if way is None:  # such a proxy takes an answer without a credential for the word to drop it
            passing |= {name.lower() for name in self.credential_names}
        left = self._left(asked, passing, way)
        if way is None and left:
            return _cannot(f"{dialect.name} did not remove {left[0].decode('latin-1')[:64]}")
        if way is not None and left:
            headers.append((way, b",".join(left)))
        headers += [h for h in forward.response_headers if h[0].lower() != b"cache-control"]
        return headers

    def _told(self, forward: Forward) -> list[Header]:
        """Return credentials that travel on, and every identity header that there is."""
        said = {name.lower() for name, _ in forward.identity_headers}
        told: list[Header] = []
        for name in self.credential_names:
            lower = name.lower()
            values = [value for key, value in forward.headers if key.lower() == lower]
            if values and lower not in said:
                told.append((name, (b"; " if lower == b"cookie" else b", ").join(values)))
        told += forward.identity_headers
        told += [(name, b"") for name in sorted(self.identity_names) if name.lower() not in said]
        return told

    @staticmethod
    def _left(asked: Described, passing: set[bytes], way: bytes | None) -> list[bytes]:
        """Return the names, as the client wrote them, that the application must not see."""
        known = passing | _NOT_THE_CLIENTS
        names = [name for name, _ in asked.view.headers if name.lower() not in known]
        # Envoy puts the gate's words into the request, in the place of a client's, and drops them later:
        # what it is told to take out it takes out afterwards.
        put = passing if way == REMOVE_BY_ENVOY else ()
        names += [name for name in asked.claimed if name.lower() not in put]
        return list(dict.fromkeys(names))


def _read_headers(config: Config) -> list[bytes]:
    """Return every header, beside the usual ones, from which some scheme takes a credential."""
    return sorted(
        source.name.encode("ascii")
        for scheme in config.schemes.values()
        if isinstance(scheme, JwtSchemeConfig)
        for source in scheme.from_
        if source.kind == "header"
    )


def _elsewhere(asked: Described, forward: Forward, dialect: Dialect) -> Refusal | None:
    """Return a refusal where the proxy would send the request elsewhere than the gate."""
    route = forward.route
    strip = route.strip_prefix or b""
    if asked.upstream is not None and asked.upstream != route.upstream.name:
        return _cannot(f"the proxy leads to {asked.upstream}, the route to {route.upstream.name}")
    if asked.strip is not None and asked.strip != strip:
        return _cannot("the proxy takes off another prefix than the route")
    if strip and asked.strip is None and dialect.name not in _STRIPPING:
        return _cannot("the route takes off a prefix, and the proxy was not told")
    if dialect.name in _REWRITING:
        return None
    if asked.view.target.partition(b"?")[2] != forward.target.partition(b"?")[2]:
        return _cannot(f"a credential in the query, which {dialect.name} cannot take out")
    return None


def _upgrade(asked: Described, forward: Forward) -> bytes | None:
    """Return the upgrade that the request asks for and the route allows (F4)."""
    values = asked.view.values(b"upgrade")
    if len(values) != 1 or asked.view.method != "GET":
        return None
    token = values[0].strip().lower()
    return token if token.decode("latin-1") in forward.route.upgrades else None


def _cannot(detail: str) -> Refusal:
    return Refusal("decision_unanswerable", detail)
