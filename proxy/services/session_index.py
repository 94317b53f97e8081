"""Which sessions a person has, and which refresh families, without going through all that there are.

One sorted set for each subject and kind: its members are digests, their scores the times at which
they were made. It is a finding aid and no authority: what a session is stands in its record alone,
and whoever reads an entry reads the record as well. All that is said here of sessions goes for
refresh families.

- An entry is written *before* its record and taken out *after* it: whoever dies in between leaves an
  entry without a session, never a session without an entry.
- A reader takes out entries whose record is gone, unless they are so young that the record may still
  be on its way (`YOUNG_S`).
- A session that another program wrote has no entry until the gate sees it used.

Every command names one key, so that the sets may stand on any node of a Cluster.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from proxy.adapters.store.port import Argument, Call, Script, Store
from proxy.core.revocation import digest as hashed

YOUNG_S: Final = 300.0
"""How long an entry without a record is left alone; clocks of gates may differ by as much."""
OLDEST: Final = 5
"""Entries that each login looks at, so that a set without readers does not keep what is gone."""
LATEST: Final = 1e12
"""No time that a set may say is later; it is in the year 33658."""
_DELETED: Final = 100
_MARK: Final = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)~([0-9a-f]{64}|[0-9a-f]{32})")
_ID: Final = re.compile(r"[0-9a-f]{64}|[0-9a-f]{32}")

Kind = Literal["sessions", "families"]

# KEYS: the set. ARGV: score, digest, life of the session in ms. The set lives as long as the
# session in it that lives longest; one that was just made has no life yet, which is -1.
_ADD: Final = Script("""
redis.call('ZADD', KEYS[1], 'NX', ARGV[1], ARGV[2])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[3]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return redis.call('ZRANGE', KEYS[1], 0, ARGV[4] - 1, 'WITHSCORES')
""")

_COUNT: Final = Script("return redis.call('ZCOUNT', KEYS[1], '-inf', '+inf')", is_durable=False)

_REMOVE: Final = Script("return redis.call('ZREM', KEYS[1], unpack(ARGV))")

# KEYS: the set. ARGV: how many, and the entry behind which they stand: score and digest, or
# nothing. The newest first; of the same time by digest, backwards.
_PAGE: Final = Script(
    """
local from, found, want = 0, {}, 2 * tonumber(ARGV[1])
local score = tonumber(ARGV[2])
if score then from = redis.call('ZCOUNT', KEYS[1], '(' .. ARGV[2], '+inf') end
while #found < want do
  local part = redis.call('ZRANGE', KEYS[1], from, from + 99, 'REV', 'WITHSCORES')
  if #part == 0 then break end
  for at = 1, #part, 2 do
    local is_before = score and tonumber(part[at + 1]) == score and part[at] >= ARGV[3]
    if not is_before and #found < want then
      found[#found + 1] = part[at]
      found[#found + 1] = part[at + 1]
    end
  end
  from = from + 100
end
return found
""",
    is_durable=False,
)


@dataclass(frozen=True, slots=True)
class Entry:
    """A session, or a refresh family, that a subject has, or had."""

    digest: str
    made_at: float
    """Epoch seconds."""

    def mark(self) -> str:
        """Return where a list goes on behind this entry. No credential, and no secret."""
        return f"{self.made_at:.9f}".rstrip("0").rstrip(".") + f"~{self.digest}"


class Made(NamedTuple):
    """A session whose entry is to be there: see `SessionIndex.add`."""

    subject: str
    digest: str
    made_at: float
    life_s: float


def read_mark(mark: str) -> Entry:
    """Return the entry that `mark` stands for. Raises `ValueError`."""
    found = _MARK.fullmatch(mark)
    if found is None:
        raise ValueError("no such place in the list")
    return Entry(found[2], float(found[1]))


class SessionIndex:
    """The sets under one prefix of one store. Every method raises `StoreUnavailable`."""

    def __init__(self, store: Store, *, prefix: str, of: Kind = "sessions") -> None:
        self._store = store
        self._prefix = f"{prefix}{of}:{{"

    def key(self, subject: str) -> str:
        """Return the key of the set of `subject`."""
        return f"{self._prefix}{hashed(subject)}}}"

    async def add(self, subject: str, digest: str, *, made_at: float, life_s: float) -> list[Entry]:
        """Note that `subject` has a session; return the oldest entries.

        Repeating it changes nothing. `life_s`: how long the session lives at most, from now.
        """
        return _entries(
            await self._store.run(_ADD, *self._adding(Made(subject, digest, made_at, life_s)))
        )

    async def add_many(self, made: Sequence[Made]) -> None:
        """Note many sessions by one write."""
        if made:
            await self._store.run_many(_ADD, [self._adding(one) for one in made])

    def _adding(self, made: Made) -> Call:
        life_ms = max(1, math.ceil(made.life_s * 1000))
        args: list[Argument] = [repr(float(made.made_at)), made.digest, life_ms, OLDEST]
        return [self.key(made.subject)], args

    async def remove(self, subject: str, digests: Iterable[str]) -> None:
        """Take entries out."""
        members = list(digests)
        if members:
            await self._store.run(_REMOVE, [self.key(subject)], members)

    async def count(self, subject: str) -> int:
        """Return how many entries `subject` has, those without a session among them."""
        return int(await self._store.run(_COUNT, [self.key(subject)], []))

    async def page(self, subject: str, count: int, *, after: Entry | None = None) -> list[Entry]:
        """Return at most `count` entries behind `after`, the newest first."""
        args: list[Argument] = [count, "", ""]
        if after is not None:
            args = [count, repr(after.made_at), after.digest]
        return _entries(await self._store.run(_PAGE, [self.key(subject)], args))

    async def clear(self) -> None:
        """Forget everything. A session that is made meanwhile has its entry again when it is used."""
        keys: list[str] = []
        async for key in self._store.scan(self._prefix):
            keys.append(key)
            if len(keys) >= _DELETED:
                await self._store.delete(*keys)
                keys = []
        await self._store.delete(*keys)


def _entries(reply: Sequence[bytes]) -> list[Entry]:
    """Read members and scores; whoever may write to the store may have added anything."""
    return [
        Entry(digest.decode(), float(score))
        for digest, score in zip(reply[::2], reply[1::2], strict=True)
        if _ID.fullmatch(digest.decode("ascii", "replace")) and 0 <= float(score) < LATEST
    ]
