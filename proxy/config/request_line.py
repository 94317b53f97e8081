"""A request as people write it: `GET /api/orders/1`, with a host or a whole URL where it matters."""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple

_METHOD: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,32}")
_URL: Final = re.compile(r"(?:(https?)://)?([^/?#\s]*)([^#\s]*)", re.IGNORECASE)
_AUTHORITY: Final = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_~.-]+)(?::[0-9]{1,5})?")


class RequestLine(NamedTuple):
    """What a request asks for. Nothing in it is decoded."""

    method: str
    scheme: Literal["http", "https"] | None
    """`None` where it was not written."""
    authority: str | None
    """Host, and the port that was written; `None` where it was not written."""
    target: str
    """Path and query, or `*`."""


def parse_request_line(text: str) -> RequestLine:
    """Read `METHOD TARGET`; raise `ValueError` with a sentence. See `make_request_line`."""
    method, space, target = text.strip(" ").partition(" ")
    if not space:
        raise ValueError("must be a method and a path or URL, such as GET /api/orders/1")
    return make_request_line(method, target.strip(" "))


def make_request_line(method: str, url: str) -> RequestLine:
    """Return the request of `method` for `url`: a URL, a host and a path, or a path alone.

    Raises `ValueError` with a sentence that repeats neither.
    """
    if _METHOD.fullmatch(method) is None:
        raise ValueError("the first word must be a method, such as GET")
    if url == "*":
        return RequestLine(method, None, None, url)
    found = _URL.fullmatch(url)
    if found is None:
        raise ValueError("must be a path or URL, without white space and without #")
    scheme, authority, target = found.groups()
    if not authority and (scheme or not target.startswith("/")):
        raise ValueError("must be a path that begins with /, or a URL")
    if authority and _AUTHORITY.fullmatch(authority) is None:
        raise ValueError("the host is none; a path begins with /")
    if not target.startswith("/"):
        target = f"/{target}"
    known: Literal["http", "https"] | None = None
    if scheme:
        known = "https" if scheme.lower() == "https" else "http"
    return RequestLine(method, known, authority or None, target)
