"""Section login: where the gate's own endpoints are, and who signs in there."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema

from proxy.config.addresses import HostPattern
from proxy.config.provider_models import ProviderConfig
from proxy.config.route_models import PlainPath
from proxy.config.strict import Section
from proxy.config.values import (
    Count,
    Duration,
    FilePath,
    Flag,
    Name,
    NoneWord,
    Text,
    matching,
    one_or_many,
)

BlockLength = Annotated[
    str,
    PlainValidator(
        matching(r"/(?:[89]|[12][0-9]|3[0-2])", 'must be the length of a block, from "/8" to "/32"')
    ),
    WithJsonSchema({"type": "string", "pattern": r"^/([89]|[12][0-9]|3[0-2])$"}),
]
Domain = Annotated[
    str,
    PlainValidator(
        matching(
            r"(?=.{4,253}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{1,62}",
            "must be a domain in lower case with a dot in it, such as example.com",
        )
    ),
    WithJsonSchema({"type": "string", "examples": ["example.com"]}),
]


def bare_name(cookie: str) -> str:
    """Return a cookie's name as it is on http://localhost: without a prefix that asks for TLS (S5)."""
    return cookie.removeprefix("__Host-").removeprefix("__Secure-")


class LoginUsersConfig(Section):
    """People of a small installation, in a file of their own."""

    file: FilePath
    """Names with argon2id hashes, as `latchgate user` writes them; read again when it changes."""


class BindConfig(Section):
    """What a session is bound to."""

    address: Annotated[BlockLength | None, NoneWord()] = "/24"
    """The block of the address: "/24" of IPv4 is /48 of IPv6, always twice as long; or none."""
    agent: Flag = True
    """The browser, whatever its version."""
    on_change: Literal["end", "step_up"] = "end"
    """What becomes of a session that is used elsewhere: it ends, or opens nothing before a factor was proved there."""

    @property
    def bits(self) -> int | None:
        """The length of an IPv4 block; `None` where no address is bound."""
        return None if self.address is None else int(self.address[1:])


class LoginSessionsConfig(Section):
    """The sessions of people who sign in at the gate."""

    per_user: Annotated[Count | None, NoneWord()] = 10
    """How many one person may have at a time; a further login ends the oldest; or none."""
    remember: Annotated[Duration | None, NoneWord()] = 30 * 86_400.0
    """How long a session lives, used or not, for which it was asked at sign-in; or none."""
    bind: Annotated[BindConfig | None, NoneWord()] = BindConfig()
    """Where a session may be used; none: everywhere."""


class OtpConfig(Section):
    """One-time passwords of the people who sign in at the gate."""

    at_login: Literal["required", "optional", "never"] = "optional"
    """required: nobody signs in with a password alone; optional: whoever has one is asked for it; never: only where a route wants it."""


class AdministratorsConfig(Section):
    """Who may list and end everybody's sessions in a browser."""

    roles: Annotated[
        list[Text],
        BeforeValidator(one_or_many, json_schema_input_type=Text | list[Text]),
    ] = Field(min_length=1)
    """Whoever has one of these roles; each visit wants a sign-in that is not older than 5 minutes."""


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
    users: LoginUsersConfig | None = None
    """People who sign in with a name and a password."""
    sessions: LoginSessionsConfig = LoginSessionsConfig()
    """What their sessions are like."""
    otp: OtpConfig = OtpConfig()
    """Codes of an app, as a second factor."""
    cookie_domain: Annotated[Domain | None, NoneWord()] = None
    """One login for every host below this domain; none: each host has its own."""
    providers: dict[Name, ProviderConfig] = Field(default={})
    """OpenID Connect providers with which people sign in, by name."""
    administrators: AdministratorsConfig | None = None
    """Who may administer sessions below it; absent: nobody, and there are no pages for it."""
