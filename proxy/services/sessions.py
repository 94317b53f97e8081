"""Native sessions in the store (reference.md §4): made, kept in use, ended.

What a record says is core.formats.native's; how records are found and read is
services.session_reading's; this module knows lives, scripts and the order of steps. The cookie's value exists in the answer of `create` and in the browser only: keys, lists and logs have
its digest (security.md, S10).
"""

from __future__ import annotations

import contextlib
import math
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from proxy.adapters.store.port import Argument, Call, Script, Store
from proxy.core.binding import Binding
from proxy.core.formats.native import NativeSession, cookie_digest, encode, read_time
from proxy.core.revocation import digest as digest_of
from proxy.core.session_search import Search
from proxy.errors import StoreUnavailable
from proxy.services.session_reading import BATCH, OnLook, SessionReader, StoredSession, is_id

COOKIE_BYTES: Final = 32
"""256 random bits, 43 characters of base64url."""
STEPS_OF_IDLE: Final = 10
"""The last use is written at most once in this part of the idle timeout."""
ENDED_LIFE_S: Final = 3600.0
"""How long it is remembered that somebody's sessions were ended: no login takes so long (R6)."""

# R6: nothing resurrects. Does nothing when the session's key is gone, and nothing when the last
# use was there at the look-up (ARGV[4]) and has run out since: the answer is then nothing. Written
# over only when it is older than a step (ARGV[2]); one from the future, a clock that was wrong, is
# put right. Else the answer is whether it was written, and the last use that stands there now.
_TOUCH: Final = Script(
    """
if redis.call('EXISTS', KEYS[1]) == 0 then return false end
local seen = redis.call('GET', KEYS[2])
if not seen and ARGV[4] == '1' then return false end
local at = tonumber(seen or '')
local now, step = tonumber(ARGV[1]), tonumber(ARGV[2])
if at and at > now - step and at < now + step then return {0, seen} end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[3])
return {1, ARGV[1]}
""",
    is_durable=False,
)


_LEFT: Final = Script("return redis.call('PTTL', KEYS[1])", is_durable=False)


@dataclass(frozen=True, slots=True)
class Login:
    """Whose session is to be made, and what it is to say of them."""

    subject: str
    email: str | None = None
    name: str | None = None
    roles: Sequence[str] = ()
    scopes: Sequence[str] = ()
    claims: Mapping[str, Any] = field(default_factory=dict)
    amr: Sequence[str] = ()
    """How they proved who they are (RFC 8176); empty where an operator vouches for them."""
    address: str | None = None
    agent: str | None = None
    auth_time: float | None = None
    """When the last real factor was given, in epoch seconds; `None`: just now (S7)."""
    lifetime_s: float | None = None
    """Of a session that is remembered, used or not; `None`: that of its scheme."""
    binding: Binding | None = None


@dataclass(frozen=True, slots=True)
class Proof:
    """A factor that somebody who is signed in has proved again (S7)."""

    amr: tuple[str, ...]
    """What the session says from now on, in place of what it said."""
    binding: Binding | None
    """What it is bound to from now on: where the factor was proved."""
    address: str | None = None
    agent: str | None = None


@dataclass(frozen=True, slots=True)
class Beginning:
    """What the store said when a login began: see `Sessions.begin`."""

    subject: str
    marks: tuple[bytes | None, ...]


class LoginRevoked(Exception):
    """While somebody was signing in, every session of theirs was ended (security.md, R6)."""


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session that was just made."""

    cookie: str = field(repr=False)
    """The cookie's value: a credential, told once."""
    digest: str
    """What the session is stored, listed and ended under."""
    expires_at: float
    ended: tuple[str, ...] = ()
    """The sessions of the same person that had to make room for it."""


@dataclass(frozen=True, slots=True)
class Use:
    """What the store says of a session's last use after it was asked to note one."""

    is_written: bool
    """False: somebody else had noted one within the step."""
    seen_at: float


class Used(NamedTuple):
    """A use that is to be noted: see `Sessions.use`."""

    digest: str
    now: float
    had_seen: bool
    is_remembered: bool = False


Follow = Callable[[str, str, float, float], Awaitable[bool]]
"""Takes along what is kept beside a session: old and new digest, the new one's end, now. False: the
session was ended meanwhile, and the new one is ended too."""


