"""Revoking tokens, and noticing when revocations were lost (security.md, R3 and R4).

A revocation is a marker in the store (names: core.revocation) that lives as long as a token that
it refuses may. Because a lost marker means *allow*, every script here also raises a count, and
`RevocationWatch` looks each second whether the count, or the store's epoch, went back.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
from collections.abc import Callable, Sequence
from typing import Final, Literal

from proxy.adapters.store.port import Script, Store
from proxy.core.revocation import Believed, RevocationKeys
from proxy.errors import StoreUnavailable

LOOK_EVERY_S: Final = 1.0
"""R4: how long a loss may go unnoticed."""

OnLoss = Literal["revoke_all", "accept"]
Finding = Literal["good", "lost", "foreign"]

_log = logging.getLogger("latchgate.revocations")

# Raises a marker (KEYS[2]) to the time ARGV[1] for at least ARGV[2] ms. An earlier time or a
# shorter life never replaces a later or longer one: clocks of gates differ, and two commands may
# name one thing with different lives.
_RAISE: Final = """
local function raise(key, time, life)
  local before = redis.call('GET', key)
  local left = redis.call('PTTL', key)
  if before and (tonumber(before) or 0) > tonumber(time) then time = before end
  if left > tonumber(life) then life = left end
  if left == -1 then
    redis.call('SET', key, time)
  else
    redis.call('SET', key, time, 'PX', life)
  end
end
"""

# Reads a count as `_count` does: what INCR could not raise is below every count.
_COUNT: Final = """
local function counted(value)
  if not value then return 0 end
  if #value < 16 and string.match(value, '^%d+$') then return tonumber(value) end
  return -1
end
"""

# KEYS: the count, the markers. ARGV: the time, their life in ms. Markers of one script are lost
# together or not at all, so the count says enough of them by one more.
_REVOKE: Final = Script(
    _RAISE
    + """
for at = 2, #KEYS do raise(KEYS[at], ARGV[1], ARGV[2]) end
return redis.call('INCR', KEYS[1])
"""
)

_BEGIN: Final = Script(
    """
redis.call('SET', KEYS[1], ARGV[1], 'NX')
return {redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2]) or '0'}
""",
    is_durable=False,
)

# KEYS: epoch, count, all. ARGV: our epoch, highest count, now, new epoch, life of `all` in ms,
# whether `all` is written. Returns 1 when it was still so and is repaired now.
_REPAIR: Final = Script(
    _RAISE
    + _COUNT
    + """
local epoch = redis.call('GET', KEYS[1])
local count = counted(redis.call('GET', KEYS[2]))
if epoch and (epoch ~= ARGV[1] or count >= tonumber(ARGV[2])) then return 0 end
if ARGV[6] == '1' then raise(KEYS[3], ARGV[3], ARGV[5]) end
redis.call('SET', KEYS[1], ARGV[4])
redis.call('SET', KEYS[2], ARGV[2])
return 1
""",
    is_durable=False,
)

# KEYS: epoch, count, all. ARGV: the foreign epoch, our last good look, now, life of `all` in ms,
# whether `all` may be written. Returns the count, or -1 when the epoch changed once more.
_ADOPT: Final = Script(
    _RAISE
    + _COUNT
    + """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return -1 end
local count = math.max(0, counted(redis.call('GET', KEYS[2])))
local all = tonumber(redis.call('GET', KEYS[3]) or '')
if ARGV[5] == '1' and (not all or all < tonumber(ARGV[2])) then
  raise(KEYS[3], ARGV[3], ARGV[4])
  count = count + 1
  redis.call('SET', KEYS[2], count)
