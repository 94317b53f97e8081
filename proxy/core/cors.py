"""CORS at the gate (reference.md §1, Matching; Fetch standard §3.2).

A route with `cors` origins: the gate answers preflights and writes Access-Control-* itself. What
never belongs here: whether a request is let in (see proxy.core.cross_site).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Final, Literal

from proxy.core.origins import origin_of, serialise
from proxy.model import Header, RequestView

MAX_METHOD_LENGTH: Final = 64
MAX_ECHO_BYTES: Final = 4096
"""Of a requested header list that `headers: any` gives back."""

_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++")
_TOKEN_LIST: Final = re.compile(
    rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++(?:[ \t]*+,[ \t]*+[!#$%&'*+\-.^_`|~0-9A-Za-z]++)*+"
)

_VARY: Final = (b"Vary", b"Origin")
_VARY_PREFLIGHT: Final = (
    b"Vary",
    b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
)


def is_preflight(view: RequestView) -> str | None:
    """Return the method that a CORS preflight asks for; `None` for every other request.

    A preflight is OPTIONS with one Origin and one Access-Control-Request-Method that is a method.
    """
    if view.method != "OPTIONS":
        return None
    methods = view.values(b"access-control-request-method")
    if len(methods) != 1 or len(view.values(b"origin")) != 1:
        return None
    method = methods[0]
    if len(method) > MAX_METHOD_LENGTH or _TOKEN.fullmatch(method) is None:
        return None
    return method.decode("ascii")


class CorsPolicy:
    """`cors:` of one route, compiled to bytes.

    `origins` are serialised origins, never `*` or `null`; `headers` is `any` or the names that a
    page may send; `max_age` in seconds; `methods` those of the route (empty: each that is asked
    for); `exposed` the headers of an answer that a page may read. Raises `ValueError` for what cannot be.
    """

    def __init__(
        self,
        origins: Collection[str],
        *,
        credentials: bool = False,
        headers: Literal["any"] | Sequence[str] = "any",
        max_age: float = 600,
        methods: Iterable[str] = (),
        exposed: Sequence[str] = (),
    ) -> None:
        self._origins = frozenset(serialise(origin_of(origin)) for origin in origins)
        self.credentialed_origins = tuple(origins) if credentials else ()
        """What counts as listed for S3 (security.md)."""
        self._credentials: tuple[Header, ...] = (
            ((b"Access-Control-Allow-Credentials", b"true"),) if credentials else ()
        )
        self._headers = None if headers == "any" else _names(headers)
        self._max_age = (b"Access-Control-Max-Age", b"%d" % max_age)
        self._exposed: tuple[Header, ...] = (
            ((b"Access-Control-Expose-Headers", ", ".join(exposed).encode("ascii")),)
            if exposed
            else ()
        )
        self._methods = b", ".join(name.encode("ascii") for name in sorted(set(methods)))

    def preflight(self, view: RequestView) -> tuple[Header, ...]:
        """Return the headers of the answer to a preflight (of which `is_preflight` is true).

        A page of another origin gets no Access-Control-* at all, so its browser refuses.
        """
        method = is_preflight(view)
        allowed = self._allow(view.first(b"origin"))
        if method is None or not allowed:
            return (_VARY_PREFLIGHT,)
        answer = [*allowed, *self._credentials]
        answer.append((b"Access-Control-Allow-Methods", self._methods or method.encode("ascii")))
        names = self._headers
        if names is None:
            names = _echo(view.values(b"access-control-request-headers"))
        if names:
            answer.append((b"Access-Control-Allow-Headers", names))
        answer += (self._max_age, _VARY_PREFLIGHT)
        return tuple(answer)

    def response(self, origin: bytes | None) -> tuple[Header, ...]:
        """Return what replaces Access-Control-* on a response to a request of `origin`."""
        allowed = self._allow(origin)
        return (*allowed, *self._credentials, *self._exposed, _VARY) if allowed else (_VARY,)

    def _allow(self, origin: bytes | None) -> tuple[Header, ...]:
        if origin is None or origin not in self._origins:
            return ()
        return ((b"Access-Control-Allow-Origin", origin),)


def _names(headers: Sequence[str]) -> bytes:
    """Return the configured header names as one value; `ValueError` for what is no name."""
    for name in headers:
        if not name.isascii() or _TOKEN.fullmatch(name.encode("ascii")) is None or name == "*":
            raise ValueError(f"{name!r} is not a header name")
    return ", ".join(headers).lower().encode("ascii")


def _echo(values: list[bytes]) -> bytes:
    """Return the requested names if they are names and nothing else, for `headers: any`.

    `*` would not do: it never covers Authorization, and with credentials it is a literal name.
    """
    wanted = b", ".join(values)
    if len(wanted) > MAX_ECHO_BYTES or _TOKEN_LIST.fullmatch(wanted) is None:
        return b""
    return wanted
