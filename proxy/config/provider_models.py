"""Section `login.providers`: OpenID Connect providers that say who somebody is."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from proxy.config.addresses import HttpUrl
from proxy.config.scheme_models import IdentityMapping
from proxy.config.secret import SecretValue
from proxy.config.strict import Section
from proxy.config.values import DurationOrZero, Flag, NoneWord, Text, Token, unique

ProviderAlgorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]

OPENID: Final = "openid"
"""The scope that makes an OAuth request one of OpenID Connect (Core §3.1.2.1)."""


class ProviderIdentityMapping(IdentityMapping):
    """Where a provider's claims say who it is: dotted paths, or templates such as "{iss}|{sub}"."""

    subject: Text = "sub"
    """The identifier. Where people come from several places it contains `{iss}`:
    `"{iss}|{sub}"`."""
    email: Annotated[Text | None, NoneWord()] = "email"
    """The e-mail address. It counts only if it is the claim `email` and `email_verified` is
    true."""
    name: Annotated[Text | None, NoneWord()] = "name"
    """The name to show."""
    roles: Annotated[Text | None, NoneWord()] = "roles"
    """A list of roles, or one text with spaces between them."""
    scopes: Annotated[Text | None, NoneWord()] = None
    """A list of scopes, or one text with spaces between them."""


class ProviderConfig(Section):
    """One OpenID Connect provider."""

    issuer: HttpUrl
    """Its issuer, letter by letter as its discovery document says it; https unless on this
    machine."""
    client_id: Text
    """What the provider calls this gate."""
    client_secret: SecretValue | None = None
    """The gate's secret there. Without it the gate is a public client, which PKCE alone
    protects."""
    scopes: Annotated[list[Token], AfterValidator(unique)] = Field(
        default=[OPENID, "email"], min_length=1
    )
    """What is asked for; `openid` is among them. With `offline_access` most providers give a
    refresh token."""
    identity: ProviderIdentityMapping = ProviderIdentityMapping()
    """Where the provider's claims say who it is."""
    userinfo: Flag = False
    """Ask the UserInfo endpoint too: many providers tell e-mail and roles only there."""
    algorithms: Annotated[list[ProviderAlgorithm], AfterValidator(unique)] = Field(
        default=["RS256", "ES256", "EdDSA"], min_length=1
    )
    """Accepted signatures of ID and logout tokens."""
    leeway: DurationOrZero = 30.0
    """Tolerance for clocks that differ."""
    title: Annotated[Text | None, NoneWord()] = None
    """What the login page calls it; by default its name here."""
