"""The section about clients that come without TLS."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, WithJsonSchema

from proxy.config.addresses import AddressValue, HostPattern
from proxy.config.strict import Section
from proxy.config.values import VARIABLE, not_empty, one_or_many, parse_count, unique


def _parse_port(value: object) -> int:
    return parse_count(value, most=65_535)


class RedirectConfig(Section):
    """The listener that sends clients from http to https, and does nothing else."""

    listen: Annotated[
        list[AddressValue],
        BeforeValidator(one_or_many, json_schema_input_type=AddressValue | list[AddressValue]),
    ] = Field(min_length=1)
    """`host:port`, `[IPv6]:port` or `unix:path`; every worker listens there. One address needs no
    list."""
    hosts: (
        Annotated[list[HostPattern], AfterValidator(unique), AfterValidator(not_empty)] | None
    ) = None
    """Hosts that are led on, wildcards as in `match.host`; nobody else is. Default: those that
    routes, `login.hosts` and `server.public_url` name."""
    port: (
        Annotated[
            int,
            PlainValidator(_parse_port),
            WithJsonSchema(
                {
                    "anyOf": [
                        {"type": "integer", "minimum": 1, "maximum": 65_535},
                        {"type": "string", "pattern": VARIABLE},
                    ]
                }
            ),
        ]
        | None
    ) = None
    """The port of https. Default: that of an https `server.public_url`, else 443."""
