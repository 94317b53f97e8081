r"""Where somebody goes after signing in: the `next` that a stranger may have written (security.md, S4).

Pure. One way in, for every place that sends a browser on. What cannot be shown to lead to a page of
this gate leads to its start page instead: there is no reason in an answer, and no error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

from proxy.core.hosts import Host, parse_host
from proxy.core.paths import BadTarget, parse_target

START: Final = "/"
"""Where everything goes that may not go where it says."""
MAX_NEXT_BYTES: Final = 2048
_MAX_LAYERS: Final = 8
"""Of percent-encoding that are looked through; what has more hides something."""

_VISIBLE: Final = re.compile(r"[\x21-\x7e]+")
_BAD: Final = re.compile(rb"[\x00-\x1f\x7f\\]|\xc2[\x80-\x9f]")
"""Control characters of ASCII and Latin-1, and what browsers take for a slash."""
_HTTPS: Final = re.compile(r"https://([A-Za-z0-9.-]{1,253})(/[^#]*)?")

Leads = Callable[[str | None, bytes], bool]
"""Whether (host, raw path) is a GET that a route answers, or a page of the portal; the path policy
is part of the answer."""


@dataclass(frozen=True, slots=True)
class Destinations:
    """Which targets a browser may be sent to."""

    leads: Leads
    domain: str | None = None
    """`login.cookie_domain`: hosts below it may be named in full."""
    hosts: Collection[str] = ()
    """The hosts that routes name exactly."""

    def checked(self, wanted: str | None, host: str | None) -> str:
        """Return `wanted`, or `START`. `host` is that of the request (without port)."""
        if wanted is None or len(wanted) > MAX_NEXT_BYTES or not _is_clean(wanted):
            return START
        if wanted.startswith("/"):
            return wanted if self._leads(host, wanted) else START
        return wanted if self._is_neighbour(wanted) else START

    def _is_neighbour(self, wanted: str) -> bool:
        """Tell whether an https URL names another host of the same login."""
        found = _HTTPS.fullmatch(wanted)
        if self.domain is None or found is None:
            return False
        host = _name(found[1])
        if host is None or host not in self.hosts:
            return False
        if host != self.domain and not host.endswith(f".{self.domain}"):
            return False
        return self._leads(host, found[2] or "/")

    def _leads(self, host: str | None, target: str) -> bool:
        """Tell whether an origin-form target is one here, however a browser reads it."""
        if target.startswith("//"):  # another host (RFC 3986 §4.2)
            return False
        try:
            parsed = parse_target(target.encode("ascii"), "GET")
        except BadTarget:
            return False
        return parsed.form == "origin" and self.leads(host, parsed.path)


def _is_clean(wanted: str) -> bool:
    """Tell whether no layer of encoding hides a control character, a backslash or another host."""
    if _VISIBLE.fullmatch(wanted) is None:
        return False
    raw = wanted.encode("ascii")
    for _ in range(_MAX_LAYERS):
        decoded = unquote_to_bytes(raw)
        if _BAD.search(decoded) or decoded.startswith(b"//"):  # for whoever decodes it once more
            return False
        if decoded == raw:
            return True
        raw = decoded
    return False


def _name(text: str) -> str | None:
    """Return a host's name as routes have it; `None` for what is none, or an address."""
    try:
        host: Host = parse_host(text.encode("ascii"))
    except BadTarget:
        return None
    return host.name
