"""Requests that another site made a browser send (security.md, S3).

Asked only where something that a browser adds by itself (a cookie, Basic, a client certificate)
opened the route. What never belongs here: CORS answers, and any other reason to refuse.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from proxy.core.origins import Origin, is_own, origin_of, parse_origin_bytes
from proxy.model import SAFE_METHODS, ClientInfo, Refusal, RequestView

Mode = Literal["refuse", "same_site", "allow"]


class CrossSitePolicy:
    """`cross_site:` of one route, compiled.

    `origins` are those that the route lists, `cors_origins` those of its `cors:` with
    `credentials: true`. Raises `ValueError` for a text that is no origin.
    """

    def __init__(
        self,
        mode: Mode = "refuse",
        origins: Collection[str] = (),
        public_url: str | None = None,
        cors_origins: Collection[str] = (),
    ) -> None:
        self._allows_all = mode == "allow"
        self._allows_same_site = mode == "same_site"
        self._listed = frozenset(map(origin_of, (*origins, *cors_origins)))
        self._public = None if public_url is None else origin_of(public_url)

    def allows(self, view: RequestView, client: ClientInfo) -> bool:
        """Say whether the request may use what its browser added."""
        return self.check(view, client) is None

    def check(self, view: RequestView, client: ClientInfo) -> Refusal | None:
        """Return `None`, or the refusal `cross_site` with the reason for the log.

        Safe methods without an upgrade pass. Everything that occurs twice, or is not understood,
        counts as another site's.
        """
        if self._allows_all or (view.method in SAFE_METHODS and not view.values(b"upgrade")):
            return None
        origins = view.values(b"origin")
        if len(origins) > 1:
            return _refusal("several Origin headers")
        origin = parse_origin_bytes(origins[0]) if origins else None
        if origin is not None and origin in self._listed:
            return None
        sites = view.values(b"sec-fetch-site")
        if sites:  # set by the browser, which knows better than any comparison of names
            return self._check_site(sites)
        if not origins:
            return None
        if origin is None:
            return _refusal("Origin names no site")
        return self._check_origin(origin, client)

    def _check_site(self, sites: list[bytes]) -> Refusal | None:
        site = sites[0] if len(sites) == 1 else b""
        if site in (b"same-origin", b"none"):
            return None
        if site == b"same-site" and self._allows_same_site:
            return None
        return _refusal("Sec-Fetch-Site is neither same-origin nor none")

    def _check_origin(self, origin: Origin, client: ClientInfo) -> Refusal | None:
        if origin == self._public:
            return None
        port = client.port if client.is_trusted_peer else None
        if is_own(origin, scheme=client.scheme, host=client.host, port=port):
            return None
        return _refusal("Origin is not this host's")


def _refusal(detail: str) -> Refusal:
    return Refusal("cross_site", detail)
