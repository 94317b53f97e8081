"""Which scheme is meant: the named one, or the only one of its kind."""

from __future__ import annotations

from typing import TypeVar

from proxy.config.models import Config, JwtSchemeConfig, SessionSchemeConfig

T = TypeVar("T")


def pick_session_scheme(config: Config, name: str | None) -> tuple[str, SessionSchemeConfig]:
    """Return the native session scheme called `name`, or the only one. Raises `ValueError`."""
    found = {
        key: scheme
        for key, scheme in config.schemes.items()
        if isinstance(scheme, SessionSchemeConfig) and scheme.format == "native"
    }
    return _pick(found, name, "native session scheme")


def pick_jwt_scheme(config: Config, name: str | None) -> tuple[str, JwtSchemeConfig]:
    """Return the jwt scheme called `name`, or the only one. Raises `ValueError`."""
    found = {
        key: scheme for key, scheme in config.schemes.items() if isinstance(scheme, JwtSchemeConfig)
    }
    return _pick(found, name, "jwt scheme")


def _pick(found: dict[str, T], name: str | None, kind: str) -> tuple[str, T]:
    if name is not None:
        if name not in found:
            raise ValueError(f"there is no {kind} called {name}")
        return name, found[name]
    if not found:
        raise ValueError(f"the configuration has no {kind}")
    if len(found) > 1:
        raise ValueError(f"there are several {kind}s ({', '.join(found)}): say which scheme")
    return next(iter(found.items()))
