"""Requests that another proxy describes: what it says in its dialect, and nothing else (security.md, S13).

The proxy asks about a request that it will serve itself. Its question carries that request's method,
target, host, scheme and address in the headers of its dialect, each exactly once, and the client's own
headers beside them. What never belongs here: who may ask, and what is answered.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from proxy.core.forwarding import parse_hop, read_host
from proxy.core.headers import fold
from proxy.errors import ProxyError
from proxy.model import ClientInfo, Header, Peer, RequestView

CHECK: Final = b"/check"
"""Where a proxy asks; Envoy adds the target that it asks about."""
ANSWER: Final = b"/answer"
"""Where nginx fetches the answer for its client: `auth_request` shows it nothing but a status."""

OWN_PREFIX: Final = b"x-latchgate-"
"""Folded. What the gate tells a proxy about a request; no client may have said it."""

_METHOD: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}")
_SCHEMES: Final = {b"http": "http", b"https": "https", b"ws": "http", b"wss": "https"}
_PORTS: Final = {"http": 80, "https": 443}
_TAGGED: Final = re.compile(rb"/(?P<upstream>[A-Za-z0-9_.-]{1,128})(?P<strip>/[^?#]*)?")

_COMMON: Final = frozenset({b"x-forwarded-for", b"x-forwarded-proto"})
_FOREIGN: Final = frozenset(
    {
        b"x-original-method",
        b"x-original-uri",
        b"x-forwarded-method",
        b"x-forwarded-uri",
        b"x-forwarded-host",
    }
)
"""Folded. What some dialect describes requests by: in another dialect a client has sent it."""

_OF_THE_QUESTION: Final = frozenset(
    {
        b"content-length",
        b"transfer-encoding",
        b"te",
        b"trailer",
        b"expect",
        b"keep-alive",
        b"proxy-connection",
        b"http2-settings",
    }
)
"""Of the connection between proxy and gate, which tells nothing of the client's."""


class Misdescribed(ProxyError):
    """A proxy's question that does not say clearly what it asks about (403)."""

    code = "decision_misdescribed"


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one proxy describes requests."""

    name: str
    method: bytes | None
    """The header with the client's method; `None`: the question's own is it."""
    target: bytes | None
    """The header with the client's target; `None`: it stands behind the question's path."""
    host: bytes
    own_words: frozenset[bytes] = frozenset()
    """Folded. Headers that it writes about the way of each request, whatever a client sent."""
    shows_upgrades: bool = True
    """False where an `Upgrade` header never reaches the gate."""

    @property
    def described_by(self) -> frozenset[bytes]:
        """Every header of the description."""
        named = (self.method, self.target, self.host)
        return _COMMON | {name for name in named if name is not None}


DIALECTS: Final[Mapping[str, Dialect]] = {
    dialect.name: dialect
    for dialect in (
        Dialect("nginx", b"x-original-method", b"x-original-uri", b"host"),
        Dialect("haproxy", b"x-original-method", b"x-original-uri", b"host"),
        Dialect(
            "traefik",
            b"x-forwarded-method",
            b"x-forwarded-uri",
            b"x-forwarded-host",
            frozenset({b"x-forwarded-port", b"x-forwarded-server", b"x-real-ip"}),
            shows_upgrades=False,
        ),
        Dialect("caddy", b"x-forwarded-method", b"x-forwarded-uri", b"x-forwarded-host"),
        Dialect("envoy", None, None, b"host"),
    )
}


@dataclass(frozen=True, slots=True)
class Described:
    """What a proxy asks about."""

    view: RequestView
    """The client's request."""
    client: ClientInfo
    wants_answer: bool
    """True where the answer is for the client's eyes, not for the proxy's."""
    upstream: str | None
    """Where the proxy will send the request, if it has settled that already."""
    strip: bytes | None
    """The prefix that it will take off then; empty for none."""
    claimed: tuple[bytes, ...]
    """Names by which a client has tried to speak for the gate: they were left out of the view."""


