"""Passwords and their argon2id hashes, worked on in a process that gives way to everything else.

What never belongs here: whose password it is, and how often somebody may try.
"""

from __future__ import annotations

import asyncio
import base64
import collections
import contextlib
import os
import random
import secrets
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Final, Self

from proxy.adapters.hashing import COST, MEMORY_KIB, PASSES, hasher
from proxy.adapters.password_process import PLAIN, asked
from proxy.adapters.tasks import spawn
from proxy.config.user_models import PasswordHash, parse_hash
from proxy.errors import LoginBusy

MAX_PASSWORD_BYTES: Final = 1024
"""In UTF-8; a longer one is wrong, and never hashed (security.md, S8)."""
MAX_BEFORE_S: Final = 30.0
"""How long a password may wait and be worked on; whoever has waited longer is told to come back."""
MAX_WAITING: Final = 128
"""Passwords that wait their turn; whoever comes then is told to come back."""
STALLED_S: Final = 1.0
"""A process that has finished nothing for so long gets no time: a hash takes some hundredths."""
PLAIN_S: Final = 60.0
"""How long it is not tried again to give way, where that stalled."""
SWITCH: Final = "LATCHGATE_PASSWORDS"
"""The environment variable that says `plain` where passwords are to give way to nothing: on a machine
that has other work all the time."""
GUESS_S: Final = 0.05
"""What a password takes, before the first one was looked at."""
SHARE: Final = 4
"""One network has at most so small a part of all places: a quarter."""


def is_weaker(cost: tuple[int, int, int]) -> bool:
    """Tell whether a hash at `cost` is less work to guess at than a new one.

    Memory times passes (RFC 9106 §3.1); lanes share that work out and make no more of it.
    """
    memory, passes, _ = cost
    return memory * passes < MEMORY_KIB * PASSES


def hash_password(password: str) -> PasswordHash:
    """Return a new hash; takes some 30 ms of this thread."""
    return parse_hash(hasher().hash(checked_length(password)))


def checked_length(password: str) -> bytes:
    """Return the password's bytes. Raises `ValueError` for none at all and for one too long."""
    raw = password.encode("utf-8", "surrogatepass")
    if not raw:
        raise ValueError("a password must not be empty")
    if len(raw) > MAX_PASSWORD_BYTES:
        raise ValueError(f"a password has at most {MAX_PASSWORD_BYTES} bytes")
    return raw


def dummy_hash(cost: tuple[int, int, int] = COST) -> PasswordHash:
    """Return a hash of nothing that anybody knows, to be compared with where there is no user."""
    memory, passes, lanes = cost
    salt, digest = (
        base64.b64encode(secrets.token_bytes(size)).decode().rstrip("=") for size in (16, 32)
    )
    return parse_hash(f"$argon2id$v=19$m={memory},t={passes},p={lanes}${salt}${digest}")


class Place:
    """A place in the queue, taken before an attempt is counted, and for one piece of work.

    As a context manager it is given back at the end, unless work has been begun: then when that is done.
    """

    def __init__(self, network: str | None, free: Callable[[], None]) -> None:
        self.network = network
        self._free = free
        self._is_held = True

    def __enter__(self) -> Self:
        """Keep the place."""
        return self

    def __exit__(self, *_raised: object) -> None:
        """Give it back if nothing was done with it."""
        if self._is_held:
            self.use()()

    def use(self) -> Callable[[], None]:
        """Return what gives the place back once the work is done. Raises `RuntimeError` the second time."""
        if not self._is_held:
            raise RuntimeError("a place is for one password")
        self._is_held = False
        return self._free


class _Process:
    """The process of one worker, and those who wait for its answers, in their order."""

    def __init__(self, process: asyncio.subprocess.Process, *, is_plain: bool) -> None:
        self._process = process
        self._waiting: collections.deque[tuple[asyncio.Future[bytes], bytes]] = collections.deque()
        self._went_on_at = self._began_at = time.monotonic()
        self._is_plain = is_plain
        self.each_s = GUESS_S
        """What one piece of work takes, lately."""
        self._reader = spawn(self._read(), name="answers of the process for passwords")
        self.is_over = False

    @classmethod
    async def start(cls, *, is_plain: bool) -> Self:
        """Start it; `is_plain`: it gives way to nobody. Raises `OSError`."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-P", "-m", "proxy.adapters.password_process", *((PLAIN,) if is_plain else ())),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        return cls(process, is_plain=is_plain)

    def ask(
        self, line: bytes, future: asyncio.Future[bytes] | None = None
    ) -> asyncio.Future[bytes]:
        """Have one piece of work done. The future fails with `LoginBusy` when the process ends."""
        future = future or asyncio.get_running_loop().create_future()
        if not self._waiting:
            self._went_on_at = time.monotonic()
        self._waiting.append((future, line))
        assert self._process.stdin is not None  # noqa: S101 - as it was started
        self._process.stdin.write(line)  # bounded by the queue's places
        return future

    @property
    def is_stalled(self) -> bool:
        """True where it gets no time, because it gives way to work that does not end."""
        return not self._is_plain and time.monotonic() - self._went_on_at > STALLED_S

    @property
    def may_give_way_again(self) -> bool:
        """True where it was started because another one stalled, and nothing is left of that."""
        is_old = time.monotonic() - self._began_at > PLAIN_S
        return self._is_plain and is_old and not self._waiting

    def has_hung(self, patience_s: float) -> bool:
        """Tell whether it has finished nothing for half of what somebody would wait."""
        return bool(self._waiting) and time.monotonic() - self._went_on_at >= patience_s / 2

    def kill(self) -> None:
        """End it: those who wait are told so when its answers end."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    def hand_over(self, other: _Process) -> None:
        """Have another process do what is left to do."""
        waiting, self._waiting = self._waiting, collections.deque()
        for future, line in waiting:
            other.ask(line, future)

    async def close(self) -> None:
        """End it, whatever it is at."""
        self.kill()
        await asyncio.wait([self._reader])

    async def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - as it was started
        try:
            while (line := await self._process.stdout.readline()) and self._waiting:
                future, _ = self._waiting.popleft()
                now = time.monotonic()
                self.each_s += (now - self._went_on_at - self.each_s) / 8
                self._went_on_at = now
                if not future.done():
                    future.set_result(line.rstrip(b"\n"))
        finally:
            self.is_over = True
            for future, _ in self._waiting:
                if not future.done():
                    future.set_exception(LoginBusy("the process for passwords has ended"))
                    future.exception()  # seen: whoever waits may have left
            self.kill()
            await self._process.wait()
            if self._process.stdin is not None:  # the last that is open of it
                self._process.stdin.close()
                with contextlib.suppress(OSError):
                    await self._process.stdin.wait_closed()


