"""Checks of clients, and of the tokens that are issued to them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from proxy.config.models import ClientConfig, JwtSchemeConfig
from proxy.config.survey import Survey
from proxy.errors import Problem

MIN_SECRET_BYTES: Final = 32
"""A client's secret is never counted as an attempt, so it must not be one that can be guessed."""

COMMANDS: Final = "latchgate"
"""What tokens of commands and of sessions say for their client."""
MAX_GRACE_S: Final = 60.0
"""Longest `tokens.reuse_grace`: it is for an answer that was lost, which is asked for again at once."""

_SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")
"""RFC 6749 §3.3."""


def check_clients(survey: Survey) -> Iterator[Problem]:
    """Find clients that could prove nothing, or that ask for what they cannot have."""
    config = survey.config
    if config.clients and config.tokens is None and survey.is_whole("tokens"):
        message = "needs the section `tokens`, which says what tokens the gate issues"
        yield Problem(("clients",), message)
    for name, client in config.clients.items():
        path = ("clients", name)
        if name == COMMANDS:
            yield Problem(path, "is the client_id of tokens that no client has asked for")
        if survey.is_whole(*path, "public") and survey.is_whole(*path, "secret"):
            yield from _check_proof(path, client)
        if client.public and "client_credentials" in client.grants:
            message = "a public client has nothing by which to get tokens for itself"
            yield Problem((*path, "grants"), message)
        for key in ("roles", "scopes"):
            if getattr(client, key) and "client_credentials" not in client.grants:
                yield Problem((*path, key), "is for the grant client_credentials only")
        for index, scope in enumerate(client.scopes):
            if _SCOPE.fullmatch(scope) is None:
                message = "must be printable ASCII without spaces, quotes and backslashes"
                yield Problem((*path, "scopes", index), message)


def check_endings(survey: Survey) -> Iterator[Problem]:
    """Find schemes that would not notice the end of a client's tokens (S9)."""
    if not survey.config.clients:
        return
    for name, scheme in survey.config.schemes.items():
        if not isinstance(scheme, JwtSchemeConfig) or not scheme.keys.local:
            continue
        if scheme.revocation == "none" and survey.is_whole("schemes", name, "revocation"):
            message = (
                "with `clients` it must be `store`: their tokens end with their refresh family"
            )
            yield Problem(("schemes", name, "revocation"), message)


def check_lives(survey: Survey) -> Iterator[Problem]:
    """Find refresh tokens that would end before the access tokens that they are to renew."""
    tokens = survey.config.tokens
    if tokens is None or not survey.is_whole("tokens"):
        return
    if tokens.refresh < tokens.access:
        yield Problem(("tokens", "refresh"), "is shorter than tokens.access")
    if tokens.otp != "never" and survey.config.login is None:
        message = "needs `login`: without it nobody has one-time passwords"
        yield Problem(("tokens", "otp"), message)
    if tokens.reuse_grace > MAX_GRACE_S:
        message = "must be at most 60s: so long a stolen token may pass for a lost answer"
        yield Problem(("tokens", "reuse_grace"), message)


def _check_proof(path: tuple[str, ...], client: ClientConfig) -> Iterator[Problem]:
    if client.public and client.secret:
        yield Problem((*path, "secret"), "a public client has none: whoever has it can read it")
    if not client.public and not client.secret:
        yield Problem(path, "needs a `secret`, or `public: true`")
    for index, secret in enumerate(client.secret):
        if len(secret.reveal_bytes()) < MIN_SECRET_BYTES:
            message = f"must be {MIN_SECRET_BYTES} bytes at least (openssl rand -base64 32)"
            yield Problem((*path, "secret", index), message)


CHECKS: Final = (check_clients, check_endings, check_lives)
