"""What an upstream's client must know, compiled from the configuration at load."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field

from proxy.config.addresses import UpstreamServer
from proxy.config.upstream_models import HashBalance, UpstreamConfig, UpstreamTlsConfig

OwnAddress = tuple[str, int] | str
"""A listener of this gate: (IP address, port) as the kernel says it, or a unix socket's path."""


@dataclass(frozen=True, slots=True)
class UpstreamSettings:
    """One upstream. Times are seconds."""

    name: str
    servers: tuple[UpstreamServer, ...]
    is_hashed: bool = False
    """True: `hash_key` picks the server; False: the less busy of two random ones."""
    connect_s: float = 2.0
    """Bound of a connection attempt, TLS handshake included."""
    response_s: float = 60.0
    """From the end of the request to the response's head."""
    idle_s: float = 60.0
    """Without a byte of a body, in either direction."""
    keepalive_s: float = 4.0
    """Life of an unused connection."""
    tunnel_s: float | None = None
    """Without a byte in a tunnel, in either direction; `None`: no bound."""
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    """Needed where a server is https."""
    server_name: str | None = None
    """The name asked for and checked in TLS; default the server's host."""
    own_addresses: frozenset[OwnAddress] = frozenset()
    """This gate's own listeners, which are refused at connect (F7)."""

    @classmethod
    def from_config(
        cls, name: str, config: UpstreamConfig, own_addresses: frozenset[OwnAddress] = frozenset()
    ) -> UpstreamSettings:
        """Compile a configured upstream; raises OSError or ssl.SSLError for unusable TLS files."""
        has_tls = any(server.scheme == "https" for server in config.servers)
        return cls(
            name=name,
            servers=tuple(config.servers),
            is_hashed=isinstance(config.balance, HashBalance),
            connect_s=config.timeouts.connect,
            response_s=config.timeouts.response,
            idle_s=config.timeouts.idle,
            keepalive_s=config.timeouts.keepalive,
            tunnel_s=config.timeouts.tunnel,
            tls=tls_context(config.tls) if has_tls else None,
            server_name=config.tls.server_name,
            own_addresses=own_addresses,
        )


def tls_context(config: UpstreamTlsConfig) -> ssl.SSLContext:
    """Return a verifying client context; raises OSError or ssl.SSLError for unusable files."""
    context = ssl.create_default_context(cafile=config.ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if config.cert is not None:
        context.load_cert_chain(config.cert, config.key)
    return context
