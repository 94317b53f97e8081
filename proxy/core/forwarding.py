"""Who the client is, and what the upstream is told about the way here (security.md, H5).

One family of forwarding headers is read, from trusted peers only; all of them are written anew.
What never belongs here: removing what the client sent (proxy.core.headers).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
)
from typing import Final, Literal

from proxy.core.hosts import parse_host
from proxy.core.paths import BadTarget
from proxy.model import ClientInfo, Header, Peer, RequestView

Family = Literal["x-forwarded", "forwarded"]
Trusted = IPv4Network | IPv6Network | Literal["unix"]

MAX_HOPS: Final = 32
"""Trusted hops followed back; a longer chain comes from nowhere known."""
MAX_REQUEST_ID: Final = 128

_UNKNOWN: Final = "unknown"
"""RFC 7239 §6.2: written first in a chain whose begin is not known, so that no application takes
the next hop for the client."""

_MEMO_ENTRIES: Final = 4096
_MEMO_TEXT: Final = 128
"""Longer hosts and chains are written afresh: the memo stays within some MiB."""
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_SCHEMES: Final = {"http": "http", "https": "https", "ws": "http", "wss": "https"}

_PREFIX: Final = re.compile(r"(?:/[A-Za-z0-9._~!$&'()*+:@=%-]+)+")
_ADDRESS: Final = re.compile(r"(?:(\d{1,3}(?:\.\d{1,3}){3})|\[([0-9a-fA-F:.]+)\])(?::\d{1,5})?")
_PAIR: Final = re.compile(
    r'[ \t]*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)=([!#$%&\'*+.^_`|~0-9A-Za-z:\[\]-]+|"(?:[^"\\]|\\.)*")[ \t]*'
)
"""One parameter of Forwarded; colons and brackets outside quotes are common mistakes, and clear."""
_VISIBLE: Final = re.compile(rb"[\x21-\x7e]{1,128}")


class ForwardingPolicy:
    """`server.trusted_proxies` and `server.forwarded`, compiled."""

    def __init__(self, trusted: Sequence[Trusted] = (), family: Family = "x-forwarded") -> None:
        self._networks = tuple(network for network in trusted if network != "unix")
        self._trusts_unix = "unix" in trusted
        self._reads_rfc7239 = family == "forwarded"
        self._peers: dict[str, tuple[str, bool]] = {}
        self._written: dict[tuple[object, ...], tuple[Header, ...]] = {}

    def read(self, view: RequestView) -> ClientInfo:
        """Return who sent the request, through the trusted hops (H5). Never raises.

        `scheme` is `None` on a unix socket and where a trusted peer does not name it; `host` is
        the request's Host, not checked here, unless a trusted peer names another.
        """
        peer = view.peer
        address, is_trusted = self.known_peer(peer)
        raw_host = view.first(b"host") or b""
        host, port = read_host(raw_host) or (raw_host.decode("latin-1").lower(), None)
        if not is_trusted:
            scheme = None if peer.is_unix else "https" if peer.is_tls else "http"
            return ClientInfo(
                address, scheme, host, port or _default_port(scheme), is_trusted_peer=False
            )
        told = self._read_rfc7239(view) if self._reads_rfc7239 else _read_x_forwarded(view)
        client, chain = self._walk(address, told.addresses)
        if told.host is not None:
            host, port = told.host
        return ClientInfo(
            address=client,
            scheme=told.scheme,
            host=host,
            port=told.port or port or _default_port(told.scheme),
            is_trusted_peer=True,
            forwarded_chain=chain,
            prefix=told.prefix,
        )

    def write(
        self,
        view: RequestView,
        client: ClientInfo,
        *,
        gate_id: str,
        request_id: str,
        prefix: bytes | None = None,
    ) -> list[Header]:
        """Return the forwarding headers, Via and X-Request-Id for the upstream.

        The chain begins with the client: what a client claims to stand behind is not repeated.
        `prefix` is the path that the route stripped. Via is a line of its own, to be put behind
        the client's (RFC 9110 §7.6.3).
        """
        peer = view.peer
        key = (
            peer.address,
            client.forwarded_chain,
            client.scheme,
            client.host,
            client.port,
            client.prefix,
            prefix,
            view.version,
            gate_id,
        )
        headers = self._written.get(key)
        if headers is None:
            address, _ = self.known_peer(peer)
            headers = _render(address, view.version, client, gate_id, prefix)
            if len(client.host) + len(client.forwarded_chain or "") <= _MEMO_TEXT:
                if len(self._written) >= _MEMO_ENTRIES:
                    self._written.clear()
                self._written[key] = headers
        return [*headers, (b"X-Request-Id", request_id.encode("ascii"))]

    def request_id(self, view: RequestView, client: ClientInfo) -> str | None:
        """Return a trusted peer's X-Request-Id: one, at most 128 visible ASCII characters."""
        if not client.is_trusted_peer:
            return None
        values = view.values(b"x-request-id")
        if len(values) != 1 or _VISIBLE.fullmatch(values[0]) is None:
            return None
        return values[0].decode("ascii")

    def known_peer(self, peer: Peer) -> tuple[str | None, bool]:
        """Return the peer's address, IPv4 where it is mapped, and whether it is trusted."""
        if peer.is_unix or peer.address is None:
            return None, peer.is_unix and self._trusts_unix
        known = self._peers.get(peer.address)
        if known is None:
            address = _parse_address(peer.address.partition("%")[0])
            if address is None:
                return None, False
            known = (str(address), self._trusts(address))
            if len(self._peers) >= _MEMO_ENTRIES:
                self._peers.clear()
            self._peers[peer.address] = known
        return known

    def _trusts(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self._networks)

    def _walk(self, peer: str | None, addresses: list[str] | None) -> tuple[str | None, str | None]:
        """Return the right-most address that is not trusted, and the chain from there on.

        Are all of them trusted, the client is the first. A hop that cannot be parsed hides
        whoever came before it: unknown.
        """
        if addresses is None:
            return peer, None
        chain: list[str] = []
        for text in reversed(addresses):
            address = parse_hop(text) if len(chain) < MAX_HOPS else None
            if address is None:
                return None, ", ".join((_UNKNOWN, *reversed(chain)))
            chain.append(str(address))
            if not self._trusts(address):
                break
        chain.reverse()
        return chain[0], ", ".join(chain)

    @staticmethod
    def _read_rfc7239(view: RequestView) -> _Told:
        values = view.values(b"forwarded")
        if not values:
            return _Told()
        elements = _parse_forwarded(b",".join(values).decode("latin-1"))
        if elements is None:
            return _Told(addresses=[_UNKNOWN])
        nearest = elements[-1]
        return _Told(
            addresses=[element.get("for", _UNKNOWN) for element in elements],
            scheme=_SCHEMES.get(nearest.get("proto", "").lower()),
            host=read_host(nearest.get("host", "").encode("latin-1")),
        )


