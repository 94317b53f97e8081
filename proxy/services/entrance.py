"""The way in for somebody who has proved who they are: origin, target, session, cookie.

What never belongs here: how they proved it.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import Final, Protocol

from proxy.core.cookies import Cookie, find_cookie
from proxy.core.formats.native import cookie_digest
from proxy.core.hosts import parse_host
from proxy.core.paths import BadTarget, parse_target
from proxy.errors import ProxyError
from proxy.model import ClientInfo, Header
from proxy.services.sessions import Login, NewSession, Sessions

MAX_NEXT_CHARS: Final = 2048
HOME: Final = "/"

_NEXT: Final = re.compile(r"/(?![/\\])[\x21-\x5b\x5d-\x7e]*")
"""Origin-form in visible ASCII, without a backslash: what browsers cannot take for a host (S4)."""
_ODD_ESCAPE: Final = re.compile(r"%(?:[01][0-9A-Fa-f]|7[Ff]|5[Cc])")


class InsecureOrigin(ProxyError):
    """A login over plain http, where anybody in between could take it (security.md, S5)."""

    code = "insecure_origin"


class Targets(Protocol):
    """Knows what a target leads to."""

    def leads_to_a_page(self, host: str | None, path: bytes) -> bool:
        """Tell whether a GET of `path` reaches a route."""
        ...


@dataclass(frozen=True, slots=True)
class Opened:
    """A session, and what the browser is told."""

    session: NewSession
    headers: tuple[Header, ...] = field(repr=False)


class Entrance:
    """Lets people in to the session scheme of `login.scheme`."""

    def __init__(
        self,
        sessions: Sessions,
        targets: Targets,
        *,
        cookie: str,
        public_url: str | None,
        own_path: str,
    ) -> None:
        self._sessions = sessions
        self._targets = targets
        self._cookie = cookie
        self._public_url = public_url
        self.own_path = own_path
        """`login.path`: where the gate's own endpoints are."""

    def origin(self, client: ClientInfo) -> str:
        """Return the origin that the browser sees; raises `InsecureOrigin` (S5)."""
        origin = self._public_url or _origin_of(client)
        if origin.startswith("http://") and not _is_loopback(origin):
            raise InsecureOrigin("a login over plain http")
        return origin

    def target(self, text: str | None, client: ClientInfo) -> str:
        """Return `text` if it is a page of this host (S4); else the host's first page."""
        if text is None or len(text) > MAX_NEXT_CHARS or _NEXT.fullmatch(text) is None:
            return HOME
        path, _, _ = text.partition("?")
        if _ODD_ESCAPE.search(path):
            return HOME
        try:
            target = parse_target(text.encode("ascii"), "GET")
            host = parse_host(client.host.encode()).name
        except BadTarget:
            return HOME
        return text if self._targets.leads_to_a_page(host, target.path) else HOME

    async def let_in(
        self, login: Login, cookies: list[Cookie], now: float, *, is_secure: bool
    ) -> Opened:
        """Make a session and return it with its cookie; one of before is gone then (S1).

        Raises `StoreUnavailable`; `ValueError` for what no record may say.
        """
        name = self._cookie if is_secure else bare(self._cookie)
        session = await self._sessions.create(login, now)
        before = find_cookie(cookies, name.encode())
        if isinstance(before, bytes):
            await self._sessions.revoke(cookie_digest(before))
        text = f"{name}={session.cookie}; Path=/; HttpOnly; SameSite=Lax"
        value = (text + ("; Secure" if is_secure else "")).encode("ascii")
        return Opened(session, ((b"Set-Cookie", value),))

    async def turn_away(self, opened: Opened) -> None:
        """End a session whose cookie was not given out."""
        await self._sessions.revoke(opened.session.digest)


def bare(cookie: str) -> str:
    """Return a cookie's name on loopback http, where no prefix can be (S5)."""
    return cookie.removeprefix("__Host-").removeprefix("__Secure-")


def _origin_of(client: ClientInfo) -> str:
    scheme = client.scheme or "https"
    has_port = client.host.rpartition(":")[2].isdigit() and not client.host.endswith("]")
    standard = {"http": 80, "https": 443}[scheme]
    if has_port or client.port in (None, standard) or not client.is_trusted_peer:
        return f"{scheme}://{client.host}"
    return f"{scheme}://{client.host}:{client.port}"


def _is_loopback(origin: str) -> bool:
    try:
        name = parse_host(origin.partition("://")[2].encode()).name
    except BadTarget:
        return False
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False
