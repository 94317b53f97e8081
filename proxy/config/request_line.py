"""A request as people write it: `GET /api/orders/1`, with a host or a whole URL where it matters."""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple
from urllib.parse import quote

_METHOD: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,32}")
_URL: Final = re.compile(r"(?:(https?)://)?([^/?#\s]*)([^#\s]*)", re.IGNORECASE)
_NOT_ASCII: Final = re.compile(r"[^\x00-\x7f]+")
_AUTHORITY: Final = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_~.-]+)(?::[0-9]{1,5})?")


class RequestLine(NamedTuple):
    """What a request asks for, as it comes off the wire. Nothing in it is decoded."""

    method: str
    scheme: Literal["http", "https"] | None
    """`None` where it was not written."""
    authority: str | None
    """Host, and the port that was written; `None` where it was not written."""
    target: str
    """Path and query, or `*`; in ASCII, since no client sends anything else (RFC 3986, 2.1)."""


def parse_request_line(text: str) -> RequestLine:
    """Read `METHOD TARGET`; raise `ValueError` with a sentence. See `make_request_line`."""
    method, space, target = text.strip(" ").partition(" ")
    if not space:
        raise ValueError("must be a method and a path or URL, such as GET /api/orders/1")
    return make_request_line(method, target.strip(" "))


def make_request_line(method: str, url: str) -> RequestLine:
    """Return the request of `method` for `url`: a URL, a host and a path, or a path alone.

    What is not ASCII in path and query is percent-encoded in UTF-8, as browsers do. Without a scheme
    a host needs a dot or a port, or is `localhost`: any other word is a path without its `/`.
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
    if authority:
        _check_authority(authority, has_scheme=bool(scheme))
    if not target.startswith("/"):
        target = f"/{target}"
    known: Literal["http", "https"] | None = None
    if scheme:
        known = "https" if scheme.lower() == "https" else "http"
    return RequestLine(method, known, authority or None, _encode(target))


def _check_authority(authority: str, *, has_scheme: bool) -> None:
    if "@" in authority:
        raise ValueError("no user name or password can stand before the host: no request has them")
    if _AUTHORITY.fullmatch(authority) is None:
        raise ValueError("the host is none; a path begins with /")
    if not has_scheme and authority != "localhost" and not set(".:") & set(authority):
        raise ValueError("a path begins with /; write http:// before a host without a dot or port")


def _encode(target: str) -> str:
    """Percent-encode what is not ASCII; a byte of the command line that is not UTF-8 stays one."""
    try:
        return _NOT_ASCII.sub(lambda found: quote(found[0], errors="surrogateescape"), target)
    except UnicodeEncodeError:
        raise ValueError("must be text: half of a surrogate pair is none") from None