class _Told:
    """What a trusted peer says."""

    __slots__ = ("addresses", "host", "port", "prefix", "scheme")

    def __init__(
        self,
        addresses: list[str] | None = None,
        scheme: str | None = None,
        host: tuple[str, int | None] | None = None,
        port: int | None = None,
        prefix: str | None = None,
    ) -> None:
        self.addresses = addresses
        self.scheme = scheme
        self.host = host
        self.port = port
        self.prefix = prefix


def is_loop(view: RequestView, gate_id: str) -> bool:
    """Tell whether the request has been here before: Via names this gate (F7)."""
    values = view.values(b"via")
    if not values:
        return False
    own = gate_id.lower().encode("ascii")
    for value in values:
        for element in value.lower().split(b","):
            words = element.split(None, 2)
            if len(words) > 1 and words[1] == own:
                return True
    return False


def _read_x_forwarded(view: RequestView) -> _Told:
    chain = view.values(b"x-forwarded-for")
    return _Told(
        addresses=b",".join(chain).decode("latin-1").split(",") if chain else None,
        scheme=_SCHEMES.get(_last(view.values(b"x-forwarded-proto")).lower()),
        host=read_host(_last(view.values(b"x-forwarded-host")).encode("latin-1")),
        port=_parse_port(_last(view.values(b"x-forwarded-port"))),
        prefix=_checked_prefix(_last(view.values(b"x-forwarded-prefix"))),
    )


