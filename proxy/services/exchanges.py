"""Codes of providers that one network has exchanged in vain: bounded, for all workers and gates.

Anybody may begin a login, and come back from it with a code that they made up: the gate cannot tell
before it has asked the provider, in its own name. What never belongs here: a code, and asking.
"""

from __future__ import annotations

from typing import Final

from proxy.adapters.store.port import Argument, Script, Store
from proxy.core.revocation import digest
from proxy.errors import ProxyError
from proxy.services.attempts import UNKNOWN

MOST: Final = 100
"""In vain, or on their way, within a window; whoever signs in takes nothing of it."""
WINDOW_S: Final = 60.0
"""From the first of them on."""

# KEYS: the count. ARGV: MOST, the window in ms. Returns the ms to wait; 0: it may be exchanged.
_TAKE: Final = Script("""
local count = tonumber(redis.call('GET', KEYS[1]) or '') or 0
local left = redis.call('PTTL', KEYS[1])
if count > 0 and left > 0 then
  if count >= tonumber(ARGV[1]) then return left end
  redis.call('SET', KEYS[1], count + 1, 'KEEPTTL')
else
  redis.call('SET', KEYS[1], 1, 'PX', ARGV[2])
end
return 0
""")

# KEYS as above. Nothing is taken back of a window that has not counted it.
_GIVE_BACK: Final = Script("""
local count = tonumber(redis.call('GET', KEYS[1]) or '') or 0
if count > 1 then
  redis.call('SET', KEYS[1], count - 1, 'KEEPTTL')
elseif count == 1 then
  redis.call('DEL', KEYS[1])
end
""")


class TooManyExchanges(ProxyError):
    """One network has sent too many codes that the provider did not know."""

    code = "too_many_attempts"

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"codes of a provider, to be tried again in {wait_s:.0f} s")
        self.wait_s = wait_s


class Exchanges:
    """The counts under one prefix of one store. Every method raises `StoreUnavailable`."""

    def __init__(self, store: Store, *, prefix: str) -> None:
        self._store = store
        self._prefix = prefix

    async def take(self, provider: str, network: str | None) -> None:
        """Count a code before it is exchanged. Raises `TooManyExchanges`.

        `network`: the client's address block as text; `None`, who is unknown, counts as one.
        """
        args: list[Argument] = [MOST, int(WINDOW_S * 1000)]
        wait_ms = await self._store.run(_TAKE, [self._key(provider, network)], args)
        if wait_ms > 0:
            raise TooManyExchanges(wait_ms / 1000)

    async def give_back(self, provider: str, network: str | None) -> None:
        """Take back what was counted of a code that was good, or was never sent."""
        await self._store.run(_GIVE_BACK, [self._key(provider, network)])

    def _key(self, provider: str, network: str | None) -> str:
        return f"{self._prefix}exchanges:{{{digest(provider, network or UNKNOWN)}}}"
