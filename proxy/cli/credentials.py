"""Making sessions and tokens of the gate's own; what is returned here is told once."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from proxy.cli.opening import open_store_of
from proxy.config.models import Config, JwtSchemeConfig
from proxy.core.revocation import RevocationKeys
from proxy.services.choice import pick_session_scheme
from proxy.services.keyrings import open_signing_keys
from proxy.services.schemes.build import open_sessions
from proxy.services.sessions import Login
from proxy.services.tokens import MintedToken, TokenIssuer


@dataclass(frozen=True, slots=True)
class MadeSession:
    """A new session."""

    cookie: str = field(repr=False)
    """`name=value`, as a Cookie header has it."""
    digest: str
    """What the session is listed and ended under."""
    expires_at: int
    """Epoch seconds."""


async def make_session(config: Config, login: Login, scheme: str | None = None) -> MadeSession:
    """Make a session of the named scheme, or of the only one.

    Raises `ValueError` for what makes no sense, and `StoreUnavailable`.
    """
    _check(login)
    _, found = pick_session_scheme(config, scheme)
    async with open_store_of(config) as store:
        made = await open_sessions(config, found, store).create(login, time.time())
    return MadeSession(f"{found.cookie}={made.cookie}", made.digest, int(made.expires_at))


async def make_token(config: Config, login: Login, lifetime_s: float | None = None) -> MintedToken:
    """Make an access token that lives for `lifetime_s`, or as long as `tokens.access` says.

    Raises `ValueError` for what makes no sense, `StoreUnavailable` and `KeysUnavailable`.
    """
    _check(login)
    async with _open_issuer(config) as issuer:
        return await issuer.mint(
            login.subject,
            now=time.time(),
            roles=login.roles,
            scopes=login.scopes,
            claims=login.claims,
            email=login.email,
            name=login.name,
            lifetime=lifetime_s,
        )


def _check(login: Login) -> None:
    """Refuse what names nobody before a store is opened for it."""
    if not login.subject.strip():
        raise ValueError("the subject must name somebody")


@contextlib.asynccontextmanager
async def _open_issuer(config: Config) -> AsyncIterator[TokenIssuer]:
    tokens = config.tokens
    if tokens is None:
        raise ValueError("the configuration has no `tokens:`, so that this gate issues none")
    accepted = [
        scheme.max_lifetime
        for scheme in config.schemes.values()
        if isinstance(scheme, JwtSchemeConfig) and scheme.keys.local
    ]
    async with open_store_of(config) as store:
        keys = open_signing_keys(config, store).tokens
        assert keys is not None  # noqa: S101 - there are `tokens:` and a store
        await keys.refresh(time.time())
        yield TokenIssuer(
            issuer=tokens.issuer,
            audience=tokens.audience,
            lifetime_s=tokens.access,
            max_lifetime_s=max([tokens.access, *accepted]),
            signer=keys,
            store=store,
            revoked=RevocationKeys(config.store.prefix),
        )
