"""Sections about the applications behind the gate."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from proxy.config.addresses import ServerName, ServerValue, UpstreamHost
from proxy.config.strict import Section
from proxy.config.values import Duration, FilePath, NoneWord, Text, Token, unique

WORD: Final = "<word>"
OTHER: Final = "<other>"
"""Tags of unions. Pydantic puts them into the place of a mistake, so no key may be called so."""


def word_or_other(value: Any) -> str:
    """Discriminate a union of a word and a list or section."""
    return WORD if isinstance(value, str) else OTHER


class CookieName(Section):
    """Names a cookie."""

    cookie: Token
    """The cookie's name."""


class HashBalance(Section):
    """Requests that have this in common go to one server."""

    hash: Annotated[
        Annotated[Literal["subject", "address"], Tag(WORD)] | Annotated[CookieName, Tag(OTHER)],
        Discriminator(word_or_other),
    ]
    """subject, address, or {cookie: name}."""


class UpstreamTimeouts(Section):
    """How long the gate waits for a server."""

    connect: Duration = 2.0
    """Until the connection (with TLS) stands."""
    response: Duration = 60.0
    """From the end of the request to the response's head."""
    idle: Duration = 60.0
    """Without a byte of a body; not for event streams and tunnels."""
    keepalive: Duration = 4.0
    """How long an idle connection is kept; never beyond what the server allows, less a second."""
    tunnel: Annotated[Duration | None, NoneWord()] = None
    """Without a byte in a tunnel."""


class UpstreamTlsConfig(Section):
    """TLS towards https:// servers."""

    ca: FilePath | None = None
    """Authorities in PEM that may have signed the server's certificate; default the system's."""
    cert: FilePath | None = None
    """The gate's own certificate for the server, in PEM."""
    key: FilePath | None = None
    """The private key of `cert`, in PEM."""
    server_name: ServerName | None = None
    """The name that is asked for and checked; default the server's host."""


class UpstreamConfig(Section):
    """An application: servers that do the same."""

    servers: Annotated[list[ServerValue], AfterValidator(unique)] = Field(min_length=1)
    """http://host:port, https://host:port or unix:path; without a path."""
    balance: Annotated[
        Annotated[Literal["least_busy"], Tag(WORD)] | Annotated[HashBalance, Tag(OTHER)],
        Discriminator(word_or_other),
    ] = "least_busy"
    """least_busy (of two random servers), or {hash: subject | address | {cookie: name}}."""
    timeouts: UpstreamTimeouts = UpstreamTimeouts()
    """How long the gate waits."""
    host: UpstreamHost = "preserve"
    """The Host that the application sees: preserve (the client's), upstream (the server's), a name."""
    tls: UpstreamTlsConfig = UpstreamTlsConfig()
    """Certificates for https:// servers."""
    audience: Text = ""
    """The `aud` of assertions for it; the loader fills in the upstream's name."""
    paths: Literal["folded", "exact"] = "folded"
    """folded: it may treat /A, /a and /a/ as one path, so such a variant must not lead elsewhere."""
