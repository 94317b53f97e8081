"""A request as it comes off a client connection: its head, checked, and its account.

What the parser lets through but must not pass is refused here, before anybody asks who it is.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.streams import StreamReader

from proxy.core.proxy_protocol import Source
from proxy.errors import ProxyError
from proxy.model import Peer, RequestView
from proxy.services.decision import Decision
from proxy.services.schemes.port import Fresh

if TYPE_CHECKING:
    from proxy.edge.tracing import Traced

BODY_GRACE_S: Final = 30.0
"""`body_rate` is looked at only after so many seconds of a body (reference.md §1)."""

LINGER_S: Final = 2.0
"""How long a refused body is read and thrown away, so that the client sees the answer."""

LINGER_BYTES: Final = 4 * 1024 * 1024

SHORT_BODY: Final = 64 * 1024
"""Bytes of a body that is sent on with its head, if all of it is here by then."""


class ClientLeft(ProxyError):
    """The client's connection is gone; nobody reads an answer."""


class BodyBroken(ProxyError):
    """The request body broke off or is not HTTP (400); it must not be passed off as complete."""

    code = "bad_request"


class BodyTooSlow(ProxyError):
    """The request body came more slowly than `limits.body_rate` (408)."""

    code = "request_timeout"


class BodyTooLarge(ProxyError):
    """The request body exceeds `limits.body_size` (413)."""

    code = "body_too_large"


class TooMuchAround(ProxyError):
    """Trailers or chunk extensions of the request body exceed `limits.header_size` (431)."""

    code = "headers_too_large"


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """`server.limits` of reference.md §1: bytes and seconds; `None` is "none"."""

    header_size: int = 32 * 1024
    header_timeout: float = 10.0
    body_size: int | None = None
    body_rate: int | None = 1024
    write_timeout: float = 60.0
    keepalive: float = 75.0


@dataclass(slots=True)
class Incoming:
    """One request of a connection: its head, its body still to be read, and its account."""

    view: RequestView
    payload: StreamReader
    started_at: float
    started_mono: float
    has_body: bool
    length: int | None
    """Content-Length; `None` with a chunked body."""
    keeps_alive: bool
    upgrade: str | None
    """The `Upgrade` token of a request that may become a tunnel, in lower case."""
    expects_continue: bool
    body_size: int | None = None
    """The most bytes of its body, once its route is known; `None`: any number."""
    bytes_in: int = 0
    bytes_out: int = 0
    is_answered: bool = False
    """True once the head of a final response was written."""
    is_event_stream: bool = False
    decision: Decision | None = None
    """What was decided of it already, where somebody did."""
    fresh: Fresh | None = None
    """A credential that was looked up for it already (R9)."""
    under: object = None
    """Whose word `decision` and `fresh` are: a lane, and so a configuration."""
    trace: Traced | None = None
    """What is to be done about its trace; `None`: nothing."""
    waited_s: float = field(default=0.0, repr=False)
    """Time spent waiting for the client's body; what `body_rate` is measured over."""


@dataclass(frozen=True, slots=True)
class HeadError:
    """A head that is not a request: the code of its answer, and its kind for the log."""

    code: str
    detail: str


def read_head(
    message: Any, payload: Any, peer: Peer, limits: ConnectionLimits, mono: float
) -> Incoming | HeadError:
    """Return the request of aiohttp's `message`, or why it is none. `mono`: loop time."""
    version = (message.version.major, message.version.minor)
    if message.path is None:  # what aiohttp makes of CONNECT without a target
        return HeadError("bad_request", "no target")
    target = message.path.encode("utf-8", "surrogateescape")
    view = RequestView(message.method, target, message.raw_headers, peer, version)
    error = check_head(view, limits.header_size)
    if error is not None:
        return error
    length = view.first(b"content-length")
    view.has_body = message.chunked or (length is not None and int(length) > 0)
    expect = view.first(b"expect")
    if expect is not None and expect.lower() != b"100-continue":
        return HeadError("expectation_failed", "Expect is not 100-continue")
    return Incoming(
        view=view,
        payload=payload,
        started_at=time.time(),
        started_mono=mono,
        has_body=view.has_body,
        length=int(length) if length is not None else None,
        keeps_alive=_wants_keepalive(view),
        upgrade=_upgrade_token(view),
        expects_continue=expect is not None and version >= (1, 1) and view.has_body,
    )


def check_length(incoming: Incoming) -> None:
    """Raise BodyTooLarge where Content-Length alone says so, before anything is sent on."""
    limit = incoming.body_size
    if limit is not None and incoming.length is not None and incoming.length > limit:
        raise BodyTooLarge("Content-Length exceeds body_size")


