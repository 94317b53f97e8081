"""The section about proxies that ask the gate instead of standing behind it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from proxy.config.addresses import AddressValue, TrustedValue
from proxy.config.strict import Section
from proxy.config.values import one_or_many

DialectName = Literal["nginx", "traefik", "caddy", "envoy", "haproxy"]


class CallerConfig(Section):
    """One proxy, or a network of proxies of one kind."""

    from_: TrustedValue = Field(alias="from")
    """The address or network that a proxy asks from; no two callers share an address, and nobody is
    "everybody"."""
    dialect: DialectName
    """How that proxy describes a request, and how it is answered."""


class DecisionConfig(Section):
    """The listener that other proxies ask about requests which they serve themselves."""

    listen: AddressValue
    """`host:port`, `[IPv6]:port` or `unix:path`; every worker listens there."""
    callers: Annotated[
        list[CallerConfig],
        BeforeValidator(one_or_many, json_schema_input_type=CallerConfig | list[CallerConfig]),
    ] = Field(min_length=1)
    """Who may ask. Everybody else is answered with 403 and nothing more."""
