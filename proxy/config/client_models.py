"""Section clients: programs that get tokens of the gate's own, and how they may (RFC 6749)."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from proxy.config.secret import SecretValue
from proxy.config.strict import Section
from proxy.config.values import Flag, Text, one_or_many, unique

CLIENT_SUBJECT: Final = "client:"
"""Begins the `sub` of a token that is about a client itself: no person's begins so (RFC 9068 §5)."""

GrantName = Literal["refresh_token", "client_credentials", "password"]


class ClientConfig(Section):
    """A program that may ask for tokens."""

    public: Flag = False
    """`true` for a program that can keep no secret: a page, an application on a phone."""
    secret: Annotated[
        list[SecretValue],
        BeforeValidator(one_or_many, json_schema_input_type=SecretValue | list[SecretValue]),
    ] = Field(default=[])
    """What the client proves itself by, 32 bytes at least (`openssl rand -base64 32`). Several
    while one replaces another. Required unless `public`."""
    grants: Annotated[
        list[GrantName],
        BeforeValidator(one_or_many, json_schema_input_type=GrantName | list[GrantName]),
        AfterValidator(unique),
    ] = Field(default=["refresh_token"], min_length=1)
    """How it may get tokens: `refresh_token`, `client_credentials` (never `public`), `password`."""
    roles: Annotated[
        list[Text],
        BeforeValidator(one_or_many, json_schema_input_type=Text | list[Text]),
        AfterValidator(unique),
    ] = []
    """Roles of the client itself, in tokens that it gets by `client_credentials`."""
    scopes: Annotated[
        list[Text],
        BeforeValidator(one_or_many, json_schema_input_type=Text | list[Text]),
        AfterValidator(unique),
    ] = []
    """Scopes of the client itself, likewise; it may ask for some of them."""
