"""Where verification keys come from: files and secrets, providers, the supervisor (security.md, K3).

A provider is asked by one process of the gate, with `RemoteKeys`; every other process holds
`RelayedKeys`, to which the documents are pushed. What never belongs here: tokens, and the choice
of a key for one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from proxy.adapters.boot_clock import boot_time
from proxy.adapters.jwks import FetchFailed, Provider, fetch_jwks
from proxy.adapters.tasks import spawn
from proxy.core.keyset import KeySet, KeySetInvalid
from proxy.errors import KeysUnavailable

DEFAULT_MAX_STALE_S: Final = 24 * 3600.0

_log = logging.getLogger("latchgate.keys")


class KeySource(Protocol):
    """The keys of one scheme, as fresh as the source can have them."""

    def current(self) -> KeySet:
        """Return the keys at hand; raises `KeysUnavailable` if there are none that may be used."""
        ...

    async def refreshed(self, kid: str) -> KeySet | None:
        """Look once more for a key called `kid`; `None` if the source does not have it.

        Raises `KeysUnavailable` if the provider could not be asked: an outage is not a bad token.
        """
        ...


class StaticKeys:
    """Keys that are what they are until the configuration is loaded again."""

    def __init__(self, keys: KeySet) -> None:
        self._keys = keys

    def current(self) -> KeySet:
        """Return the keys."""
        return self._keys

    async def refreshed(self, kid: str) -> KeySet | None:
        """Return `None`: there is nobody to ask about `kid`."""
        del kid
        return None


@dataclass(frozen=True, slots=True)
class KeyTiming:
    """How often a provider is asked; all in seconds."""

    refresh_s: float = 300.0
    """How long a key that left the provider's set is still believed."""
    retry_s: float = 1.0
    """After the first failure; doubled after each further one."""
    max_retry_s: float = 30.0
    refetch_s: float = 10.0
    """At most one refetch for unknown names in this time, however many tokens ask for it."""
    timeout_s: float = 5.0
    """Of one fetch, discovery and redirects included."""


DEFAULT_TIMING: Final = KeyTiming()


class _Shelf:
    """The last good document of a provider, and how old it is."""

    def __init__(
        self, algorithms: Iterable[str], max_stale_s: float, clock: Callable[[], float]
    ) -> None:
        self._algorithms = tuple(algorithms)
        self._max_stale_s = max_stale_s
        self._clock = clock
        self._keys: KeySet | None = None
        self.text: str | None = None
        self.fetched_at = 0.0
        self.is_down = False
        """True when the last attempt to fetch failed."""

    def put(self, text: str, fetched_at: float) -> KeySet:
        """Keep a document; raises `KeySetInvalid`, and keeps the old one, if it is none."""
        if self._keys is None or text != self.text:
            self._keys = KeySet.from_jwks(text.encode(), algorithms=self._algorithms)
            self.text = text
            for reason in self._keys.skipped:
                _log.info("a published key is not used: %s", reason)
        self.fetched_at = min(fetched_at, self._clock())
        return self._keys

    def current(self) -> KeySet:
        """Return the keys while they are not older than `max_stale`."""
        if self._keys is None:
            raise KeysUnavailable("the provider's keys have not been fetched yet")
        if self._clock() - self.fetched_at > self._max_stale_s:
            raise KeysUnavailable("the provider's keys are older than max_stale")
        return self._keys

    def named(self, kid: str) -> KeySet | None:
        """Return the keys if one of them is called `kid`; raises while the provider is down."""
        keys = self.current()
        if keys.has_kid(kid):
            return keys
        if self.is_down:
            raise KeysUnavailable("the provider cannot be asked for a key that is not known")
        return None