end
return count
""",
    is_durable=False,
)


class Revocations:
    """Writes revocations. `keep_s` is a scheme's `max_lifetime` + 2 leeways (`core.revocation.marker_life_s`).

    Every method returns after the store has confirmed, and raises `StoreUnavailable` otherwise:
    then it is not known whether the revocation holds, and it should be repeated.
    """

    def __init__(self, store: Store, keys: RevocationKeys) -> None:
        self._store = store
        self._keys = keys

    async def revoke_all(self, now: float, *, keep_s: float) -> None:
        """Refuse every token, of any issuer, that was issued until now."""
        await self._revoke([self._keys.all], now, keep_s)

    async def revoke_issuer(self, issuer: str, now: float, *, keep_s: float) -> None:
        """Refuse every token of `issuer` that was issued until now."""
        await self._revoke([self._keys.for_issuer(issuer)], now, keep_s)

    async def revoke_subject(self, issuer: str, subject: str, now: float, *, keep_s: float) -> None:
        """Refuse every token of one person that was issued until now."""
        await self._revoke([self._keys.for_subject(issuer, subject)], now, keep_s)

    async def revoke_session(self, issuer: str, session: str, now: float, *, keep_s: float) -> None:
        """Refuse the tokens of one session or refresh family (`sid`), whenever issued."""
        await self.revoke_sessions(issuer, [session], now, keep_s=keep_s)

    async def revoke_sessions(
        self, issuer: str, sessions: Sequence[str], now: float, *, keep_s: float
    ) -> None:
        """Do so with several, in one step: some hundreds at most."""
        if sessions:
            keys = [self._keys.for_session(issuer, session) for session in sessions]
            await self._revoke(keys, now, keep_s)

    async def revoke_token(
        self, issuer: str, name: str, now: float, *, keep_s: float, expires_at: float | None = None
    ) -> None:
        """Refuse one token, named by its `jti` or what stands for it.

        With `expires_at` (its `exp` + 2 leeways) the marker lives no longer than the token may be
        accepted; a token past that needs none.
        """
        life_s = keep_s if expires_at is None else min(keep_s, expires_at - now)
        if life_s > 0:
            await self._revoke([self._keys.for_jti(issuer, name)], now, life_s)

    async def _revoke(self, markers: Sequence[str], now: float, life_s: float) -> None:
        life_ms = max(1, math.ceil(life_s * 1000))
        await self._store.run(_REVOKE, [self._keys.count, *markers], [repr(float(now)), life_ms])


class RevocationWatch:
    """Looks each second whether the store still has every revocation that it ever had (R4).

    State: the epoch and the highest count seen, and when all was last well.
    """

    def __init__(
        self,
        store: Store,
        keys: RevocationKeys,
        *,
        keep_s: float,
        on_loss: OnLoss = "revoke_all",
        on_alert: Callable[[str], None] | None = None,
    ) -> None:
        """Prepare to watch. `keep_s` is the longest life of a marker of any scheme."""
        self._store = store
        self._keys = [keys.epoch, keys.count, keys.all]
        self._keep_ms = max(1, math.ceil(keep_s * 1000))
        self._writes_all = "1" if on_loss == "revoke_all" else "0"
        self._on_alert = on_alert or _log.critical
        self._epoch: bytes | None = None
        self._highest = 0
        self._good_at = -math.inf

    @property
    def believed(self) -> Believed | None:
        """The history that it watches; `None` while the store has not been seen yet."""
        return None if self._epoch is None else Believed(self._epoch, self._good_at)

    async def look(self, now: float) -> Finding:
        """Look once; repair or adopt what is found. Raises `StoreUnavailable`.

        `now` is epoch seconds at the call: what changes while the store answers is not yet seen.
        """
        if self._epoch is None:
            return await self._begin(now)
        epoch, raw_count, _ = await self._store.fetch(self._keys)
        if epoch is not None and epoch != self._epoch:
            return await self._adopt(epoch, now)
        count = _count(raw_count)
        if epoch is None or count < self._highest:
            return await self._repair(now)
        self._highest = count
        self._good_at = now
        return "good"

    async def run(self, clock: Callable[[], float]) -> None:
        """Look each second until cancelled; an outage is waited out, said once."""
        is_out = False
        while True:
            try:
                await self.look(clock())
            except StoreUnavailable as error:
                if not is_out:
                    _log.warning("revocations cannot be watched: %s", error)
                is_out = True
            else:
                if is_out:
                    _log.warning("revocations are watched again")
                is_out = False
            await asyncio.sleep(LOOK_EVERY_S)

    async def _begin(self, now: float) -> Finding:
        epoch, count = await self._store.run(_BEGIN, self._keys[:2], [secrets.token_hex(16)])
        self._epoch, self._highest, self._good_at = epoch, max(0, _count(count)), now
        return "good"

    async def _repair(self, now: float) -> Finding:
        assert self._epoch is not None  # noqa: S101 - `look` began with one
        new = secrets.token_hex(16)
        is_repaired = await self._store.run(
            _REPAIR,
            self._keys,
            [self._epoch, self._highest, repr(float(now)), new, self._keep_ms, self._writes_all],
        )
        if not is_repaired:
            return "lost"  # somebody else was faster: the next look sees what they did
        self._epoch, self._good_at = new.encode(), now
        self._alert("the store has lost revocations")
        return "lost"

    async def _adopt(self, epoch: bytes, now: float) -> Finding:
        count = await self._store.run(
            _ADOPT,
            self._keys,
            [epoch, repr(self._good_at), repr(float(now)), self._keep_ms, self._writes_all],
        )
        if count < 0:
            return "foreign"
        self._epoch, self._highest, self._good_at = epoch, count, now
        self._alert("the store has another history of revocations")
        return "foreign"

    def _alert(self, what: str) -> None:
        done = (
            "every token issued until now is refused"
            if self._writes_all == "1"
            else "revoked tokens may be accepted again (on_loss: accept)"
        )
        self._on_alert(f"{what}: {done}")


def _count(value: bytes | None) -> int:
    """Read the count as the scripts do: what INCR could not raise is below every count."""
    if value is None:
        return 0
    return int(value) if len(value) < 16 and value.isdigit() else -1
