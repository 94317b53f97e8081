"""Sessions by what their provider calls them, and their end when it says so.

OpenID Connect Back-Channel Logout 1.0. The index is one sorted set for each session and each person
of a provider, under a hash; its members are session digests with their end as score, so that it
heals as sessions expire. What never belongs here: HTTP.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Final

from proxy.adapters.store.port import Script, Store
from proxy.core.formats.native import read_time
from proxy.core.oidc import LogoutToken
from proxy.core.revocation import digest as hashed
from proxy.errors import TokenInvalid
from proxy.services.provider_tokens import ProviderTokens

ENDED_S: Final = 3600.0
"""How long a logout is remembered for a login that was under way meanwhile."""
BATCH: Final = 500

_ADD: Final = Script("""
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[3])
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[4]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
return 1
""")
_SOME: Final = Script("return redis.call('ZRANGE', KEYS[1], 0, ARGV[1])", is_durable=False)
_REMOVE: Final = Script("return redis.call('ZREM', KEYS[1], unpack(ARGV))")

_FOR_GOOD: Final = b"for good"
"""Instead of a time: a session of the provider that has ended does not begin again."""

EndSession = Callable[[str], Awaitable[bool]]
"""Ends the session with a digest, as every other end does; tells whether there was one."""


class ProviderSessions:
    """The index of one prefix. Every method raises `StoreUnavailable`."""

    def __init__(self, store: Store, *, prefix: str) -> None:
        self._store = store
        self._prefix = prefix

    async def add(
        self,
        digest: str,
        tokens: ProviderTokens,
        *,
        expires_at: float,
        now: float,
    ) -> bool:
        """Index a new session; False: its provider has ended it already."""
        life_ms = max(1, math.ceil((expires_at - now) * 1000))
        for key in self._keys_of(tokens):
            await self._store.run(_ADD, [key], [digest, repr(expires_at), repr(now), life_ms])
        # Looked up after it was written: a logout finds the session in the index, or is seen here.
        for key in self._keys_of(tokens):
            (ended,) = await self._store.fetch([self._ended(key)])
            if ended is not None and not _is_before(ended, tokens.issued_at):
                return False
        return True

    async def log_out(
        self, provider_key: tuple[str, str], token: LogoutToken, end: EndSession, now: float
    ) -> int:
        """End the sessions that a verified logout token means; return how many there were.

        `provider_key` is (issuer, client id). Raises `TokenInvalid` for a token that was used.
        """
        issuer, client_id = provider_key
        used = f"{self._prefix}logout_jti:{hashed(issuer, client_id, token.jti)}"
        (before,) = await self._store.fetch([used])
        if before is not None:
            raise TokenInvalid("the logout token was used before (jti)")
        if token.sid is not None:
            key, ended_at = self._key("sid", issuer, client_id, token.sid), _FOR_GOOD
        else:
            key = self._key("sub", issuer, client_id, token.subject or "")
            # By the provider's own clock, as the ID tokens that this is compared with.
            ended_at = repr(token.issued_at).encode()
        await self._store.put(self._ended(key), ended_at, ttl_s=ENDED_S)
        ended = await self._end_all(key, end)
        # Last: after a failure in between the provider sends the same token again.
        life_s = max(1.0, token.expires_at - now)
        if not await self._store.put(used, b"1", ttl_s=life_s, only="new"):
            raise TokenInvalid("the logout token was used before (jti)")
        return ended

    async def _end_all(self, key: str, end: EndSession) -> int:
        ended = 0
        while found := await self._store.run(_SOME, [key], [BATCH - 1]):
            for member in found:
                ended += await end(bytes(member).decode("ascii", "replace"))
            await self._store.run(_REMOVE, [key], found)
        return ended

    def _keys_of(self, tokens: ProviderTokens) -> list[str]:
        """Return the index's keys for a session: by person, and by session where it has a name."""
        place = tokens.issuer, tokens.client_id
        keys = [self._key("sub", *place, tokens.subject)]
        if tokens.sid is not None:
            keys.append(self._key("sid", *place, tokens.sid))
        return keys

    def _key(self, kind: str, issuer: str, client_id: str, name: str) -> str:
        return f"{self._prefix}provider_{kind}:{hashed(issuer, client_id, name)}"

    def _ended(self, key: str) -> str:
        return f"{key}:ended"


def _is_before(ended: bytes, issued_at: float) -> bool:
    """Tell whether a logout was before an ID token was issued; what is no time never was."""
    ended_at = read_time(ended)
    return ended_at is not None and ended_at < issued_at
