"""Reload: a whole gate takes another configuration, all workers or none, without a request that fails.

The file is read and checked as at the start; every worker makes it ready beside what it serves; only
when all of them have is it served. Whatever goes wrong before leaves everything as it was. What is
answered then is true: no worker decides by the old one any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

from proxy.config.loader import LoadedConfig
from proxy.errors import ProxyError
from proxy.run import messages
from proxy.run.backing import Backing
from proxy.run.channel import ChannelError, Message
from proxy.run.messages import Boot
from proxy.run.process import WorkerProcess
from proxy.run.restarts import needs_restart
from proxy.services.effects import Effects, effects_of

READ_S: Final = 30.0
"""How long the files may take to be read and checked."""
PREPARE_S: Final = 30.0
"""How long workers may take to make a configuration ready."""
COMMIT_S: Final = 10.0
"""How long a worker may take to say that it serves it; one that does not is replaced."""
STEADY_S: Final = 20.0
"""How long workers that are starting are waited for."""
NO_ANSWER: Final = "no answer in time"

Result = Literal["done", "unconfirmed", "refused", "failed"]
"""`refused`: the configuration is not acceptable; `unconfirmed`: it opens something, and nobody has said that it may;
`failed`: something went wrong."""

_log = logging.getLogger("latchgate.reload")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a reload."""

    result: Result
    reasons: list[str] = field(default_factory=list)
    effects: Effects = field(default_factory=Effects)

    def to_message(self) -> Message:
        """Return it as the control socket tells it."""
        return {
            "kind": "reload",
            "result": self.result,
            "reasons": self.reasons,
            "effects": self.effects.to_json(),
            "digest": self.effects.digest,
        }


class Gate(Protocol):
    """What a reload needs of the supervisor."""

    loaded: LoadedConfig

    def serving(self) -> Sequence[WorkerProcess]:
        """Return the workers that serve."""

    async def steady(self) -> bool:
        """Wait until no worker is starting; False where that takes too long."""

    async def prepare(self, loaded: LoadedConfig) -> Backing:
        """Start what the supervisor runs for a configuration. Raises `ProxyError`."""

    async def discard(self, backing: Backing) -> None:
        """Stop what was started for a configuration that is not served after all."""

    def boot(self, number: int, loaded: LoadedConfig, backing: Backing) -> Boot:
        """Return what a worker is told of a configuration."""

    async def adopt(self, loaded: LoadedConfig, backing: Backing) -> None:
        """Run another configuration from now on."""


