"""Making sessions and tokens of the gate's own; what is returned here is told once."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from proxy.adapters.store import Store
from proxy.cli.noting import COMMAND_LINE, noting
from proxy.cli.opening import open_store_of
from proxy.config.models import Config
from proxy.core.refresh import Holder
from proxy.services.choice import pick_session_scheme
from proxy.services.issuing import open_families, open_token_issuer
from proxy.services.keyrings import open_signing_keys
from proxy.services.refresh import Answer
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
    async with open_store_of(config) as store, noting(config, store) as audit:
        now = time.time()
        made = await open_sessions(config, found, store).create(login, now)
        audit.note(COMMAND_LINE.event("login", login.subject), now)
    return MadeSession(f"{found.cookie}={made.cookie}", made.digest, int(made.expires_at))


async def make_token(config: Config, login: Login, lifetime_s: float | None = None) -> MintedToken:
    """Make an access token that lives for `lifetime_s`, or as long as `tokens.access` says.

    Raises `ValueError` for what makes no sense, `StoreUnavailable` and `KeysUnavailable`.
    """
    _check(login)
    now = time.time()
    async with _open_issuer(config) as (issuer, store), noting(config, store) as audit:
        made = await issuer.mint(
            login.subject,
            now=now,
            roles=login.roles,
            scopes=login.scopes,
            claims=login.claims,
            email=login.email,
            name=login.name,
            lifetime=lifetime_s,
        )
        audit.note(COMMAND_LINE.event("token_issued", login.subject), now)
        return made


async def begin_family(config: Config, login: Login, client: str) -> Answer:
    """Begin a refresh family of a client, as a login of its user would.

    Raises `ValueError` for what makes no sense, `StoreUnavailable` and `KeysUnavailable`.
    """
    _check(login)
    known = config.clients.get(client)
    if known is None:
        raise ValueError(f"there is no client called {client}")
    if "refresh_token" not in known.grants:
        raise ValueError(f"client {client} may not use refresh tokens")
    now = time.time()
    holder = Holder(
        login.subject,
        email=login.email,
        name=login.name,
        roles=tuple(login.roles),
        scopes=tuple(login.scopes),
        claims=login.claims,
    )
    async with _open_issuer(config) as (issuer, store), noting(config, store) as audit:
        begun = await open_families(config, issuer, store).begin(holder, client, now, since=now)
        what = f"client {client}"
        audit.note(COMMAND_LINE.event("token_issued", login.subject, what), now)
        return begun


def _check(login: Login) -> None:
    """Refuse what names nobody before a store is opened for it."""
    if not login.subject.strip():
        raise ValueError("the subject must name somebody")


@contextlib.asynccontextmanager
async def _open_issuer(config: Config) -> AsyncIterator[tuple[TokenIssuer, Store]]:
    if config.tokens is None:
        raise ValueError("the configuration has no `tokens:`, so that this gate issues none")
    async with open_store_of(config) as store:
        plan = open_signing_keys(config, store)
        assert plan.tokens is not None  # noqa: S101 - there are `tokens:` and a store
        await plan.tokens.refresh(time.time())
        yield open_token_issuer(config, plan, store), store
