"""Login with an OpenID provider: away, back, and out again.

The attempt is in the browser, sealed, and good for one use; the tokens are beside the session. What
never belongs here: HTTP, the session's own making, pages.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import logging
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from proxy.adapters.oidc import CONNECTIONS, ProviderClient
from proxy.adapters.secrets import SecretBox
from proxy.adapters.store.port import Store
from proxy.core.compact import encode_segment
from proxy.core.cookies import Cookie, find_cookie
from proxy.core.login_state import (
    LIFE_S,
    MAX_COOKIE_BYTES,
    SECRET_BYTES,
    SKEW_S,
    SLOTS,
    Attempt,
    choose_slot,
    cookie_name,
    expire_cookie,
    set_cookie,
    slot_of,
    surplus,
)
from proxy.core.oidc import CallbackInvalid, check_callback_issuer, read_callback
from proxy.core.places import NoPlace, Places
from proxy.core.revocation import digest as hashed
from proxy.errors import (
    DependencyUnavailable,
    LoginBusy,
    LoginUnknown,
    ProviderInvalid,
    ProviderRefused,
    SecretsError,
    TokenInvalid,
)
from proxy.model import Header
from proxy.services.backchannel import EndSession, ProviderSessions
from proxy.services.exchanges import Exchanges
from proxy.services.openid_provider import OpenIdProvider, SignedIn
from proxy.services.provider_tokens import ProviderTokens, TokenVault

ROOM: Final = CONNECTIONS * 3 // 4
"""Sign-ins that wait for a provider at most; the other connections are left to sessions' tokens."""
OF_A_PROVIDER: Final = ROOM // 2
"""So many of them for one provider: one that is slow keeps nobody from the others."""
OF_A_NETWORK: Final = ROOM // 4
"""And for one network: whoever makes up codes keeps nobody else out."""

_log = logging.getLogger("latchgate.oidc")

_SEALED_CHARS: Final = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
)


@dataclass(frozen=True, slots=True)
class Begun:
    """A login that was begun."""

    location: str
    """Where the browser goes: the provider's authorization endpoint."""
    headers: tuple[Header, ...]
    """The cookies to set."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A login that came to a good end; no session is made yet."""

    signed_in: SignedIn
    tokens: ProviderTokens = field(repr=False)
    next: str
    """Where the person wanted to go; to be checked again (S4)."""
    begun_at: float
    headers: tuple[Header, ...]
    """The cookies to expire."""


