"""Section login: where the gate's own endpoints are, and who signs in there."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from proxy.config.addresses import HostPattern
from proxy.config.route_models import PlainPath
from proxy.config.strict import Section
from proxy.config.values import Count, Name, NoneWord, one_or_many


class LoginSessionsConfig(Section):
    """The sessions that people get when they sign in."""

    per_user: Annotated[Count | None, NoneWord()] = 10
    """How many one person may have at a time; a further login ends the oldest."""


class LoginConfig(Section):
    """The gate's own endpoints for people and their programs."""

    path: PlainPath = "/_auth"
    """Where they are, on every host that has them."""
    scheme: Name
    """The native session scheme that people sign in to."""
    hosts: Annotated[
        list[HostPattern] | None,
        BeforeValidator(one_or_many, json_schema_input_type=HostPattern | list[HostPattern]),
    ] = Field(default=None, min_length=1)
    """Hosts on which they answer; default: those of the routes."""
    sessions: LoginSessionsConfig = LoginSessionsConfig()
    """The sessions that people get."""
