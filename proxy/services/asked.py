"""A request that the gate has read, and what can be said of it before anybody asks who sent it.

What never belongs here: credentials' worth, and decisions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from proxy.core.cookies import expire_headers, parse_cookies
from proxy.core.cross_site import CrossSitePolicy
from proxy.core.hosts import Host, parse_host
from proxy.core.own_cookies import is_plain_local
from proxy.core.paths import BadTarget, Target, decode_path
from proxy.model import ClientInfo, Header, Refusal, RequestView
from proxy.services.decision import Answer
from proxy.services.own import OwnEndpoint
from proxy.services.route import Route
from proxy.services.schemes.port import Ambiguous as AmbiguousCredential
from proxy.services.schemes.port import Carried, Fresh
from proxy.services.trace import Trace


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the gate's own, the same for everybody."""

    content_type: bytes
    render: Callable[[], bytes]
    cache_control: bytes = b"no-store"


@dataclass(frozen=True, slots=True)
class Reserved:
    """What the router finds below `login.path`: a page, an endpoint, or nothing."""

    page: Page | None = None
    endpoint: OwnEndpoint | None = None
    cross_site: CrossSitePolicy | None = None
    """Of an endpoint that leans on cookies; it makes no exceptions (security.md, S3)."""


Payload = Route | Reserved


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that has been read: which route, which path, by whom."""

    view: RequestView
    client: ClientInfo
    request_id: str
    target: Target
    route: Route
    path: bytes
    is_preflight: bool
    trace: Trace | None = None
    host: str | None = None
    told: tuple[Header, ...] = ()
    """Of every answer to whoever sent the credential that opened the route."""
    reported: Refusal | None = None
    """Why the route would refuse it, where it only reports (security.md, S14)."""

    @property
    def raw_target(self) -> bytes:
        """The origin-form of what was asked for, as it came."""
        return join(self.target.path, self.target.query)


def read_host(view: RequestView) -> Host | None:
    """Return the request's Host; `None` where HTTP/1.0 sent none (RFC 9112 §3.2)."""
    values = view.values(b"host")
    if len(values) > 1:
        raise BadTarget("host_invalid", "more than one Host header")
    if not values:
        if view.version >= (1, 1):
            raise BadTarget("host_invalid", "an HTTP/1.1 request without Host")
        return None
    return parse_host(values[0])


def check_authority(target: Target, host: Host | None) -> None:
    """Raise unless an absolute-form target's authority equals Host (security.md, P3)."""
    if target.authority is None:
        return
    if host is None or parse_host(target.authority) != host:
        raise BadTarget("host_invalid", "the target's authority is not the Host")


def texts(path: bytes) -> tuple[str, ...]:
    """Return the segments of a path as text."""
    return tuple(part.decode("utf-8", "replace") for part in decode_path(path))


def send_to(location: str, asked: Asked) -> Answer:
    """Return the answer that sends a page load elsewhere."""
    headers = (
        (b"Location", location.encode("ascii")),
        (b"Cache-Control", b"no-store"),
        (b"Vary", b"Cookie, Authorization, Accept, Sec-Fetch-Mode"),
        (b"Referrer-Policy", b"no-referrer"),
    )
    return Answer(303, asked.client, asked.request_id, headers, route=asked.route)


def join(path: bytes, query: bytes | None) -> bytes:
    """Return path and query as one target."""
    return path if query is None else b"%b?%b" % (path, query)


def carried_by(asked: Asked, fresh: Fresh | None) -> Carried:
    """Return what the request carries for schemes; `fresh`: see `Carried`."""
    return Carried(
        asked.view,
        asked.target.query,
        parse_cookies(asked.view.values(b"cookie")),
        asked.client.address,
        is_local=is_plain_local(asked.client),
        path=asked.target.path,
        client=asked.client,
        fresh=fresh,
        is_strict=not asked.route.may_be_stale,
    )


def added(asked: Asked) -> tuple[Header, ...]:
    """Return what the answer gets beside the headers that are its own."""
    cors = asked.route.cors
    own = () if cors is None else cors.response(asked.view.first(b"origin"))
    return own + asked.told


def forged_by(asked: Asked, *, is_ambient: bool) -> Refusal | None:
    """Return a refusal where another site may have made the browser send this (security.md, S3).

    A client certificate counts on public routes above all: there it is the only key. Whoever has
    none cannot reach them, but could lead the browser of somebody who has one to post there.
    """
    if not is_ambient and not asked.view.peer.has_client_certificate:
        return None
    refusal = asked.route.cross_site.check(asked.view, asked.client)
    if asked.trace is not None:
        asked.trace.cross_site = refusal or "passed"
    return refusal


def said_twice(twice: AmbiguousCredential, asked: Asked) -> Refusal:
    """Answer a credential that is there twice with different values (security.md, S2)."""
    place = twice.place
    if place.kind != "cookie":
        return Refusal("header_ambiguous", f"two different values of the {place.kind}")
    headers = expire_headers(twice.names, asked.client.host, asked.target.path)
    return Refusal("cookie_duplicate", f"two different values of cookie {place.name}", headers)