class Sessions(SessionReader):
    """The native sessions under one prefix of one store.

    Every method raises `StoreUnavailable`.
    """

    def __init__(
        self,
        store: Store,
        *,
        prefix: str,
        idle_timeout_s: float,
        lifetime_s: float,
        remember_s: float | None = None,
        longest_idle_s: float | None = None,
        per_user: int | None = None,
    ) -> None:
        """Prepare.

        `remember_s`: the longest life of a remembered session, if there are any. `longest_idle_s`:
        the longest idle timeout of any scheme that has its sessions here. `per_user`: how many live
        sessions one person may have.
        """
        super().__init__(
            store,
            prefix=prefix,
            idle_timeout_s=idle_timeout_s,
            lifetime_s=lifetime_s,
            remember_s=remember_s,
        )
        self._per_user = per_user
        self._longest_idle_s = longest_idle_s or idle_timeout_s
        self._step_s = idle_timeout_s / STEPS_OF_IDLE
        self._idle_ms = max(1, math.ceil(idle_timeout_s * 1000))
        self._remember_ms = max(self._idle_ms, math.ceil((remember_s or 0.0) * 1000))

    def ended_keys(self, subject: str) -> tuple[str, str]:
        """Return the keys that say when all of somebody's sessions, and all there are, were ended."""
        return f"{self._prefix}ended:{{{digest_of(subject)}}}", f"{self._prefix}ended:all"

    async def begin(self, subject: str) -> Beginning:
        """Note where a login of `subject` begins: before its factors are checked."""
        keys = self.ended_keys(subject)
        return Beginning(subject, tuple([(await self._store.fetch([key]))[0] for key in keys]))

    async def ended_ago(self, subject: str) -> float:
        """Return how many seconds ago all sessions of `subject` were ended; infinite where none were lately.

        For a login that began before anybody could say whose it is; by the store's clock alone.
        """
        left = [await self._store.run(_LEFT, [key]) for key in self.ended_keys(subject)]
        return min((ENDED_LIFE_S - ms / 1000 for ms in left if ms >= 0), default=math.inf)

    async def rotate(
        self, old: str | None, login: Login, now: float, *, began: Beginning | None = None
    ) -> NewSession:
        """Make a session in the place of `old`, a digest, which is gone when this returns (S1).

        `old` may name nothing. `began`: where sessions of the subject were ended since, there is no
        new one either (R6); raises `LoginRevoked`. Raises `ValueError` as `create` does.
        """
        made = await self._make(login, now)
        try:
            await self._make_way(old, began)
        except BaseException:
            with contextlib.suppress(StoreUnavailable):
                await self.revoke(made.digest)  # nobody was told its cookie: it would only linger
            raise
        return replace(made, ended=await self._make_room(login.subject, now))

    async def succeed(
        self,
        old: str,
        proof: Proof,
        now: float,
        *,
        began: Beginning | None = None,
        follow: Follow | None = None,
    ) -> NewSession | None:
        """Give a live session a new id, and what was proved again; `old` is gone then (S1).

        It ends when the old one would have; `follow` takes along what is kept beside it. `None`: there is nothing to succeed, because the old one
        is over, or was ended or succeeded meanwhile: a session that was ended does not come back (R6).
        Raises `LoginRevoked` as `rotate` does.
        """
        before = await self.show(old, now)
        if before is None:
            return None
        session = replace(
            before.session,
            created_at=math.floor(now),
            auth_time=math.floor(now),
            amr=proof.amr,
            version=before.session.version + 1,
            address=proof.address,
            agent=proof.agent,
            binding=proof.binding,
        )
        made = await self._put(session, now)
        try:
            if follow is not None and not await follow(old, made.digest, made.expires_at, now):
                return None
            has_made_way = await self._make_way(old, began)
        except BaseException:
            with contextlib.suppress(StoreUnavailable):
                await self.revoke(made.digest)
            raise
        if not has_made_way:
            await self.revoke(made.digest)
            return None
        return made

    async def _make_way(self, old: str | None, began: Beginning | None) -> bool:
        """End the old session, and look whether the subject's were ended since the login began.

        Returns whether there was an old one.
        Asked after the new record is there: whoever ends them marks it first and looks for records
        then, so that one of both finds the other. Raises `LoginRevoked`.
        """
        has_ended = old is not None and await self.revoke(old)
        if began is None:
            return has_ended
        marks = (await self.begin(began.subject)).marks
        if any(mark not in (None, before) for mark, before in zip(marks, began.marks, strict=True)):
            raise LoginRevoked
        return has_ended

    async def create(self, login: Login, now: float) -> NewSession:
        """Make a session under a new id and return it with its cookie's value.

        Where the person then has more than `per_user`, the oldest are ended. Raises `ValueError`
        for what no record may say (an empty subject, a claim that is not JSON).
        """
        made = await self._make(login, now)
        return replace(made, ended=await self._make_room(login.subject, now))

    async def _make(self, login: Login, now: float) -> NewSession:
        created_at = math.floor(now)
        life_s = self._lifetime_s if login.lifetime_s is None else login.lifetime_s
        expires_at = created_at + math.ceil(life_s)
        session = NativeSession(
            created_at=created_at,
            expires_at=expires_at,
            auth_time=created_at if login.auth_time is None else math.floor(login.auth_time),
            is_remembered=login.lifetime_s is not None,
            binding=login.binding,
            subject=login.subject,
            amr=tuple(login.amr),
            email=login.email,
            name=login.name,
            roles=tuple(login.roles),
            scopes=tuple(login.scopes),
            claims=login.claims,
            address=login.address,
            agent=login.agent,
        )
        return await self._put(session, now)

    async def _put(self, session: NativeSession, now: float) -> NewSession:
        """Store a session under a new id. Raises `ValueError` for what no record may say."""
        cookie = secrets.token_urlsafe(COOKIE_BYTES)
        digest, record = cookie_digest(cookie), encode(session)
        life_s = session.expires_at - now
        oldest = await self._index.add(session.subject, digest, made_at=now, life_s=life_s)
        is_new = await self._store.put(self.session_key(digest), record, ttl_s=life_s, only="new")
        if not is_new:
            raise RuntimeError("256 random bits came twice")  # the random source is broken
        await self._known(session.subject, oldest, now)
        return NewSession(cookie, digest, session.expires_at)

    def is_touch_due(self, seen_at: float, now: float) -> bool:
        """Tell whether a use at `now` has to be written, the last known one being at `seen_at`."""
        return abs(now - seen_at) >= self._step_s

    async def touch(self, stored: StoredSession, now: float) -> bool:
        """Note that a session that was just looked up is in use; return whether it was written.

        At most once in a tenth of the idle timeout, and never for a session that is gone (R6).
        """
        use = await self.use(stored.digest, now, had_seen=stored.seen is not None)
        return use is not None and use.is_written

    async def use(
        self, digest: str, now: float, *, had_seen: bool, is_remembered: bool = False
    ) -> Use | None:
        """Note that a session is in use, as `touch` does; `None`: it is over (R6).

        `had_seen`: True if its last use stood in the store when it was read, or was written since.
        A session that `is_remembered` is not over because its last use has run out.
        """
        (use,) = await self.use_many([Used(digest, now, had_seen, is_remembered)])
        return use

    async def use_many(self, used: Sequence[Used]) -> list[Use | None]:
        """Note the uses of many sessions by one write, each as `use` does."""
        replies = await self._store.run_many(_TOUCH, [self._touching(one) for one in used])
        return [_use(reply, one.now) for reply, one in zip(replies, used, strict=True)]

    def _touching(self, used: Used) -> Call:
        digest, is_remembered = used.digest, used.is_remembered
        has_seen = "1" if used.had_seen and not is_remembered else "0"
        life_ms = self._remember_ms if is_remembered else self._idle_ms
        args: list[Argument] = [repr(float(used.now)), repr(self._step_s), life_ms, has_seen]
        return [self.session_key(digest), self.seen_key(digest)], args

    async def revoke(self, digest: str, *, subject: str | None = None) -> bool:
        """End one session, with `subject` only if it is theirs; return whether there was one."""
        if not is_id(digest):
            return False
        owner = await self.owner(digest)
        if subject is not None and owner != subject:
            return False
        return await self._end([digest], owner) > 0

    async def end(self, digest: str, subject: str) -> bool:
        """End a session that was just read, and is known to be `subject`'s; False: somebody has."""
        return await self._end([digest], subject) > 0

    async def revoke_subject(self, subject: str, *, on_look: OnLook | None = None) -> int:
        """End every session of `subject`, idle ones too; return how many there were.

        A login of theirs that has begun makes none any more (R6).
        Those that the gate knows of end at once. Then the whole store is looked through for what
        other programs wrote and nobody has used yet.
        """
        await self._mark_ended(self.ended_keys(subject)[0])
        known = [listed.digest async for _, listed in self.of_subject(subject, -math.inf)]
        ended = await self._end(known, subject)
        search = Search(subject=subject)
        async for digests in self._batches(on_look):
            theirs = [listed.digest for listed in await self.read(digests, search)]
            ended += await self._end(theirs, subject)
        return ended

    async def revoke_all(self, *, on_look: OnLook | None = None) -> int:
        """End every session, records that do not fit too; return how many there were.

        No login that has begun makes one any more (R6).
        """
        await self._mark_ended(self.ended_keys("")[1])
        ended = 0
        async for digests in self._batches(on_look):
            ended += await self._end(digests)
        await self._index.clear()
        return ended

    async def _make_room(self, subject: str, now: float) -> tuple[str, ...]:
        """End the oldest live sessions beyond the limit; return them.

        Two logins at once end the same ones: both see every session, in the same order.
        """
        if self._per_user is None:
            return ()
        live = 0
        over, idle = [], []
        async for _, listed in self.of_subject(subject, now):
            if not self.is_live(listed, now):
                if self._is_over(listed, now, self._longest_idle_s):
                    idle.append(listed.digest)  # nothing brings it back, and it costs each login
                continue
            live += 1
            if live > self._per_user:
                over.append(listed.digest)
        await self._end([*over, *idle], subject)
        return tuple(over)

    async def _end(self, digests: Sequence[str], subject: str | None = None) -> int:
        """Delete records, then what stands beside them, then entries of the index; count the records."""
        ended = 0
        for start in range(0, len(digests), BATCH):
            batch = digests[start : start + BATCH]
            ended += await self._store.delete(*map(self.session_key, batch))
            await self._store.delete(*map(self.seen_key, batch), *map(self.provider_key, batch))
            if subject is not None:
                await self._index.remove(subject, batch)
        return ended

    async def _mark_ended(self, key: str) -> None:
        await self._store.put(key, secrets.token_bytes(16), ttl_s=ENDED_LIFE_S)


def _use(reply: Any, now: float) -> Use | None:
    if reply is None:
        return None
    at = read_time(reply[1])
    return Use(is_written=bool(reply[0]), seen_at=now if at is None else at)
