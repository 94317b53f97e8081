"""Web origins (RFC 6454): the one comparable form of scheme, host and port.

What never belongs here: which origin may do what.
"""

from __future__ import annotations

import re
from typing import Final

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}

_ORIGIN: Final = re.compile(
    r"([a-z][a-z0-9+.-]*+)://(\[[0-9a-f:.]++\]|[a-z0-9._~%!$&'()*+,;=-]++)(?::([0-9]{1,5}))?",
    re.ASCII,
)

Origin = tuple[str, str, int | None]
"""Scheme, host without final dot, port (`None` only where the scheme has no default)."""


def parse_origin(text: str) -> Origin | None:
    """Return the origin that `text` serialises, or `None` (also for `null`, paths and lists)."""
    match = _ORIGIN.fullmatch(text.lower())
    if match is None:
        return None
    scheme, host, port = match.groups()
    number = int(port) if port else _DEFAULT_PORTS.get(scheme)
    if number is not None and not 0 < number < 65536:
        return None
    return scheme, host.removesuffix("."), number


def parse_origin_bytes(value: bytes) -> Origin | None:
    """Return the origin of a header's value, or `None`; bytes that are no ASCII are no origin."""
    return parse_origin(value.decode("ascii")) if value.isascii() else None


def origin_of(text: str) -> Origin:
    """Return the origin that a configuration names; `ValueError` says what is wrong with it."""
    origin = parse_origin(text.removesuffix("/"))
    if origin is None:
        raise ValueError(f"{text!r} is not an origin such as https://app.example.com")
    return origin


def serialise(origin: Origin) -> bytes:
    """Return the origin as browsers write it: lower case, without a default port."""
    scheme, host, port = origin
    suffix = "" if port in (None, _DEFAULT_PORTS.get(scheme)) else f":{port}"
    return f"{scheme}://{host}{suffix}".encode("ascii")


def is_own(origin: Origin, *, scheme: str | None, host: str, port: int | None) -> bool:
    """Say whether a page of `origin` called its own server: `host` as Host names it (S3).

    `scheme` `None` is not known and not compared. `port` is one that a trusted hop named for a
    host without a port of its own.
    """
    if scheme is not None and scheme != origin[0]:
        return False
    own = parse_origin(f"{origin[0]}://{host}")
    if own is None or own[1] != origin[1]:
        return False
    if own[2] == origin[2]:
        return True
    has_port = host.rpartition(":")[2].isdigit()
    return not has_port and port is not None and port == origin[2]
