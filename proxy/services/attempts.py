"""Guesses at passwords and one-time codes, counted before they are checked (security.md, S8).

Lock-out is per (account, network). Across networks an account under attack only makes everybody
wait for their turn, a network's turns being its own: nobody can lock another out. What never
belongs here: a password, a code, and what either is compared with.
"""

from __future__ import annotations

import math
from typing import Final

from proxy.adapters.store.port import Argument, Script, Store
from proxy.core.revocation import digest

TRIES: Final = 10
"""Attempts that one network may make at one account, within `LOCK_S` of one another."""
LOCK_S: Final = 900.0
"""How long a network that has used them up is locked out of the account."""
TRIES_EVERYWHERE: Final = 30
"""Attempts at one account from all networks together before each has to wait for its turn."""
LONGEST_DELAY_S: Final = 30.0
"""The longest wait for a turn; it begins at one second and doubles."""
UNKNOWN: Final = "unknown"
"""The network of whoever comes from nowhere that can be told."""

# KEYS: the account's count, the network's count, the network's turn. ARGV: now, TRIES, LOCK_S,
# TRIES_EVERYWHERE, LONGEST_DELAY_S, 1 for the second factor of one request. Returns the seconds to wait, as text (Lua would cut a number).
# Only what is let through is counted: who is told to wait has not guessed. A turn that is minutes
# farther away than any that is given here was written by a clock that was wrong, and does not count;
# seconds lie between clocks that are right, and between requests that overtake each other. The second
# factor of a request comes in its turn: it waits for no other, but no lock-out lets it through.
_TAKE: Final = Script("""
local now, lock, longest = tonumber(ARGV[1]), tonumber(ARGV[3]), tonumber(ARGV[5])
local function keep(turn)
  redis.call('SET', KEYS[3], string.format('%.3f', turn), 'PX', math.ceil((turn - now + lock) * 1000))
end
local turn = tonumber(redis.call('GET', KEYS[3]) or '')
if turn and turn - now > math.max(lock, longest) + 300 then turn = nil end
local tries = tonumber(redis.call('GET', KEYS[2]) or '') or 0
local in_turn = ARGV[6] == '1' and tries < tonumber(ARGV[2])
if turn and turn > now and not in_turn then return string.format('%.3f', turn - now) end
local over = (tonumber(redis.call('GET', KEYS[1]) or '') or 0) - tonumber(ARGV[4])
local delay = 0
if over >= 0 then delay = math.min(longest, 2 ^ math.min(over, 20)) end
if delay > 0 and not turn and not in_turn then
  keep(now + delay)
  return string.format('%.3f', delay)
end
local function counted(key) return tonumber(redis.call('GET', key) or '') or 0 end
local function count(key, tries, life)
  redis.call('SET', key, tries, 'PX', math.ceil(life * 1000))
end
count(KEYS[1], counted(KEYS[1]) + 1, lock)
if tries >= tonumber(ARGV[2]) then tries = 0 end  -- the lock-out is over
tries = tries + 1
if tries >= tonumber(ARGV[2]) then
  count(KEYS[2], tries, 2 * lock)  -- longer than the lock-out, so that success can take it back
  keep(now + lock)
else
  count(KEYS[2], tries, lock)
  if delay > 0 then keep(now + delay) end
end
return '0'
""")

# KEYS as above. Takes back what this network has counted, and leaves what others have.
_CLEAR: Final = Script("""
local tries = tonumber(redis.call('GET', KEYS[2]) or '') or 0
local all = tonumber(redis.call('GET', KEYS[1]) or '') or 0
redis.call('DEL', KEYS[2], KEYS[3])
if all > tries then
  redis.call('SET', KEYS[1], all - tries, 'KEEPTTL')
else
  redis.call('DEL', KEYS[1])
end
return tries
""")


# KEYS as above. ARGV: TRIES. Takes back one attempt, and the lock-out where it was the last. Each of
# those that are taken back was counted before: what was counted of others never gets less by it.
_GIVE_BACK: Final = Script("""
local tries = tonumber(redis.call('GET', KEYS[2]) or '') or 0
if tries <= 0 then return end
if tries >= tonumber(ARGV[1]) then redis.call('DEL', KEYS[3]) end
for index = 1, 2 do
  local counted = tonumber(redis.call('GET', KEYS[index]) or '') or 0
  if counted > 1 then
    redis.call('SET', KEYS[index], counted - 1, 'KEEPTTL')
  else
    redis.call('DEL', KEYS[index])
  end
end
""")


class Attempts:
    """Counts attempts in the store, for all workers and gates that share it.

    Every method raises `StoreUnavailable`: what cannot be counted must not be checked.
    """

    def __init__(self, store: Store, *, prefix: str) -> None:
        self._store = store
        self._prefix = prefix

    async def take(
        self, account: str, network: str | None, now: float, *, is_second: bool = False
    ) -> float:
        """Count one attempt, in one step, and return the seconds to wait; 0.0: it may be checked.

        Called before every password, one-time code and recovery code, wherever it is asked for, and
        for accounts that do not exist as well. `network`: the client's address block as text;
        `None` where it is unknown: whoever is unknown counts as one network. `is_second`: this is the
        code of a request whose password was let through and right; the turn of one is that of both.
        """
        args: list[Argument] = [repr(float(now)), TRIES, LOCK_S, TRIES_EVERYWHERE, LONGEST_DELAY_S]
        args.append(int(is_second))
        reply = await self._store.run(_TAKE, self._keys(account, network), args)
        return max(0.0, float(reply))

    async def clear(self, account: str, network: str | None) -> None:
        """Forget the attempts of `network` at `account`, after the last factor was right."""
        await self._store.run(_CLEAR, self._keys(account, network))

    async def give_back(self, account: str, network: str | None) -> None:
        """Forget one attempt that `take` let through, and nothing of those before it.

        For a factor that was right and was not the last that the person has.
        """
        await self._store.run(_GIVE_BACK, self._keys(account, network), [TRIES])

    def _keys(self, account: str, network: str | None) -> list[str]:
        """Name the three keys: one hash tag, and nothing of the account in the clear."""
        stem = f"{self._prefix}attempts:{{{digest(account)}}}"
        block = digest(account, network or UNKNOWN)
        return [stem, f"{stem}:{block}", f"{stem}:{block}:turn"]


def retry_after(wait_s: float) -> bytes:
    """Return `wait_s` as `Retry-After` says it: whole seconds, at least one (RFC 9110 §10.2.3)."""
    return str(max(1, math.ceil(wait_s))).encode("ascii")