class Reloader:
    """Reloads one gate, one time after the other."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._lock = asyncio.Lock()
        self._number = 0
        self._waiting: dict[tuple[WorkerProcess, str], asyncio.Future[str | None]] = {}
        self._reading: threading.Thread | None = None

    async def idle(self) -> None:
        """Wait until no reload is under way: a worker that starts then starts with what came of it."""
        async with self._lock:
            pass

    def answered(self, process: WorkerProcess, message: Message) -> None:
        """Take a worker's answer."""
        if message["number"] == self._number:
            self._settle(process, message["kind"], message.get("reason"))

    def left(self, process: WorkerProcess) -> None:
        """Note that a worker is gone: it is replaced by one that starts with what is served then."""
        for kind in ("prepared", "committed"):
            self._settle(process, kind, None)

    def _settle(self, process: WorkerProcess, kind: str, reason: str | None) -> None:
        waiting = self._waiting.pop((process, kind), None)
        if waiting is not None and not waiting.done():
            waiting.set_result(reason)

    async def reload(
        self, read: Callable[[], LoadedConfig], *, confirmed: str | None = None
    ) -> Outcome:
        """Read a configuration and serve it; never raises.

        `read` runs in a thread, and raises `ProxyError` for what cannot be served. `confirmed`: the
        digest of the effects that somebody has seen and wants.
        """
        async with self._lock:
            try:
                loaded = await self._read(read)
                if loaded is None:
                    return Outcome("failed", [f"the files cannot be read within {READ_S:g} s"])
                return await self._take(loaded, confirmed)
            except (ProxyError, OSError, ssl.SSLError) as error:
                return Outcome("refused", str(error).splitlines() or [type(error).__name__])
            except Exception as bug:  # noqa: BLE001 - whatever it is, what is served goes on
                _log.exception("a reload failed")
                return Outcome("failed", [type(bug).__name__])

    async def _read(self, read: Callable[[], LoadedConfig]) -> LoadedConfig | None:
        """Read in a thread that nothing waits for; `None` where that takes too long, or did and goes on.

        A file system that does not answer must neither keep workers from being replaced nor the gate
        from ending.
        """
        if self._reading is not None and self._reading.is_alive():
            return None
        loop = asyncio.get_running_loop()
        found: asyncio.Future[LoadedConfig] = loop.create_future()

        def settle(loaded: LoadedConfig | None, error: Exception | None) -> None:
            if found.done():
                return
            if loaded is None:
                found.set_exception(error or AssertionError("nothing was read"))
            else:
                found.set_result(loaded)

        def run() -> None:
            try:
                result: tuple[LoadedConfig | None, Exception | None] = read(), None
            except Exception as error:  # noqa: BLE001 - whoever waits for it raises it
                result = None, error
            with contextlib.suppress(RuntimeError):  # the gate has ended
                loop.call_soon_threadsafe(settle, *result)

        self._reading = threading.Thread(target=run, name="configuration", daemon=True)
        self._reading.start()
        done, _ = await asyncio.wait([found], timeout=READ_S)
        if not done:
            found.cancel()
            return None
        return found.result()

    async def _take(self, loaded: LoadedConfig, confirmed: str | None) -> Outcome:
        gate = self._gate
        before = gate.loaded
        fixed = needs_restart(before.config, loaded.config)
        if fixed:
            return Outcome("refused", [f"{key}: a change of this needs a restart" for key in fixed])
        effects = await asyncio.to_thread(effects_of, before.config, loaded.config)
        if before.config.reload.refuse_opening and effects.may_open and confirmed != effects.digest:
            return Outcome("unconfirmed", [], effects)
        if not await gate.steady():
            return Outcome("failed", ["a worker is starting; try again"])
        backing = await gate.prepare(loaded)
        reasons = await self._prepare(loaded, backing)
        if reasons:
            await gate.discard(backing)
            is_late = any(NO_ANSWER in reason for reason in reasons)  # and nothing wrong with it
            return Outcome("failed" if is_late else "refused", reasons, effects)
        await self._commit()
        await gate.adopt(loaded, backing)
        return Outcome("done", [str(warning) for warning in loaded.warnings], effects)

    async def _prepare(self, loaded: LoadedConfig, backing: Backing) -> list[str]:
        """Have every worker make it ready; return why some cannot."""
        self._number += 1
        number = self._number

        def ask(process: WorkerProcess) -> Message:
            return messages.prepare(number, self._gate.boot(process.number, loaded, backing))

        answers = await self._ask("prepared", ask, PREPARE_S)
        reasons = [f"worker {process.number}: {why}" for process, why in answers.items() if why]
        if reasons:
            await asyncio.gather(*(_tell(one, messages.abort(number)) for one in answers))
        return list(dict.fromkeys(reasons))

    async def _commit(self) -> None:
        number = self._number
        answers = await self._ask("committed", lambda _: messages.commit(number), COMMIT_S)
        for process, why in answers.items():
            if why is not None:
                _log.error("worker %d does not take the configuration: replaced", process.number)
                await process.kill()

    async def _ask(
        self, kind: str, message: Callable[[WorkerProcess], Message], within_s: float
    ) -> dict[WorkerProcess, str | None]:
        """Tell every worker, and return what each says; a reason for one that says nothing."""
        loop = asyncio.get_running_loop()
        asked = {process: loop.create_future() for process in self._gate.serving()}
        self._waiting = {(process, kind): future for process, future in asked.items()}
        await asyncio.gather(*(_tell(process, message(process)) for process in asked))
        if asked:
            await asyncio.wait(asked.values(), timeout=within_s)
        self._waiting = {}
        return {
            process: future.result() if future.done() else NO_ANSWER
            for process, future in asked.items()
        }


async def _tell(process: WorkerProcess, message: Message) -> None:
    """Send, unless the worker is gone: its end is noticed elsewhere."""
    try:
        await process.send(message)
    except ChannelError as error:
        _log.debug("worker %d: %s", process.number, error)
