"""Passwords and their argon2id hashes, worked on in a few threads that yield to everything else.

What never belongs here: whose password it is, and how often somebody may try.
"""

from __future__ import annotations

import asyncio
import base64
import collections
import contextlib
import os
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, Self, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError

from proxy.config.user_models import PasswordHash, parse_hash
from proxy.errors import LoginBusy

MAX_PASSWORD_BYTES: Final = 1024
"""In UTF-8; a longer one is wrong, and never hashed (security.md, S8)."""
MEMORY_KIB, PASSES, LANES = 19 * 1024, 2, 1
"""What a new hash costs: the first of OWASP's choices for argon2id that needs no second thread."""
COST: Final = (MEMORY_KIB, PASSES, LANES)
THREADS: Final = 2
MAX_WAITING: Final = 128
"""Passwords that wait for a thread; whoever comes then is told to come back."""
SHARE: Final = 4
"""One network has at most so small a part of all places: a quarter."""

T = TypeVar("T")


def hasher(cost: tuple[int, int, int] = COST) -> PasswordHasher:
    """Return what hashes at `cost`: memory in KiB, passes, lanes."""
    memory, passes, lanes = cost
    return PasswordHasher(time_cost=passes, memory_cost=memory, parallelism=lanes)


def is_weaker(cost: tuple[int, int, int]) -> bool:
    """Tell whether a hash at `cost` is less work to guess at than a new one.

    Memory times passes (RFC 9106 §3.1); lanes share that work out and make no more of it.
    """
    memory, passes, _ = cost
    return memory * passes < MEMORY_KIB * PASSES


def hash_password(password: str) -> PasswordHash:
    """Return a new hash; takes a tenth of a second of this thread."""
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


class Passwords:
    """The threads of one worker in which passwords are checked, and the queue before them."""

    def __init__(self, *, threads: int = THREADS, waiting: int = MAX_WAITING) -> None:
        self._pool = ThreadPoolExecutor(
            threads, thread_name_prefix="password", initializer=_yield_to_others
        )
        self._room = threads + waiting
        self._share = max(1, self._room // SHARE)
        self._held: collections.Counter[str | None] = collections.Counter()
        """Places by network; no network stands here without one."""

    def place(self, network: str | None) -> Place:
        """Return a place in the queue. Raises `LoginBusy` where there is none, or none for `network`.

        `network`: the client's address block as text; whoever is unknown counts as one.
        """
        if self._room <= 0:
            raise LoginBusy("too many passwords wait to be checked")
        if self._held[network] >= self._share:
            raise LoginBusy("too many passwords of one network wait to be checked")
        self._room -= 1
        self._held[network] += 1
        return Place(network, partial(self._free, network))

    async def verify(self, known: PasswordHash, password: str, place: Place) -> bool:
        """Say whether `password` is the one behind `known`.

        What is too long is compared too, cut short and never right: it takes no less time.
        """
        raw = password.encode("utf-8", "surrogatepass")
        is_fit = 0 < len(raw) <= MAX_PASSWORD_BYTES
        raw = raw[:MAX_PASSWORD_BYTES]
        return await self._run(place, lambda: _is_right(known, raw)) and is_fit

    async def rehash(self, known: PasswordHash, password: str, place: Place) -> PasswordHash:
        """Return a hash at the gate's own cost of a password that was right.

        It keeps its salt, by which a new password can be told from an old one hashed anew.
        """
        salt = base64.b64decode(known.salt + "=" * (-len(known.salt) % 4))
        raw = checked_length(password)
        return parse_hash(await self._run(place, lambda: hasher().hash(raw, salt=salt)))

    def close(self) -> None:
        """End the threads; what waits is not done any more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _run(self, place: Place, work: Callable[[], T]) -> T:
        free = place.use()
        future = self._pool.submit(work)
        # Not when the waiting ends but when the work does: who leaves early frees no thread.
        loop = asyncio.get_running_loop()
        future.add_done_callback(lambda _done: _tell(loop, free))
        return await asyncio.wrap_future(future)

    def _free(self, network: str | None) -> None:
        self._room += 1
        self._held[network] -= 1
        if self._held[network] <= 0:
            del self._held[network]


def _tell(loop: asyncio.AbstractEventLoop, what: Callable[[], None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(what)


def _is_right(known: PasswordHash, password: bytes) -> bool:
    try:
        return hasher().verify(known.text, password)
    except VerificationError:
        return False


def _yield_to_others() -> None:
    """Let requests go before passwords where the kernel counts threads one by one (Linux)."""
    if hasattr(os, "setpriority") and os.uname().sysname == "Linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
