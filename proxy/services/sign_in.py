"""Where somebody without a credential is sent to sign in: `login_url`, or the gate's own page.

Page loads only: what a form has sent would be lost by a redirect, and a program could not follow one.
What never belongs here: signing in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from proxy.core.destination import Destinations
from proxy.core.routing import Found, Router
from proxy.services.route import Route

if TYPE_CHECKING:
    from proxy.services.asked import Payload

NEXT: Final = "{next}"
"""Stands in `login_url` for where the person wanted to go, percent-encoded."""
PORTAL: Final = "login"
"""The endpoint of the gate's own page."""

STEP_UP: Final = "step-up"
"""The endpoint of the page that asks for a factor again."""

CODES: Final = frozenset(
    {"credential_missing", "session_unknown", "session_expired", "session_moved", "token_expired"}
)
"""The refusals that a sign-in puts right."""


@dataclass(frozen=True, slots=True)
class SignIn:
    """The way to sign in, for every route."""

    router: Router[Payload]
    destinations: Destinations
    path: str
    """`login.path`."""
    host: str | None = None
    """With one login for several hosts: one that has the gate's endpoints."""
    scheme: str | None = None
    """`login.scheme`: whose sessions can be stepped up."""
    foreign: frozenset[str] = frozenset()
    """Schemes of applications whose sessions can be stepped up, each on a page of its own."""

    def location(self, route: Route, host: str | None, target: bytes) -> str | None:
        """Return where a page load of `target` on `host` is sent; `None`: it gets the refusal."""
        page = self._page(route, host)
        if page is None or target.partition(b"?")[0] == page.partition("?")[0].encode():
            return None  # a page that itself wants a sign-in would send people round for ever
        return self._with_next(page, host, target.decode("latin-1"))

    def step_up(self, route: Route, scheme: str, host: str | None, target: bytes) -> str | None:
        """Return where somebody with a session of `scheme` proves a factor, on the way to a page load's `target`.

        `None` where there is no such place.
        """
        if scheme in self.foreign:
            wanted = self.destinations.checked(target.decode("latin-1"), host)
            return f"{self.path}/{STEP_UP}/{scheme}?next={quote(wanted, safe='')}"
        page = self._own_page(STEP_UP, host) if scheme == self.scheme else None
        if page is None:
            return None
        if route.freshness is not None and route.freshness.mfa_within is not None:
            page += "&want=code"
        return self._with_next(page, host, target.decode("latin-1"))

    def _with_next(self, page: str, host: str | None, wanted: str) -> str:
        if page.startswith("https://") and self.host is not None and host is not None:
            wanted = f"https://{host}{wanted}"
        return page.replace(NEXT, quote(self.destinations.checked(wanted, host), safe=""))

    def link(self, route: Route, host: str | None) -> str | None:
        """Return the page for somebody whose form has just been refused; it leads nowhere on."""
        page = self._page(route, host)
        return None if page is None else page.replace(NEXT, quote("/", safe=""))

    def _page(self, route: Route, host: str | None) -> str | None:
        if route.login_url is not None:
            return route.login_url
        if not route.has_portal:
            return None
        return self._own_page(PORTAL, host)

    def _own_page(self, name: str, host: str | None) -> str | None:
        page = f"{self.path}/{name}"
        if self._has(name, host):
            return f"{page}?next={NEXT}"
        return None if self.host is None else f"https://{self.host}{page}?next={NEXT}"

    def _has(self, name: str, host: str | None) -> bool:
        found = self.router.match(host, f"{self.path}/{name}".encode(), "GET")
        endpoint = getattr(found.payload, "endpoint", None) if isinstance(found, Found) else None
        return endpoint is not None and endpoint.name == name


def leads_to(router: Router[Payload], host: str | None, path: bytes) -> bool:
    """Tell whether a GET of `path` on `host` has a route, or is a page of the gate's own (S4)."""
    found = router.match(host, path, "GET")
    if not isinstance(found, Found):
        return False
    if isinstance(found.payload, Route):
        return True
    endpoint = found.payload.endpoint
    return endpoint is not None and endpoint.is_destination
