"""What the access log may say of a request's Host and target (S15)."""

from __future__ import annotations

import re
from typing import Final

from proxy.core.hosts import parse_host
from proxy.core.paths import BadTarget
from proxy.model import RequestView

_ABSOLUTE: Final = re.compile(rb"[a-z][a-z0-9+.-]*://[^/?#]+", re.IGNORECASE)
_QUERY: Final = re.compile(rb"[?#]")


def logged_host(view: RequestView) -> str:
    """Return the Host as it came; nothing of one that is no host, which may look like anything."""
    value = view.first(b"host") or b""
    try:
        parse_host(value)
    except BadTarget:
        return ""
    return value.decode("ascii")


def logged_path(target: bytes) -> str:
    """Return the path without query and fragment, of an absolute-form what follows the authority.

    An authority may name a user and a password. Of a target of no known form nothing is returned.
    """
    if target[:1] not in (b"/", b"*"):
        found = _ABSOLUTE.match(target)
        target = b"" if found is None else target[found.end() :]
    return _QUERY.split(target, maxsplit=1)[0].decode("utf-8", "backslashreplace")
