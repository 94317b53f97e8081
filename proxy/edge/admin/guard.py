"""Who may use the admin API (security.md, S11): programs with the token, and no web page whatever.

A page in somebody's browser can send requests to a loopback port; what gives it away is a Host that
is a name of its own (DNS rebinding), an Origin, or a Sec-Fetch-Site. On a unix socket the file's
mode keeps everybody else out; the rest is checked all the same.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from typing import Final

from proxy.config.models import AdminConfig
from proxy.core.hosts import parse_host
from proxy.edge.admin.request import AdminRequest
from proxy.edge.portal.reply import Refused
from proxy.errors import ProxyError

_CHALLENGE: Final = ((b"WWW-Authenticate", b"Bearer"),)


class Guard:
    """Checks every request before anything else is done with it."""

    def __init__(self, config: AdminConfig) -> None:
        self._name = config.listen.host.lower()
        self._token = None if config.token is None else _digest(config.token.reveal_bytes())

    def check(self, request: AdminRequest) -> None:
        """Raise `Refused` unless the request may be answered."""
        headers = request.headers
        if not self._is_our_host(headers.get(b"host")):
            raise Refused("host_invalid", "Host is neither an address nor the listener's own name")
        if b"origin" in headers:
            raise Refused("cross_site", "Origin")
        if headers.get(b"sec-fetch-site", b"none") != b"none":
            raise Refused("cross_site", "Sec-Fetch-Site")
        if self._token is not None:
            self._check_token(headers.get(b"authorization"), self._token)

    def _check_token(self, value: bytes | None, expected: bytes) -> None:
        if value is None:
            raise Refused("credential_missing", headers=_CHALLENGE)
        scheme, _, token = value.partition(b" ")
        # Compared as digests, in constant time: neither length nor beginning shows.
        is_right = hmac.compare_digest(_digest(token.strip()), expected)
        if scheme.lower() != b"bearer" or not is_right:
            raise Refused("token_invalid", "not the admin token", _CHALLENGE)

    def _is_our_host(self, value: bytes | None) -> bool:
        """Tell whether no foreign name stands there: a site can point its own name anywhere."""
        try:
            name = parse_host(value or b"").name
        except ProxyError:
            return False
        if name in ("localhost", self._name):
            return True
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return False
        return True


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()