def describe(check: RequestView, dialect: Dialect) -> Described:
    """Return the request that `check` asks about. Raises `Misdescribed` for whatever is not clear."""
    if check.has_body:
        raise Misdescribed("the question has a body")
    said = _description(check, dialect)
    if dialect.target is None:
        if not check.target.startswith(CHECK + b"/"):
            raise Misdescribed("asked at an unknown path")
        wants_answer, place = False, b""
        target, method = check.target[len(CHECK) :], check.method.encode("latin-1")
    else:
        wants_answer, place = _place(check.target)
        target, method = said[dialect.target], said[dialect.method or b""]
    if not target.startswith(b"/") and not (target == b"*" and method == b"OPTIONS"):
        raise Misdescribed("the target is not a path")
    if _METHOD.fullmatch(method) is None:
        raise Misdescribed("the method is no method")
    tagged = _TAGGED.fullmatch(place) if place else None
    headers, claimed = _client_headers(check, dialect, said[dialect.host])
    client = _client(said, said[dialect.host])
    peer = Peer(client.address, None, is_unix=False, is_tls=client.scheme == "https")
    return Described(
        view=RequestView(method.decode("ascii"), target, headers, peer),
        client=client,
        wants_answer=wants_answer,
        upstream=None if tagged is None else tagged["upstream"].decode("ascii"),
        strip=None if tagged is None else tagged["strip"] or b"",
        claimed=claimed,
    )


def _place(target: bytes) -> tuple[bool, bytes]:
    """Return whether the client's answer is wanted, and what the proxy has settled already."""
    if target in (b"/", CHECK):
        return False, b""
    if target == ANSWER:
        return True, b""
    place = target.removeprefix(CHECK)
    if place == target or _TAGGED.fullmatch(place) is None:
        raise Misdescribed("asked at an unknown path")
    return False, place


def _description(check: RequestView, dialect: Dialect) -> dict[bytes, bytes]:
    """Return the headers of the description: each there once, in this spelling, in no other family."""
    wanted = dialect.described_by
    for name, _ in check.headers:
        folded = fold(name)
        if folded in wanted:
            if name.lower() != folded:
                raise Misdescribed(f"another spelling of {folded.decode()}")
        elif folded in _FOREIGN and folded not in dialect.own_words:
            raise Misdescribed(f"{folded.decode()} is not of this dialect")
    said: dict[bytes, bytes] = {}
    for name in sorted(wanted):
        values = check.values(name)
        if len(values) != 1 or not values[0]:
            how = "missing" if not values or not any(values) else "there more than once"
            raise Misdescribed(f"{name.decode()} is {how}")
        said[name] = values[0]
    return said


def _client_headers(
    check: RequestView, dialect: Dialect, host: bytes
) -> tuple[tuple[Header, ...], tuple[bytes, ...]]:
    """Return the headers that the client sent, as far as the proxy shows them."""
    left_out = dialect.described_by | dialect.own_words | _OF_THE_QUESTION | {b"host"}
    kept: list[Header] = [(b"Host", host)]
    claimed: list[bytes] = []
    for name, value in check.headers:
        folded = fold(name)
        if folded.startswith(OWN_PREFIX):
            claimed.append(name)
        elif name.lower() not in left_out and (value or folded != b"upgrade"):
            kept.append((name, value))
    is_shown = any(name.lower() == b"upgrade" for name, _ in kept)
    is_websocket = any(name.lower() == b"sec-websocket-key" for name, _ in kept)
    if is_websocket and not is_shown:
        # Hop-by-hop, so that some proxies keep it to themselves; a handshake has its key (RFC 6455 §4.1).
        kept.append((b"Upgrade", b"websocket"))
    return tuple(kept), tuple(claimed)


def _client(said: Mapping[bytes, bytes], host: bytes) -> ClientInfo:
    """Return who the proxy says that the client is: the last of the addresses is its own word."""
    scheme = _SCHEMES.get(said[b"x-forwarded-proto"].lower())
    if scheme is None:
        raise Misdescribed("x-forwarded-proto is neither http nor https")
    address = parse_hop(said[b"x-forwarded-for"].rpartition(b",")[2].decode("latin-1"))
    if address is None:
        raise Misdescribed("x-forwarded-for does not end in an address")
    name, port = read_host(host) or (host.decode("latin-1").lower(), None)  # which the gate refuses
    return ClientInfo(str(address), scheme, name, port or _PORTS[scheme], is_trusted_peer=False)
