"""A provider's tokens beside the session that they came with: sealed, and refreshed once.

They stand in a key of their own, sealed for that key (security.md, S10), so that a refresh does
not disturb the verdicts that hang on the session's. What never belongs here: whose session it is.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, TypeGuard

from proxy.adapters.boot_clock import boot_time
from proxy.adapters.secrets import SecretBox
from proxy.adapters.store.port import Script, Store
from proxy.adapters.tasks import spawn
from proxy.core.compact import to_json
from proxy.core.strict_json import loads_object
from proxy.errors import (
    ProviderInvalid,
    ProviderRefused,
    ProviderUnavailable,
    SecretsError,
)
from proxy.services.openid_provider import Grant, OpenIdProvider, SignedIn

EARLY_S: Final = 60.0
EARLY_PART: Final = 5
"""Tokens are renewed this early, or in the last fifth of their life where that is shorter."""
STILL_GOOD_S: Final = 2.0
"""An access token that lives this long is used on while somebody renews it."""
AROUND_S: Final = 5.0
"""What may stand around the provider's answer: metadata, keys."""
LEASE_SLACK_S: Final = 10.0
"""How much longer than an attempt the lock lives: whoever holds it gives up before it runs out, so
that no two ask with one refresh token."""
REST_S: Final = 2.0
"""Between a failure and the next try."""
FIRST_LOOK_S: Final = 0.05
LAST_LOOK_S: Final = 0.5
"""How often those look who wait for another worker."""
SPENT: Final = "invalid_grant"
"""RFC 6749 §5.2: with this refresh token nobody has to ask again."""
CLOSE_S: Final = 2.0
"""How long a worker that ends waits for refreshes under way."""
MAX_RECORD_BYTES: Final = 128 * 1024

# R6: nothing resurrects. Where the session is gone its tokens are not kept.
_KEEP: Final = Script("""
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return 1
""")

_LOCK: Final = Script("""
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
if redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
return 0
""")

# The record that was read is the fence: who was suspended, and comes back after another has
# renewed the tokens, finds other bytes there and changes nothing.
_REPLACE: Final = Script("""
if redis.call('GET', KEYS[1]) ~= ARGV[1] or redis.call('EXISTS', KEYS[2]) == 0 then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
return 1
""")

_UNLOCK: Final = Script("""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then return redis.call('DEL', KEYS[1]) end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
""")

_log = logging.getLogger("latchgate.oidc")


@dataclass(frozen=True, slots=True)
class ProviderTokens:
    """What a session knows of the provider that it came from. Times are epoch seconds."""

    provider: str
    """Its name in the file: refreshed and logged out with its credentials, and no other's."""
    issuer: str
    client_id: str
    subject: str
    sid: str | None
    id_token: str = field(repr=False)
    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    issued_at: float
    """Of the ID token, by the provider's clock."""
    obtained_at: float
    expires_at: float | None
    """`None`: the provider does not say how long the access token lives."""

    @classmethod
    def of(cls, provider: OpenIdProvider, signed_in: SignedIn, now: float) -> ProviderTokens:
        """Return what is to be kept of a login."""
        grant = signed_in.grant
        return cls(
            provider=provider.name,
            issuer=provider.issuer,
            client_id=provider.client_id,
            subject=signed_in.subject,
            sid=signed_in.sid,
            id_token=grant.id_token or "",
            access_token=grant.access_token,
            refresh_token=grant.refresh_token,
            issued_at=signed_in.issued_at,
            obtained_at=now,
            expires_at=_ends_at(grant, now),
        )

    def are_of(self, provider: OpenIdProvider | None) -> TypeGuard[OpenIdProvider]:
        """Tell whether a provider of the file gave them, to the client that it knows us as today.

        Whoever took its name in the file since, or its place as another client, is shown none of them.
        """
        return (
            provider is not None
            and provider.issuer == self.issuer
            and provider.client_id == self.client_id
        )

    def renewed(self, grant: Grant, now: float) -> ProviderTokens:
        """Return the tokens after a refresh; what did not come again stays (RFC 6749 §6)."""
        return replace(
            self,
            id_token=grant.id_token or self.id_token,
            access_token=grant.access_token,
            refresh_token=grant.refresh_token or self.refresh_token,
            obtained_at=now,
            expires_at=_ends_at(grant, now),
        )

    def left_s(self, now: float) -> float:
        """Return how long the access token is good from `now` on, in seconds."""
        return float("inf") if self.expires_at is None else self.expires_at - now

    def is_due(self, now: float) -> bool:
        """Tell whether the tokens are to be renewed, and can be."""
        if self.expires_at is None or self.refresh_token is None:
            return False
        life = max(0.0, self.expires_at - self.obtained_at)
        return self.left_s(now) <= min(EARLY_S, life / EARLY_PART)

    def encode(self) -> bytes:
        """Return the record, which holds the tokens in the clear: to be sealed at once."""
        members = {name: getattr(self, name) for name in _MEMBERS}
        return to_json({"v": 1, **members})

    @classmethod
    def decode(cls, record: bytes) -> ProviderTokens:
        """Read `encode`'s record; raises `ValueError` without a word of it."""
        match loads_object(record, max_bytes=MAX_RECORD_BYTES):
            case {
                "v": 1,
                "provider": str(provider),
                "issuer": str(issuer),
                "client_id": str(client_id),
                "subject": str(subject),
                "sid": str() | None as sid,
                "id_token": str(id_token),
                "access_token": str(access_token),
                "refresh_token": str() | None as refresh_token,
                "issued_at": int() | float() as issued_at,
                "obtained_at": int() | float() as obtained_at,
                "expires_at": int() | float() | None as expires_at,
            }:
                return cls(
                    provider, issuer, client_id, subject, sid, id_token, access_token,
                    refresh_token, issued_at, obtained_at, expires_at,
                )  # fmt: skip
        raise ValueError("not a record of provider tokens of version 1")


