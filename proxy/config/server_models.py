"""Sections about the process: server, health, log, branding."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema

from proxy.config.addresses import Address, AddressValue, PublicUrl, TrustedValue
from proxy.config.proxy_protocol_models import ProxyProtocolConfig
from proxy.config.response_models import HstsConfig, ResponseHeadersConfig
from proxy.config.secret import SecretValue
from proxy.config.strict import Section
from proxy.config.values import (
    VARIABLE,
    Count,
    Duration,
    FilePath,
    Flag,
    NoneWord,
    Size,
    Text,
    Token,
    one_or_many,
    parse_count,
)


def _parse_workers(value: object) -> int | Literal["auto"]:
    if value == "auto":
        return "auto"
    try:
        return parse_count(value, most=1_024)
    except ValueError as error:
        raise ValueError(f"{error}, or auto") from None


class LimitsConfig(Section):
    """Bounds of what one client may ask of one worker."""

    header_size: Size = 32 * 1024
    """Largest request head, and most trailers of a request, in bytes; more is 431."""
    header_timeout: Duration = 10.0
    """Longest time from the first byte of a request to the end of its head; then 408."""
    body_size: Annotated[Size | None, NoneWord()] = None
    """Largest request body; more is 413."""
    body_rate: Annotated[Size | None, NoneWord()] = 1024
    """Least mean rate of a request's body, in bytes a second since it began, looked at after 30 s.
    Time in which the gate itself does not read is not counted."""
    write_timeout: Duration = 60.0
    """Longest time in which a client takes nothing of what is written to it."""
    keepalive: Duration = 75.0
    """How long a connection may stay open without a request."""
    connections: Count = 20_000
    """Open client connections of one worker, TLS handshakes under way included."""
    connections_per_address: Annotated[Count | None, NoneWord()] = None
    """Those of one address, or of one /64 of IPv6, in one worker."""


class CertificateConfig(Section):
    """A further certificate, for the hosts that it names."""

    cert: FilePath
    """Certificate chain in PEM, the gate's own certificate first. Its SAN says for which hosts it
    is."""
    key: FilePath
    """Private key in PEM, without a pass phrase."""


class TlsServerConfig(Section):
    """TLS on the gate's TCP listeners."""

    cert: FilePath
    """Certificate chain in PEM, the gate's own certificate first."""
    key: FilePath
    """Private key in PEM, without a pass phrase."""
    certificates: list[CertificateConfig] = []
    """Further certificates: a client gets the one for the name that it asks for
    ([SNI](edge.md#several-certificates)), else `cert`."""
    client_ca: FilePath | None = None
    """Authorities in PEM. A client certificate that one of them has signed is required; by itself
    it gives no identity, a scheme of `type: mtls` [reads it](edge.md#client-certificates). Browsers
    add it by themselves, so `cross_site` counts on public routes too."""
    client_certificate: Literal["required", "optional"] = "required"
    """`optional`: who has no certificate may connect as well; what is shown must be one of
    `client_ca`."""


class ServerConfig(Section):
    """The public listeners and the processes behind them."""

    listen: Annotated[
        list[AddressValue],
        BeforeValidator(one_or_many, json_schema_input_type=AddressValue | list[AddressValue]),
    ] = Field(default=[Address("0.0.0.0", 8080)], min_length=1)
    """Addresses on which clients are served: `host:port`, `[IPv6]:port` or `unix:path`. One address
    needs no list."""
    workers: Annotated[
        int | Literal["auto"],
        PlainValidator(_parse_workers),
        WithJsonSchema(
            {
                "anyOf": [
                    {"const": "auto"},
                    {"type": "integer", "minimum": 1},
                    {"type": "string", "pattern": VARIABLE},
                ]
            }
        ),
    ] = "auto"
    """Worker processes; `auto` is the number of cores that the cgroup allows."""
    id: Token = "random"
    """The gate's name in `Via`, by which it knows a request that has come back to it (508).
    `random` makes one at every start; gates behind each other may share none."""
    public_url: PublicUrl | None = None
    """The origin that people see, where there is one, such as `https://shop.example.com`. Redirects
    and the same-origin check use it."""
    tls: TlsServerConfig | None = None
    """Certificate and key of the TCP listeners; without it they speak plain HTTP."""
    hsts: HstsConfig | None = None
    """`Strict-Transport-Security` for clients that use https ([edge](edge.md#hsts)). Absent: the
    application's own passes."""
    response_headers: ResponseHeadersConfig = ResponseHeadersConfig()
    """Headers of every answer, where its route does not say otherwise
    ([edge](edge.md#headers-of-answers))."""
    proxy_protocol: ProxyProtocolConfig | None = None
    """[PROXY protocol](edge.md#proxy-protocol), version 2, before everything else, TLS too. Absent:
    the kernel says who connects."""
    trusted_proxies: list[TrustedValue] = []
    """Networks (or the word `unix`) whose forwarding headers are believed. Nobody's are by
    default."""
    forwarded: Literal["x-forwarded", "forwarded"] = "x-forwarded"
    """The one family of forwarding headers that is read from trusted proxies; both are written."""
    limits: LimitsConfig = LimitsConfig()
    """Bounds for clients, per worker."""
    drain: Duration = 30.0
    """How long requests may still run after the gate was told to stop. Who waits longer is answered
    503 `draining`."""


class HealthConfig(Section):
    """The listener for probes and metrics: /healthz, /readyz and /metrics, nothing else."""

    listen: AddressValue = Address("127.0.0.1", 9902)
    """Where `/healthz`, `/readyz` and `/metrics` are answered, and nothing else."""


class AdminConfig(Section):
    """The listener of the admin API: listing and ending sessions, revoking tokens."""

    listen: AddressValue
    """`unix:path`, which is made with mode 0600, or `host:port` or `[IPv6]:port`, which needs a
    token."""
    token: SecretValue | None = None
    """What a program must send as `Authorization: Bearer`; at least 32 characters. Required on
    TCP."""


class LogConfig(Section):
    """What is logged, and how."""

    format: Literal["auto", "console", "json"] = "auto"
    """`auto` is `console` on a terminal, and `json` otherwise."""
    access: Flag = True
    """One line for each request."""


class BrandingConfig(Section):
    """What people see of the gate itself."""

    name: Text = "Latchgate"
    """The name on the gate's own pages."""
    logo: Annotated[FilePath | None, NoneWord()] = None
    """A picture before the name: SVG, PNG, WebP, AVIF, JPEG or GIF, told by its content, at most 64
    KiB. It is read at the start and is part of each page; scripts in an SVG do not run."""