def _last(values: list[bytes]) -> str:
    """Return the last member of a list header: the nearest hop's word; empty without one."""
    if not values:
        return ""
    return values[-1].rpartition(b",")[2].strip().decode("latin-1")


def read_host(value: bytes) -> tuple[str, int | None] | None:
    """Return a host as text, with the port that it names; `None` if it is no host."""
    try:
        host = parse_host(value)
    except BadTarget:
        return None
    if not host.port:
        return host.name, None
    return f"{host.name}:{host.port}", host.port


def _default_port(scheme: str | None) -> int | None:
    return None if scheme is None else _DEFAULT_PORTS[scheme]


def _checked_prefix(text: str) -> str | None:
    stripped = text.rstrip("/")
    if len(stripped) > 1024 or _PREFIX.fullmatch(stripped) is None:
        return None
    if any(segment in (".", "..") for segment in stripped.split("/")):
        return None
    return stripped


def _parse_port(text: str) -> int | None:
    if not (text.isascii() and text.isdigit() and len(text) <= 5):
        return None
    port = int(text)
    return port if 0 < port < 65536 else None


def _parse_address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return None
        return address.ipv4_mapped or address
    return address


def parse_hop(text: str) -> IPv4Address | IPv6Address | None:
    """Return the address of one hop; a port behind it (`1.2.3.4:5`, `[::1]:5`) is dropped."""
    stripped = text.strip(" \t")
    if stripped.count(":") > 1 and stripped[:1] != "[":
        return _parse_address(stripped)
    match = _ADDRESS.fullmatch(stripped)
    return None if match is None else _parse_address(match[1] or match[2])


def _parse_forwarded(text: str) -> list[dict[str, str]] | None:
    """Return the elements of a Forwarded header (RFC 7239 §4), names lower case.

    `None` for anything else than its grammar, a parameter twice in one element included: what one
    hop wrote cannot be told from what another did.
    """
    elements: list[dict[str, str]] = [{}]
    position = 0
    while True:
        match = _PAIR.match(text, position)
        if match is None:
            return None
        name, value = match[1].lower(), match[2]
        if name in elements[-1]:
            return None
        if value[0] == '"':
            value = re.sub(r"\\(.)", r"\1", value[1:-1])
        elements[-1][name] = value
        position = match.end()
        if position == len(text):
            return elements
        if text[position] == ",":
            elements.append({})
        elif text[position] != ";":
            return None
        position += 1


def _render(
    peer: str | None,
    version: tuple[int, int],
    client: ClientInfo,
    gate_id: str,
    prefix: bytes | None,
) -> tuple[Header, ...]:
    chain = [] if client.forwarded_chain is None else client.forwarded_chain.split(", ")
    if peer is not None or not chain:
        chain.append(peer or _UNKNOWN)
    host = client.host if read_host(client.host.encode("latin-1")) else ""
    headers: list[Header] = [(b"X-Forwarded-For", ", ".join(chain).encode("ascii"))]
    if client.scheme is not None:
        headers.append((b"X-Forwarded-Proto", client.scheme.encode("ascii")))
    if host:
        headers.append((b"X-Forwarded-Host", host.encode("ascii")))
    if client.port is not None:
        headers.append((b"X-Forwarded-Port", b"%d" % client.port))
    outer = (client.prefix or "").encode("ascii") + (prefix or b"")
    if outer:
        headers.append((b"X-Forwarded-Prefix", outer))
    headers.append((b"Forwarded", _forwarded(chain, client.scheme, host)))
    headers.append((b"Via", b"%d.%d %b" % (*version, gate_id.encode("ascii"))))
    return tuple(headers)


def _forwarded(chain: list[str], scheme: str | None, host: str) -> bytes:
    """Return the chain in RFC 7239's words; the client's element has its host and scheme."""
    elements = [f'for="[{hop}]"' if ":" in hop else f"for={hop}" for hop in chain]
    if host:
        elements[0] += f';host="{host}"' if not host.replace(".", "").isalnum() else f";host={host}"
    if scheme is not None:
        elements[0] += f";proto={scheme}"
    return ", ".join(elements).encode("ascii")