class Passwords:
    """The process of one worker in which passwords are checked, and the queue before it.

    It is started for the first password, and again where it has ended.
    """

    def __init__(self, *, waiting: int = MAX_WAITING, patience_s: float = MAX_BEFORE_S) -> None:
        self._room = 1 + waiting
        self._patience_s = patience_s
        self._share = max(1, self._room // SHARE)
        self._held: collections.Counter[str | None] = collections.Counter()
        """Places by network; no network stands here without one."""
        self._process: _Process | None = None
        self._starting = asyncio.Lock()
        self._is_closed = False
        self._is_plain = os.environ.get(SWITCH) == PLAIN

    def place(self, network: str | None) -> Place:
        """Return a place in the queue. Raises `LoginBusy` where there is none, or none for `network`.

        `network`: the client's address block as text; whoever is unknown counts as one.
        """
        if self._room <= 0:
            raise LoginBusy("too many passwords wait to be checked", self._wait_s())
        if self._held[network] >= self._share:
            raise LoginBusy("too many passwords of one network wait to be checked", self._wait_s())
        self._room -= 1
        self._held[network] += 1
        return Place(network, partial(self._free, network))

    async def verify(self, known: PasswordHash, password: str, place: Place) -> bool:
        """Say whether `password` is the one behind `known`.

        What is too long is compared too, cut short and never right: it takes no less time. Raises
        `LoginBusy` where it took too long.
        """
        raw = password.encode("utf-8", "surrogatepass")
        is_fit = 0 < len(raw) <= MAX_PASSWORD_BYTES
        found = await self._done(asked(known.text, raw[:MAX_PASSWORD_BYTES]), place)
        return found == b"yes" and is_fit

    async def rehash(self, known: PasswordHash, password: str, place: Place) -> PasswordHash:
        """Return a hash at the gate's own cost of a password that was right.

        It keeps its salt, by which a new password can be told from an old one hashed anew. Raises
        `LoginBusy` as `verify` does.
        """
        salt = base64.b64decode(known.salt + "=" * (-len(known.salt) % 4))
        found = await self._done(asked(known.text, checked_length(password), salt), place)
        return parse_hash(found.decode("ascii"))

    async def close(self) -> None:
        """End the process; what waits is not done any more."""
        self._is_closed = True
        async with self._starting:
            if self._process is not None:
                await self._process.close()

    def _wait_s(self) -> float:
        """Return when whoever finds no place should come back: not all at the same moment."""
        each_s = GUESS_S if self._process is None else self._process.each_s
        ahead = self._held.total()
        return min(self._patience_s, ahead * each_s * random.uniform(1, 2))  # noqa: S311 - spreading load is no secret

    async def _done(self, line: bytes, place: Place) -> bytes:
        free = place.use()
        try:
            work = (await self._started()).ask(line)
        except BaseException:
            free()
            raise
        # Not when the waiting ends but when the work does: who leaves early makes no room.
        work.add_done_callback(lambda _done: free())
        try:
            async with asyncio.timeout(self._patience_s):
                while not (await asyncio.wait((work,), timeout=STALLED_S))[0]:
                    await self._look()
                return work.result()
        except TimeoutError:
            self._end_what_has_hung()
            raise LoginBusy("a password waited too long to be checked") from None

    async def _started(self) -> _Process:
        async with self._starting:
            if self._is_closed:
                raise LoginBusy("the gate shuts down")
            process = self._process
            if process is not None and not self._is_plain and process.may_give_way_again:
                await process.close()
            if process is None or process.is_over:
                process = self._process = await self._start(is_plain=self._is_plain)
            return process

    def _end_what_has_hung(self) -> None:
        """Make room again: nobody gives a place back whose password is never looked at."""
        process = self._process
        if process is not None and not process.is_over and process.has_hung(self._patience_s):
            process.kill()

    async def _look(self) -> None:
        """Where requests leave no time at all, go on in a process that takes its part."""
        async with self._starting:
            stalled = self._process
            if stalled is None or self._is_closed or stalled.is_over or not stalled.is_stalled:
                return
            self._process = await self._start(is_plain=True)
            stalled.hand_over(self._process)
            await stalled.close()

    @staticmethod
    async def _start(*, is_plain: bool) -> _Process:
        try:
            return await _Process.start(is_plain=is_plain)
        except OSError:
            raise LoginBusy("no process for passwords can be started") from None

    def _free(self, network: str | None) -> None:
        self._room += 1
        self._held[network] -= 1
        if self._held[network] <= 0:
            del self._held[network]