class RemoteKeys:
    """A provider's keys, refreshed in the background: one for each gate and scheme.

    While the provider is down the last keys serve until `max_stale_s`. `on_document` is called
    after every attempt, successful or not, with what `RelayedKeys.accept` takes.
    """

    def __init__(
        self,
        provider: Provider,
        algorithms: Iterable[str],
        *,
        max_stale_s: float = DEFAULT_MAX_STALE_S,
        timing: KeyTiming = DEFAULT_TIMING,
        ssl_context: ssl.SSLContext | None = None,
        clock: Callable[[], float] = boot_time,
        on_document: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self._provider = provider
        self._shelf = _Shelf(algorithms, max_stale_s, clock)
        self._refresh_s = min(timing.refresh_s, max_stale_s / 2)
        self._timing = timing
        self._ssl_context = ssl_context
        self._clock = clock
        self._on_document = on_document
        self._refetch_at = -timing.refetch_s
        self._failures = 0
        self.fetches = 0
        """Attempts to fetch, for the metrics."""
        self.fetch_failures = 0
        """Attempts that failed."""
        self._loop_task: asyncio.Task[None] | None = None
        self._fetching: asyncio.Task[None] | None = None
        self._has_tried = asyncio.Event()

    def start(self) -> None:
        """Begin to fetch in the background."""
        if self._loop_task is None:
            self._loop_task = spawn(self._refresh_for_ever(), name="keys of a provider")

    async def ready(self) -> bool:
        """Wait until the first attempt has ended; tell whether there are keys that may be used."""
        await self._has_tried.wait()
        try:
            self.current()
        except KeysUnavailable:
            return False
        return True

    async def close(self) -> None:
        """Stop fetching."""
        tasks = [task for task in (self._loop_task, self._fetching) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def current(self) -> KeySet:
        """Return the last keys; raises `KeysUnavailable` without any, or beyond `max_stale_s`."""
        return self._shelf.current()

    async def refreshed(self, kid: str) -> KeySet | None:
        """Return keys that have one called `kid`, after at most one refetch; `None` without it.

        All who ask in the meantime share that refetch; who asks soon after it gets its result.
        Raises `KeysUnavailable` if it failed.
        """
        if (keys := self._known(kid)) is not None:
            return keys
        now = self._clock()
        if self._fetching is None:
            if now - self._refetch_at < self._timing.refetch_s:
                return self._shelf.named(kid)
            self._refetch_at = now
        await self._fetch()
        return self._shelf.named(kid)

    def document(self) -> dict[str, Any]:
        """Return what `RelayedKeys.accept` takes: JSON-serialisable, and never secret."""
        return {
            "jwks": self._shelf.text,
            "fetched_at": self._shelf.fetched_at,
            "is_down": self._shelf.is_down,
        }

    def age_s(self) -> float | None:
        """Return the age of the last document in seconds; `None` before there is one."""
        if self._shelf.text is None:
            return None
        return max(0.0, self._clock() - self._shelf.fetched_at)

    def _known(self, kid: str) -> KeySet | None:
        with contextlib.suppress(KeysUnavailable):
            keys = self._shelf.current()
            return keys if keys.has_kid(kid) else None
        return None

    async def _refresh_for_ever(self) -> None:
        while True:
            await self._fetch()
            await asyncio.sleep(self._pause())

    def _pause(self) -> float:
        """Return when to fetch next: spread, so that the gates of a farm do not ask as one."""
        longest = self._refresh_s
        if self._failures:
            doubled = self._timing.retry_s * 2 ** min(self._failures - 1, 16)
            longest = min(doubled, self._timing.max_retry_s, self._refresh_s)
        return longest * random.uniform(0.8, 1.0)  # noqa: S311 - spreading load is no secret

    async def _fetch(self) -> None:
        """Fetch once, or wait for the fetch that is under way; never raises."""
        if self._fetching is None:
            self._fetching = spawn(self._fetch_now(), name="fetch of a provider's keys")
        # Whoever waits may be cancelled; the fetch goes on for the others.
        await asyncio.wait([self._fetching])

    async def _fetch_now(self) -> None:
        issuer = self._provider.issuer
        self.fetches += 1
        started_at = self._clock()
        try:
            raw = await fetch_jwks(
                self._provider, timeout_s=self._timing.timeout_s, ssl_context=self._ssl_context
            )
            keys = self._shelf.put(raw.decode(), started_at)
        except (FetchFailed, KeySetInvalid, UnicodeDecodeError) as error:
            self._failed(error)
        else:
            if self._failures and keys:
                _log.info("the keys of %s can be fetched again", issuer)
            self._shelf.is_down = False
            # An empty set is believed, but a provider that has just started may mean no harm.
            self._failures = 0 if keys else self._failures + 1
            if not keys:
                _log.warning("the keys of %s: none that can be used is published", issuer)
        finally:
            self._fetching = None
            self._has_tried.set()
        if self._on_document is not None:
            self._on_document(self.document())

    def _failed(self, error: Exception) -> None:
        self._failures += 1
        self.fetch_failures += 1
        self._shelf.is_down = True
        level = logging.WARNING if self._failures == 1 else logging.INFO
        reason = "the document is not UTF-8" if isinstance(error, UnicodeDecodeError) else error
        _log.log(level, "the keys of %s cannot be fetched: %s", self._provider.issuer, reason)


class RelayedKeys:
    """A worker's side of `RemoteKeys`, which lives in the supervisor: one fetch serves all.

    `request_refresh` sends a worker's question to the supervisor, which must answer each one,
    after `RemoteKeys.refreshed`, with the `document` that it then has.
    """

    def __init__(
        self,
        algorithms: Iterable[str],
        request_refresh: Callable[[str], None],
        *,
        max_stale_s: float = DEFAULT_MAX_STALE_S,
        timing: KeyTiming = DEFAULT_TIMING,
        clock: Callable[[], float] = boot_time,
    ) -> None:
        self._shelf = _Shelf(algorithms, max_stale_s, clock)
        self._request_refresh = request_refresh
        self._timing = timing
        self._clock = clock
        self._asked_at = -timing.refetch_s
        self._answer: asyncio.Future[None] | None = None

    def accept(self, document: dict[str, Any]) -> None:
        """Take a document that the supervisor pushes, and wake who waits for it."""
        text = document.get("jwks")
        if isinstance(text, str):
            try:
                self._shelf.put(text, float(document["fetched_at"]))
            except KeySetInvalid as error:
                _log.error("the supervisor sent keys that cannot be read: %s", error)
        self._shelf.is_down = bool(document.get("is_down"))
        if self._answer is not None:
            self._answer.set_result(None)
            self._answer = None

    def current(self) -> KeySet:
        """Return the last keys; raises `KeysUnavailable` without any, or beyond `max_stale_s`."""
        return self._shelf.current()

    async def refreshed(self, kid: str) -> KeySet | None:
        """Ask the supervisor for a key called `kid`; see `RemoteKeys.refreshed`."""
        if self.current().has_kid(kid):
            return self.current()
        now = self._clock()
        if self._answer is None:
            if now - self._asked_at < self._timing.refetch_s:
                return self._shelf.named(kid)
            self._asked_at = now
            self._answer = asyncio.get_running_loop().create_future()
            self._request_refresh(kid)
        await self._wait_for(self._answer)
        return self._shelf.named(kid)

    async def _wait_for(self, answer: asyncio.Future[None]) -> None:
        # Whoever waits may be cancelled; the answer is for the others as well. Twice the fetch's
        # own bound, because question and answer have a way to go.
        await asyncio.wait([answer], timeout=2 * self._timing.timeout_s)
        if not answer.done():
            if self._answer is answer:
                self._answer = None
            raise KeysUnavailable("the supervisor does not answer about keys")