_MEMBERS: Final = tuple(ProviderTokens.__dataclass_fields__)


class TokenVault:
    """The provider tokens of the sessions under one prefix.

    `clock` tells epoch seconds. Every method raises `StoreUnavailable`.
    """

    def __init__(
        self,
        store: Store,
        box: SecretBox,
        providers: Mapping[str, OpenIdProvider],
        *,
        prefix: str,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._box = box
        self._providers = providers
        self._prefix = prefix
        self._clock = clock
        self._renewing: dict[str, asyncio.Task[ProviderTokens]] = {}

    def key(self, digest: str) -> str:
        """Return the key of one session's tokens; it shares the session's hash tag."""
        return f"{self._prefix}provider:{{{digest}}}"

    async def keep(self, digest: str, tokens: ProviderTokens, expires_at: float) -> bool:
        """Keep `tokens` beside the session until its end; False: the session is gone (R6)."""
        key = self.key(digest)
        sealed = self._box.seal(tokens.encode(), key)
        life_ms = max(1, int((expires_at - self._clock()) * 1000))
        keys = [self._session_key(digest), key]
        return bool(await self._store.run(_KEEP, keys, [sealed, life_ms]))

    async def read(self, digest: str) -> ProviderTokens | None:
        """Return the tokens of a session; `None` where it came from no provider."""
        found = await self._read(digest)
        return None if found is None else found[1]

    async def forget(self, digest: str) -> None:
        """Delete the tokens of a session that is over."""
        await self._store.delete(self.key(digest))

    async def copy(self, old: str, new: str, expires_at: float) -> ProviderTokens | None:
        """Keep the tokens under a new id of the session too (S1); `None` where it has none.

        Those of the old id go with its record, not before: whoever finds none can then not be the
        one who ends it, and of several who move one session each finds them. Raises `SecretsError`
        where there are some that cannot be opened.
        """
        (sealed,) = await self._store.fetch([self.key(old)])
        if sealed is None:
            return None
        tokens = self._opened(self.key(old), sealed)
        await self.keep(new, tokens, expires_at)
        return tokens

    async def access_token(self, digest: str) -> str | None:
        """Return an access token that is good now, renewed where that is due.

        `None`: there is none, or it is over and the provider gives no other. Requests at the same
        moment, in all workers together, ask the provider once; meanwhile they go on with a token
        that is still good, else they wait. Raises `ProviderUnavailable` where they wait in vain.
        """
        tokens = await self.read(digest)
        now = self._clock()
        if tokens is not None and tokens.is_due(now):
            task = self._renewing.get(digest)
            if task is None:
                task = spawn(self._renew(digest), name="refresh of a provider's tokens")
                self._renewing[digest] = task
                task.add_done_callback(lambda done: self._renewed(digest, done))
            if tokens.left_s(now) <= STILL_GOOD_S:
                # Whoever waits may be cancelled; the refresh goes on for the others.
                await asyncio.wait([task])
                tokens = task.result()
        if tokens is None or tokens.left_s(self._clock()) <= 0:
            return None
        return tokens.access_token

    async def close(self) -> None:
        """Let refreshes that are under way end, for a moment: their answer would be lost."""
        if not self._renewing:
            return
        _, late = await asyncio.wait(list(self._renewing.values()), timeout=CLOSE_S)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    def _renewed(self, digest: str, task: asyncio.Task[ProviderTokens]) -> None:
        self._renewing.pop(digest, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.warning("session %s: provider tokens: %s", digest[:8], error)

    async def _renew(self, digest: str) -> ProviderTokens:
        """Renew the tokens, or wait until another worker has; raises `ProviderUnavailable`."""
        owner = secrets.token_hex(16)
        found = await self._read(digest)
        pause, started = FIRST_LOOK_S, boot_time()
        while found is not None and found[1].is_due(self._clock()):
            provider = self._providers.get(found[1].provider)
            if not found[1].are_of(provider):
                raise ProviderUnavailable("the provider is not configured any more")
            lease_s = provider.answer_s + AROUND_S + LEASE_SLACK_S
            keys = [self.key(digest), self._lock_key(digest)]
            if await self._store.run(_LOCK, keys, [owner, int(lease_s * 1000)]):
                return await self._renew_locked(digest, provider, owner)
            if boot_time() - started > lease_s + 2 * LAST_LOOK_S:
                break
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, LAST_LOOK_S)
            found = await self._read(digest)
        if found is None:
            raise ProviderUnavailable("the session is over")
        if found[1].left_s(self._clock()) <= 0:
            raise ProviderUnavailable("another worker did not renew the tokens in time")
        return found[1]

    async def _renew_locked(
        self, digest: str, provider: OpenIdProvider, owner: str
    ) -> ProviderTokens:
        rest_s = REST_S
        try:
            # Read again: the last owner may have renewed them just before its lock went.
            found = await self._read(digest)
            if found is None:
                raise ProviderUnavailable("the session is over")
            sealed, tokens = found
            if tokens.is_due(self._clock()):
                tokens = await self._exchange(digest, provider, sealed, tokens)
            rest_s = 0.0
            return tokens
        finally:
            await self._store.run(_UNLOCK, [self._lock_key(digest)], [owner, int(rest_s * 1000)])

    async def _exchange(
        self, digest: str, provider: OpenIdProvider, sealed: bytes, tokens: ProviderTokens
    ) -> ProviderTokens:
        """Ask the provider, and put its answer in the place of exactly what was read."""
        now = self._clock()
        try:
            async with asyncio.timeout(provider.answer_s + AROUND_S):
                grant = await provider.renew(tokens.refresh_token or "", tokens.subject, now)
        except ProviderRefused as error:
            if error.error != SPENT:
                raise ProviderUnavailable(error.detail) from error
            _log.warning("session %s: the refresh token is spent or taken back", digest[:8])
            new = replace(tokens, refresh_token=None)
        except ProviderInvalid as error:
            _log.warning("session %s: tokens are not renewed: %s", digest[:8], error.detail)
            new = replace(tokens, refresh_token=None)
        except TimeoutError:
            raise ProviderUnavailable("the provider did not answer in time") from None
        else:
            new = tokens.renewed(grant, now)
        key = self.key(digest)
        args = [sealed, self._box.seal(new.encode(), key)]
        if await self._store.run(_REPLACE, [key, self._session_key(digest)], args):
            return new
        found = await self._read(digest)
        if found is None:
            raise ProviderUnavailable("the session is over")
        return found[1]

    async def _read(self, digest: str) -> tuple[bytes, ProviderTokens] | None:
        key = self.key(digest)
        (sealed,) = await self._store.fetch([key])
        if sealed is None:
            return None
        try:
            return sealed, self._opened(key, sealed)
        except SecretsError as error:
            _log.error("provider tokens in the store are not accepted: %s", error)
            return None

    def _opened(self, key: str, sealed: bytes) -> ProviderTokens:
        """Return what was sealed for `key`. Raises `SecretsError`."""
        try:
            return ProviderTokens.decode(self._box.open(sealed, key))
        except ValueError as error:
            raise SecretsError(str(error)) from None

    def _lock_key(self, digest: str) -> str:
        return f"{self.key(digest)}:lock"

    def _session_key(self, digest: str) -> str:
        return f"{self._prefix}session:{{{digest}}}"


def _ends_at(grant: Grant, now: float) -> float | None:
    return None if grant.life_s is None else now + grant.life_s
