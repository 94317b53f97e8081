"""The cookies that the gate itself sets: names and attributes (security.md, S1, S5; RFC 6265bis).

Pure. What never belongs here: their values' meaning.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from proxy.config.addresses import host_of, is_loopback
from proxy.config.login_models import bare_name
from proxy.model import ClientInfo, Header

STATE: Final = "__Host-latchgate-login"
"""Ties a sign-in form to the browser that asked for it."""
STATE_LIFE_S: Final = 3600
SECOND_STEP: Final = "__Host-latchgate-step"
"""Names a sign-in that waits for a code."""


FACTOR: Final = "__Host-latchgate-factor"
"""Begin of the names of cookies for factors that were proved beside an application's session."""


def host_name(host: str) -> str:
    """Return a Host without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def is_plain_local(client: ClientInfo) -> bool:
    """Tell whether a browser talks without TLS to a gate on its own machine.

    Then a cookie with `Secure` or a prefix may not be kept, and nobody in between can read one.
    """
    return client.scheme == "http" and _is_local(client.host)


@lru_cache(maxsize=1024)
def _is_local(host: str) -> bool:
    return is_loopback(host_name(host))


def is_insecure(client: ClientInfo, public_url: str | None) -> bool:
    """Tell whether a password would travel in the clear: S5.

    The origin is `public_url`, else what the nearest trusted hop says (H5); what is not known to be
    https is not.
    """
    if public_url is not None:
        is_https = public_url.lower().startswith("https:")
        return not is_https and not is_loopback(host_of(public_url))
    return client.scheme != "https" and not is_plain_local(client)


@dataclass(frozen=True, slots=True)
class OwnCookie:
    """One cookie of the gate's own."""

    name: str
    """With its prefix."""
    domain: str | None = None
    """Hosts below it share the cookie, which then has no `__Host-`."""

    @property
    def bare(self) -> str:
        """What it is called on http://localhost."""
        return bare_name(self.name)

    def name_for(self, client: ClientInfo) -> str:
        """Return the name that it is set under."""
        return self.bare if is_plain_local(client) else self.name

    def set(self, value: str, client: ClientInfo, *, max_age_s: float | None = None) -> Header:
        """Return the header that sets it; without `max_age_s` it ends with the browser."""
        life = "" if max_age_s is None else f"; Max-Age={int(max_age_s)}"
        return _header(f"{self.name_for(client)}={value}", self._attributes(client) + life)

    def expire(self, client: ClientInfo) -> tuple[Header, ...]:
        """Return the headers that end it, wherever it may have been set from."""
        pair = f"{self.name_for(client)}="
        attributes = self._attributes(client)
        headers = [_header(pair, f"{attributes}; Max-Age=0")]
        if "; Domain=" in attributes:
            headers.append(_header(pair, f"{self._plain(client)}; Max-Age=0"))
        return tuple(headers)

    def _plain(self, client: ClientInfo) -> str:
        secure = "" if is_plain_local(client) else "; Secure"
        return f"; Path=/{secure}; HttpOnly; SameSite=Lax"

    def _attributes(self, client: ClientInfo) -> str:
        plain = self._plain(client)
        host = host_name(client.host)
        if self.domain is None or self.name.startswith("__Host-") or is_plain_local(client):
            return plain
        is_below = host == self.domain or host.endswith(f".{self.domain}")
        return f"{plain}; Domain={self.domain}" if is_below else plain


def factor_cookie(scheme: str) -> OwnCookie:
    """Return the cookie of factors that were proved beside sessions of `scheme`."""
    return OwnCookie(f"{FACTOR}-{scheme}")


def _header(pair: str, attributes: str) -> Header:
    return b"Set-Cookie", f"{pair}{attributes}".encode("ascii")