class OidcLogin:
    """Logins with the providers of one configuration, for one worker.

    `clock` tells epoch seconds; `end_session` ends a session as every other end does.
    """

    def __init__(
        self,
        providers: Mapping[str, OpenIdProvider],
        client: ProviderClient,
        store: Store,
        box: SecretBox,
        *,
        prefix: str,
        end_session: EndSession,
        clock: Callable[[], float],
    ) -> None:
        self.providers = providers
        self.vault = TokenVault(store, box, providers, prefix=prefix, clock=clock)
        self._client = client
        self._store = store
        self._box = box
        self._prefix = prefix
        self._end_session = end_session
        self._sessions = ProviderSessions(store, prefix=prefix)
        self._waiting = Places(ROOM)
        self._exchanges = Exchanges(store, prefix=prefix)

    async def begin(
        self,
        provider: OpenIdProvider,
        next_target: str,
        *,
        redirect_uri: str,
        cookies: Sequence[Cookie],
        is_secure: bool,
        now: float,
        is_fresh: bool = False,
    ) -> Begun:
        """Begin a login at `provider` that leads to `next_target`, which has been checked (S4).

        `is_fresh`: the person has to prove again who they are. Raises `ProviderUnavailable`,
        `ProviderInvalid`.
        """
        attempts, sizes = self._under_way(cookies, now, is_secure=is_secure)
        slot = choose_slot(attempts, secrets.randbelow(SLOTS))
        secret = encode_segment(secrets.token_bytes(SECRET_BYTES)).decode()
        attempt = Attempt(slot, provider.name, secret, now, redirect_uri, next_target, is_fresh)
        value = self._seal(attempt, is_secure=is_secure)
        sizes[slot] = len(value)
        location = await provider.authorization(attempt)
        given_up = surplus(attempts, sizes, slot)
        headers = [set_cookie(slot, value, is_secure=is_secure)]
        headers.extend(expire_cookie(old, is_secure=is_secure) for old in given_up)
        return Begun(location, tuple(headers))

    async def finish(
        self,
        provider: OpenIdProvider,
        query: bytes | None,
        *,
        cookies: Sequence[Cookie],
        is_secure: bool,
        network: str | None,
        now: float,
    ) -> Finished:
        """Take the provider's answer to an attempt of this browser, once.

        `network`: the client's address block as text; whoever is unknown counts as one. Raises `CallbackInvalid` for a query that is none, `LoginUnknown` for one that answers no
        attempt of this browser, `ProviderRefused`, `ProviderInvalid`, `ProviderUnavailable`,
        `KeysUnavailable`, `StoreUnavailable`, and `LoginBusy` and
        `TooManyExchanges`, after which it may be tried again.
        """
        callback = read_callback(query)
        attempt = self._answered(callback.state, cookies, now, is_secure=is_secure)
        if attempt.provider != provider.name:
            raise ProviderInvalid("the callback is of another provider than the login")
        check_callback_issuer(callback, await provider.metadata())
        if callback.code is None:  # whoever repeats it hears the same: nothing needs to be kept
            raise ProviderRefused(_word(callback.error or ""))
        with self._place(provider, network):
            signed_in = await self._exchange(provider, attempt, callback.code, network, now)
        return Finished(
            signed_in,
            ProviderTokens.of(provider, signed_in, now),
            attempt.next,
            attempt.begun_at,
            (expire_cookie(attempt.slot, is_secure=is_secure),),
        )

    async def keep(self, digest: str, finished: Finished, expires_at: float, now: float) -> bool:
        """Keep the provider's tokens beside the new session, and find it when the provider ends it.

        To be confirmed before the session's cookie leaves. False: the session is gone, or its
        provider has ended it already; it is ended here then. Raises `StoreUnavailable`.
        """
        is_good = await self.vault.keep(digest, finished.tokens, expires_at) and (
            await self._sessions.add(
                digest,
                finished.tokens,
                expires_at=expires_at,
                now=now,
            )
        )
        if not is_good:
            await self._end_session(digest)
            await self.vault.forget(digest)
        return is_good

    async def move(self, old: str, new: str, expires_at: float, now: float) -> bool:
        """Let a session's tokens and its place in the index follow it to a new id (S1).

        To be confirmed before the new cookie leaves, and before the old session is ended, with
        which its tokens go: several may move one session, and one of them ends it. False: the
        provider has ended the session meanwhile, or nobody can tell any more which provider would
        end it; it is ended here.
        """
        try:
            tokens = await self.vault.copy(old, new, expires_at)
        except SecretsError as error:
            _log.error("session %s: provider tokens are not accepted: %s", old[:8], error)
            await self._end(old)
            await self._end(new)
            return False
        if tokens is None:
            return True
        if await self._sessions.add(new, tokens, expires_at=expires_at, now=now):
            return True
        await self._end(new)
        return False

    async def logout_url(self, tokens: ProviderTokens, back_to: str | None) -> str | None:
        """Return where the browser ends the session at the provider that `tokens` came from.

        To be asked once the session here has ended: the provider may take its time. `None`: it is not
        known any more, has no such place, or does not answer.
        """
        provider = self.providers.get(tokens.provider)
        if not tokens.are_of(provider):
            return None  # its ID token is no hint for another client, and no business of another issuer
        try:
            return await provider.logout_url(tokens.id_token, back_to)
        except (DependencyUnavailable, ProviderInvalid) as error:
            _log.warning("provider %s: logout: %s", provider.name, error.detail)
            return None

    async def log_out(self, provider: OpenIdProvider, token: str, now: float) -> int:
        """End what a logout token of `provider` means; return how many sessions that were.

        Raises `TokenInvalid` for a token that is none or was used, `KeysUnavailable`,
        `StoreUnavailable`: the provider may send it again.
        """
        said = await provider.logout_token(token, now)
        key = provider.issuer, provider.client_id
        return await self._sessions.log_out(key, said, self._end, now)

    async def close(self) -> None:
        """Close the connections to the providers."""
        await self.vault.close()
        await self._client.close()

    async def _end(self, digest: str) -> bool:
        was_there = await self._end_session(digest)
        await self.vault.forget(digest)
        return was_there

    def _under_way(
        self, cookies: Sequence[Cookie], now: float, *, is_secure: bool
    ) -> tuple[dict[int, Attempt], dict[int, int]]:
        """Return this browser's attempts that may still be finished, and their bytes, by place."""
        attempts: dict[int, Attempt] = {}
        sizes: dict[int, int] = {}
        for slot in range(SLOTS):
            attempt = self._open(slot, cookies, is_secure=is_secure)
            if attempt is not None and attempt.is_alive(now):
                attempts[slot] = attempt
                sizes[slot] = len(self._raw(slot, cookies, is_secure=is_secure) or b"")
        return attempts, sizes

    def _answered(
        self, state: str, cookies: Sequence[Cookie], now: float, *, is_secure: bool
    ) -> Attempt:
        slot = slot_of(state)
        attempt = None if slot is None else self._open(slot, cookies, is_secure=is_secure)
        if attempt is None or not attempt.is_answered_by(state):
            raise LoginUnknown("no login of this browser has this state")
        if not attempt.is_alive(now):
            raise LoginUnknown("the login was begun too long ago")
        return attempt

    @contextlib.contextmanager
    def _place(self, provider: OpenIdProvider, network: str | None) -> Iterator[None]:
        """Hold one of the places of those who wait for a provider. Raises `LoginBusy`."""
        sources = {f"provider {provider.name}": OF_A_PROVIDER, f"network {network}": OF_A_NETWORK}
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(self._waiting.held(sources))
            except NoPlace:
                raise LoginBusy("too many sign-ins wait for a provider") from None
            yield

    async def _exchange(
        self,
        provider: OpenIdProvider,
        attempt: Attempt,
        code: str,
        network: str | None,
        now: float,
    ) -> SignedIn:
        """Ask the provider who the code is about, which anybody may make us do so often only."""
        await self._exchanges.take(provider.name, network)
        try:
            await self._use_up(attempt)
        except LoginUnknown:
            await self._exchanges.give_back(provider.name, network)
            raise
        signed_in = await provider.sign_in(attempt, code, now)
        await self._exchanges.give_back(provider.name, network)
        return signed_in

    async def _use_up(self, attempt: Attempt) -> None:
        """Let an attempt be finished once, in whatever worker: a cookie can be sent twice."""
        key = f"{self._prefix}login_used:{hashed(attempt.state)}"
        if not await self._store.put(key, b"1", ttl_s=LIFE_S + SKEW_S, only="new"):
            raise LoginUnknown("the login has been finished already")

    def _seal(self, attempt: Attempt, *, is_secure: bool) -> str:
        name = cookie_name(attempt.slot, is_secure=is_secure)
        sealed = self._box.seal(attempt.encode(), _place(name))
        value = encode_segment(sealed).decode()
        if len(value) > MAX_COOKIE_BYTES - 128:
            raise ValueError("the target does not fit into the login state")
        return value

    def _open(self, slot: int, cookies: Sequence[Cookie], *, is_secure: bool) -> Attempt | None:
        raw = self._raw(slot, cookies, is_secure=is_secure)
        if raw is None or len(raw) > MAX_COOKIE_BYTES or not _SEALED_CHARS.issuperset(raw):
            return None
        name = cookie_name(slot, is_secure=is_secure)
        try:
            sealed = base64.urlsafe_b64decode(raw + b"=" * (-len(raw) % 4))
            return Attempt.decode(self._box.open(sealed, _place(name)), slot)
        except (SecretsError, binascii.Error, ValueError):
            return None

    def _raw(self, slot: int, cookies: Sequence[Cookie], *, is_secure: bool) -> bytes | None:
        """Return a place's cookie; a doubled one is none: nobody can tell whose it is (S2)."""
        name = cookie_name(slot, is_secure=is_secure)
        found = find_cookie(cookies, name.encode())
        return found if isinstance(found, bytes) else None


def _place(name: str) -> str:
    """Return what a login state is sealed for: its place, so that none can be moved to another."""
    return f"cookie {name}"


def _word(error: str) -> str:
    """Return a provider's error as a word for the log."""
    return "".join(letter for letter in error[:64] if letter.isascii() and letter.isprintable())


__all__ = ["Begun", "CallbackInvalid", "Finished", "OidcLogin", "TokenInvalid"]
