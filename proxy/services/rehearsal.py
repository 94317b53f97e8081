"""Requests that nobody has sent: what the gate would be given for them, to see what it decides.

The gate is the real one. What it would need others for is replaced: upstreams that are never
connected to, and assertions that nobody signs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from proxy.adapters.upstreams import Upstream, UpstreamSettings
from proxy.config.models import Config
from proxy.config.request_line import RequestLine
from proxy.model import Header, Identity, Peer, RequestView
from proxy.services.assembly import Assembly, assemble
from proxy.services.proofs import Prover
from proxy.services.routes import Parts
from proxy.services.schemes.port import Scheme

STRANGER: Final = Peer("192.0.2.1", 49152, is_unix=False, is_tls=False)
"""A client that no network trusts: an address of RFC 5737, which belongs to nobody."""
UNSIGNED: Final = "(signed for each request)"
NAMELESS_HOST: Final = "localhost"
GATE_ID: Final = "latchgate"


@dataclass(frozen=True, slots=True)
class UnsignedMinter:
    """Stands where assertions are signed: no key is needed, and nothing that could be used is made."""

    def mint(self, identity: Identity, audience: str, now: float, *, as_bearer: bool) -> str:
        """Return words in the place of a token."""
        del identity, audience, now, as_bearer
        return UNSIGNED


def assemble_rehearsal(
    config: Config, schemes: Mapping[str, Scheme], prover: Prover | None = None
) -> Assembly:
    """Return the gate of `config` over `schemes`; it connects to nothing by itself."""
    upstreams = {
        name: Upstream(UpstreamSettings(name, tuple(upstream.servers)))
        for name, upstream in config.upstreams.items()
    }
    configured = config.server.id
    parts = Parts(schemes, upstreams, lambda: b"", UnsignedMinter(), prover=prover)
    return assemble(config, parts, GATE_ID if configured == "random" else configured)


def request_view(
    config: Config,
    line: RequestLine,
    headers: Iterable[Header] = (),
    peer: Peer = STRANGER,
) -> RequestView:
    """Return the request as it would come off the wire.

    A header called Host takes the place of the URL's. Without any host it is `default_authority`.
    """
    given = tuple(headers)
    has_host = any(name.lower() == b"host" for name, _ in given)
    authority = line.authority or default_authority(config)
    host: tuple[Header, ...] = () if has_host else ((b"Host", authority.encode()),)
    is_tls = not peer.is_unix and is_secure(config, line)
    port = 443 if is_tls else 80
    return RequestView(
        method=line.method,
        target=line.target.encode("ascii"),
        headers=(*host, *given),
        peer=Peer(peer.address, peer.port, peer.is_unix, is_tls, local_port=port),
    )


def is_secure(config: Config, line: RequestLine) -> bool:
    """Tell whether the client uses https: as the URL says, else as people see the gate."""
    if line.scheme is not None:
        return line.scheme == "https"
    public = config.server.public_url
    return config.server.tls is not None or (public is not None and public.startswith("https:"))


def default_authority(config: Config) -> str:
    """Return the host that a path without one is asked of.

    That of `server.public_url`, else the only name that routes give, else `localhost`.
    """
    public = config.server.public_url
    if public is not None:
        return public.partition("://")[2]
    named = {route.match.host for route in config.routes if route.match.host is not None}
    if len(named) == 1 and not (only := named.pop()).startswith("*"):
        return only
    return NAMELESS_HOST
