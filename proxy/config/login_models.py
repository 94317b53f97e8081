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
    """Their names, with argon2id hashes of their passwords, as `latchgate user` writes it
    ([login](login.md#users)). It is read again when it changes; one that everybody may write to is
    refused."""


class BindConfig(Section):
    """What a session is bound to."""

    address: Annotated[BlockLength | None, NoneWord()] = "/24"
    """The block of the address, `/8` to `/32`. One of IPv6 is twice as long: `/24` goes with
    `/48`."""
    agent: Flag = True
    """The browser: its `User-Agent` without version numbers, so that an update is no change."""
    on_change: Literal["end", "step_up"] = "end"
    """What becomes of a session that is used elsewhere: `end`: it ends, wherever it was. `step_up`:
    it opens nothing there (403 `step_up_required`) before its owner has proved a factor there;
    where it was it goes on."""

    @property
    def bits(self) -> int | None:
        """The length of an IPv4 block; `None` where no address is bound."""
        return None if self.address is None else int(self.address[1:])


class LoginSessionsConfig(Section):
    """The sessions of people who sign in at the gate."""

    per_user: Annotated[Count | None, NoneWord()] = 10
    """How many live sessions one person may have; a further login ends the oldest
    ([sessions](sessions.md))."""
    remember: Annotated[Duration | None, NoneWord()] = 30 * 86_400.0
    """How long a session lives for which “keep me signed in” was asked, used or not; `none` takes
    the choice away. Any other lives as `idle_timeout` and `lifetime` of its scheme say."""
    bind: Annotated[BindConfig | None, NoneWord()] = BindConfig()
    """Where a session may be used; `none`: everywhere. Sessions that were not made at the gate's
    sign-in are bound to nothing."""


class OtpConfig(Section):
    """One-time passwords of the people who sign in at the gate."""

    at_login: Literal["required", "optional", "never"] = "optional"
    """`required`: nobody signs in with a password alone, and whoever has no app yet sets one up
    then. `optional`: whoever has one is asked for its code. `never`: codes are asked where a route
    wants a second factor."""


class AdministratorsConfig(Section):
    """Who may list and end everybody's sessions in a browser."""

    roles: Annotated[
        list[Text],
        BeforeValidator(one_or_many, json_schema_input_type=Text | list[Text]),
    ] = Field(min_length=1)
    """Whoever has one of these roles, and has signed in within the last 5 minutes."""


class LoginConfig(Section):
    """The gate's own endpoints for people and their programs."""

    path: PlainPath = "/_auth"
    """Where they are, on every host that has them."""
    scheme: Name
    """The session scheme of `format: native` that people sign in to."""
    hosts: Annotated[
        list[HostPattern] | None,
        BeforeValidator(one_or_many, json_schema_input_type=HostPattern | list[HostPattern]),
    ] = Field(default=None, min_length=1)
    """The hosts on which they answer; by default those of the routes."""
    users: LoginUsersConfig | None = None
    """People who sign in with a name and a password."""
    sessions: LoginSessionsConfig = LoginSessionsConfig()
    """What the sessions of people who sign in there are like."""
    otp: OtpConfig = OtpConfig()
    """Codes of an app, as a second factor: see [otp.md](otp.md). With a store of others they need
    [`secrets`](#secrets); without these there are none."""
    cookie_domain: Annotated[Domain | None, NoneWord()] = None
    """One login for all hosts below this domain. The cookie is then called `__Secure-…`, and every
    host below the domain gets it: they must all be yours."""
    providers: dict[Name, ProviderConfig] = Field(default={})
    """OpenID Connect providers with which people sign in, by name ([oidc](oidc.md))."""
    administrators: AdministratorsConfig | None = None
    """Who may see and end everybody's sessions at `/_auth/admin` ([admin](admin.md)); absent:
    nobody, and it is 404."""