def take_whole(incoming: Incoming) -> bytes:
    """Return the body of a request if all of it has come and it is short, and count it; else `b""`.

    A body whose length is not said before its end, or that waits for a 100, never is whole.
    """
    payload, length = incoming.payload, incoming.length
    if not length or length > SHORT_BODY or incoming.expects_continue or not payload.is_eof():
        return b""
    if payload.exception() is not None or payload.total_bytes != length:
        return b""
    data = payload.read_nowait()
    incoming.bytes_in += len(data)
    return data


def patience(incoming: Incoming, rate: int | None) -> float | None:
    """Return the seconds until the mean since the body began falls below `rate` bytes a second.

    Only time spent waiting for the client counts; the first `BODY_GRACE_S` seconds are free.
    """
    if rate is None:
        return None
    allowed = max(BODY_GRACE_S, (incoming.bytes_in + 1) / rate)
    return max(0.0, allowed - incoming.waited_s)


def peer_of(transport: asyncio.BaseTransport, told: Source | None = None) -> Peer:
    """Return who is at the other end, as the kernel and TLS tell it.

    `told`: what a trusted proxy said of it before (PROXY protocol); it stands in the kernel's place.
    """
    name = transport.get_extra_info("peername")
    local = transport.get_extra_info("sockname")
    tls = transport.get_extra_info("ssl_object")
    sock = transport.get_extra_info("socket")
    is_unix = sock is not None and sock.family == socket.AF_UNIX
    is_inet = isinstance(name, tuple) and len(name) >= 2
    certificate = isinstance(tls, (ssl.SSLObject, ssl.SSLSocket)) and tls.getpeercert(
        binary_form=True
    )
    address, port = (name[0].partition("%")[0], name[1]) if is_inet else (None, None)
    if told is not None:
        (address, port), is_unix = told, False
    return Peer(
        address=address,
        port=port,
        is_unix=is_unix,
        is_tls=tls is not None,
        has_client_certificate=bool(certificate),
        certificate=certificate or None,
        local_port=local[1] if isinstance(local, tuple) and len(local) >= 2 else None,
    )


def classify(error: HttpProcessingError) -> HeadError:
    """Name a parse error by its kind; its text echoes the input and is not kept (S15)."""
    if isinstance(error, LineTooLong):
        return HeadError("headers_too_large", "LineTooLong")
    return HeadError("bad_request", type(error).__name__)


def check_head(view: RequestView, header_size: int) -> HeadError | None:
    """Name what the parser lets through but must not pass (F1, RFC 9112 §6.1, §6.3)."""
    if view.version not in ((1, 0), (1, 1)):
        return HeadError("version_not_supported", "neither HTTP/1.1 nor HTTP/1.0")
    size = len(view.method) + len(view.target) + 14
    size += sum(len(name) + len(value) + 4 for name, value in view.headers)
    if size > header_size:
        return HeadError("headers_too_large", "the head exceeds header_size")
    codings = view.values(b"transfer-encoding")
    lengths = view.values(b"content-length")
    if codings and (len(codings) > 1 or codings[0].lower() != b"chunked"):
        return HeadError("bad_request", "a transfer coding other than chunked")
    if codings and (lengths or view.version < (1, 1)):
        return HeadError("bad_request", "chunked with a length, or in HTTP/1.0")
    if len(lengths) > 1 or (lengths and not lengths[0].isdigit()):
        return HeadError("bad_request", "Content-Length is not one number")
    return None


def _connection_tokens(view: RequestView) -> set[bytes]:
    tokens = b",".join(view.values(b"connection")).lower().split(b",")
    return {token.strip() for token in tokens}


def _wants_keepalive(view: RequestView) -> bool:
    tokens = _connection_tokens(view)
    if b"close" in tokens or _says_close(view.values(b"proxy-connection")):
        return False  # the parser takes the one for the other, and reads nothing behind it
    if view.method == "CONNECT":
        return False
    return view.version >= (1, 1) or b"keep-alive" in tokens


def _says_close(values: list[bytes]) -> bool:
    return any(token.strip() == b"close" for token in b",".join(values).lower().split(b","))


def awaits_upgrade(message: Any, payload: Any) -> bool:
    """Tell whether what follows `message` may be a tunnel's bytes, and is not to be parsed yet."""
    return bool(message.upgrade) and message.method == "GET" and payload.is_eof()


def _upgrade_token(view: RequestView) -> str | None:
    """Return the one token of a request that may become a tunnel: GET, HTTP/1.1, no body (F4)."""
    values = view.values(b"upgrade")
    if len(values) != 1 or view.method != "GET" or view.version < (1, 1) or view.has_body:
        return None
    if b"upgrade" not in _connection_tokens(view):
        return None
    token = values[0].strip().lower()
    return token.decode("latin-1") if token and b"," not in token else None
