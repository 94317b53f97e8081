"""Where a client that came without TLS is sent: the same host and target over https, or nowhere.

What never belongs here: connections, and any host that the configuration does not know.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from proxy.config.models import Config
from proxy.config.redirect_checks import HTTPS_PORT, led_hosts
from proxy.core.paths import BadTarget, parse_target
from proxy.model import RequestView
from proxy.services.asked import check_authority, join, read_host

_UNSPEAKABLE: Final = re.compile(rb"[^!-~]")


class HttpsRedirect:
    """The hosts that are led to https, and its port."""

    def __init__(self, hosts: frozenset[str], port: int) -> None:
        """`hosts`: names, or wildcards such as `*.example.com`."""
        self._hosts = frozenset(host for host in hosts if not host.startswith("*"))
        self._above = frozenset(host[1:] for host in hosts if host.startswith("*"))
        self._port = "" if port == HTTPS_PORT else f":{port}"

    @classmethod
    def from_config(cls, config: Config) -> HttpsRedirect:
        """Return what `redirect:` says."""
        port = None if config.redirect is None else config.redirect.port
        url = urlsplit(config.server.public_url or "")
        if port is None and url.scheme.lower() == "https":
            port = url.port
        return cls(led_hosts(config), port or HTTPS_PORT)

    def location(self, view: RequestView) -> bytes:
        """Return the URL that a request is sent to.

        It has the request's own host, without its port, and its target byte for byte, but for what no
        header may hold. Raises `BadTarget`: for what is no request to one host, for targets that
        no gate takes, and `route_not_found` for hosts that are not known.
        """
        target = parse_target(view.target, view.method)
        host = read_host(view)
        check_authority(target, host)
        if target.form == "asterisk" or host is None:
            raise BadTarget("bad_request", "there is nothing to lead to")
        if not self._knows(host.name):
            raise BadTarget("route_not_found", "a host that is not among `redirect.hosts`")
        path = _UNSPEAKABLE.sub(_escaped, join(target.path, target.query))
        return f"https://{host.name}{self._port}".encode("ascii") + path

    def _knows(self, name: str) -> bool:
        if name in self._hosts:
            return True
        dot = name.find(".")
        while dot >= 0:
            if name[dot:] in self._above:
                return True
            dot = name.find(".", dot + 1)
        return False


def _escaped(found: re.Match[bytes]) -> bytes:
    return b"%%%02X" % found[0][0]
