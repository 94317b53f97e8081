"""What an upstream's client must know, compiled from the configuration at load."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from proxy.config.addresses import UpstreamServer
from proxy.config.upstream_models import HashBalance, UpstreamConfig, UpstreamTlsConfig
from proxy.core.standing import Ejection

OwnAddress = tuple[str, int] | str
"""A listener of this gate: (IP address, port) as the kernel says it, or a unix socket's path."""


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """What is asked, how often, and which answers are good. Times are seconds."""

    path: bytes
    interval_s: float = 5.0
    timeout_s: float = 2.0
    """From the beginning of the connection to the answer's head."""
    statuses: frozenset[int] = frozenset({200})
    failures: int = 2
    """Failed checks in a row that take a server out."""
    host: bytes | None = None
    """The Host to send; `None`: the server's own."""


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
    tls: ssl.SSLContext | None = field(default=None, repr=False, compare=False)
    """Needed where a server is https."""
    tls_files: bytes = field(default=b"", repr=False)
    """Digest of what `tls` was made of: two contexts are never equal."""
    server_name: str | None = None
    """The name asked for and checked in TLS; default the server's host."""
    own_addresses: frozenset[OwnAddress] = frozenset()
    """This gate's own listeners, which are refused at connect (F7)."""
    ejection: Ejection | None = field(default_factory=Ejection)
    """When a server that fails is left alone; `None`: never."""
    check: HealthCheck | None = None
    """How servers are checked; `None`: by what becomes of requests alone."""
    retry_share: float = 0.2
    """Second attempts (F3), as a share of requests."""
    most_connections: int | None = None
    """To each server, per worker."""
    most_waiting: int = 100
    """Requests that wait for one of `most_connections` of a server."""
    resolve_s: float = 30.0
    """How long the addresses of a name are good."""

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
            tls_files=_digest(config.tls) if has_tls else b"",
            server_name=config.tls.server_name,
            own_addresses=own_addresses,
            ejection=_ejection(config),
            check=_check(config),
            retry_share=config.retries / 100,
            most_connections=config.limits.connections,
            most_waiting=config.limits.waiting,
            resolve_s=config.resolve,
        )


def _ejection(config: UpstreamConfig) -> Ejection | None:
    eject = config.eject
    return None if eject is None else Ejection(eject.failures, eject.rest, eject.longest)


def _check(config: UpstreamConfig) -> HealthCheck | None:
    health = config.health
    if health is None:
        return None
    is_named = config.host not in ("preserve", "upstream")
    return HealthCheck(
        path=health.path.encode("ascii"),
        interval_s=health.interval,
        timeout_s=health.timeout,
        statuses=frozenset(health.status),
        failures=health.failures,
        host=config.host.encode("ascii") if is_named else None,
    )


def _digest(config: UpstreamTlsConfig) -> bytes:
    found = sha256()
    for file in (config.ca, config.cert, config.key):
        found.update(b"-" if file is None else sha256(Path(file).read_bytes()).digest())
    return found.digest()


def tls_context(config: UpstreamTlsConfig) -> ssl.SSLContext:
    """Return a verifying client context; raises OSError or ssl.SSLError for unusable files."""
    context = ssl.create_default_context(cafile=config.ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if config.cert is not None:
        context.load_cert_chain(config.cert, config.key)
    return context
