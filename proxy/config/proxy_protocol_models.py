"""The section about proxies that pass connections on as they are, and say whose."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from proxy.config.addresses import TrustedValue
from proxy.config.strict import Section
from proxy.config.values import one_or_many, unique


class ProxyProtocolConfig(Section):
    """Every connection over TCP begins with a PROXY protocol header, version 2."""

    from_: Annotated[
        list[TrustedValue],
        BeforeValidator(one_or_many, json_schema_input_type=TrustedValue | list[TrustedValue]),
        AfterValidator(unique),
    ] = Field(alias="from", min_length=1)
    """Networks (or the word `unix`) that may say for whom they connect. Nobody else may connect
    over TCP."""
