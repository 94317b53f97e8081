"""How long the markers of revocations live (R3, R6)."""

from __future__ import annotations

from proxy.config.models import Config, JwtSchemeConfig
from proxy.core.revocation import marker_life_s

SHORTEST_MARKER_S = 86_400.0


def longest_marker_life_s(config: Config) -> float:
    """Return how long a marker that concerns every scheme must live, in seconds (R3)."""
    lives = [
        scheme_marker_life_s(config, scheme)
        for scheme in config.schemes.values()
        if isinstance(scheme, JwtSchemeConfig)
    ]
    if config.tokens is not None and config.clients:
        lives.append(config.tokens.refresh)
    return max([SHORTEST_MARKER_S, *lives])


def scheme_marker_life_s(config: Config, scheme: JwtSchemeConfig) -> float:
    """Return how long a marker for people or the issuer of one scheme must live, in seconds.

    A refresh family that was revoked must find the marker at its next use, whenever that is (R6).
    """
    life_s = marker_life_s(scheme.max_lifetime, scheme.leeway)
    if scheme.keys.local and config.tokens is not None and config.clients:
        life_s = max(life_s, config.tokens.refresh + 2 * scheme.leeway)
    return life_s
