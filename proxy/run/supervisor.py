"""The supervisor: binds, starts what all workers share, and keeps the workers running.

It serves no request itself. What is done about a dead worker is decided in `crew`.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, Final

from proxy.adapters.tasks import spawn
from proxy.adapters.telemetry import LogFormat
from proxy.adapters.upstreams import OwnAddress
from proxy.config.addresses import Address
from proxy.config.loader import LoadedConfig
from proxy.run import messages
from proxy.run.announce import announce, redirect_lines
from proxy.run.backing import Backing
from proxy.run.channel import ChannelError, Message
from proxy.run.control import ControlError, ControlSocket, served_file
from proxy.run.cores import usable_cores
from proxy.run.crew import DEFAULT_POLICY, Crew, GiveUp, RestartPolicy, State
from proxy.run.first_process import is_first, reap_orphans
from proxy.run.gathering import Gathering
from proxy.run.listeners import Listeners, bind_all
from proxy.run.messages import Boot
from proxy.run.metrics import Metrics
from proxy.run.process import WorkerProcess
from proxy.run.reloading import STEADY_S
from proxy.run.reloads import Reloads
from proxy.run.shared import Shared
from proxy.run.tally import from_json
from proxy.services.beginning import pick_gate_id
from proxy.services.compile import needs_store
from proxy.services.report_mode import report_states

START_TIMEOUT_S: Final = 60.0
"""A worker that is not ready by then is replaced."""
DRAIN_GRACE_S: Final = 5.0
"""What a worker may take beyond its drain time; then it is killed."""
HURRY_S: Final = 0.5
"""The drain time after a second signal."""

Beside = Callable[[Sequence[Address]], AbstractAsyncContextManager[None]]
"""What goes on while the gate serves: entered with its addresses once all workers are ready, and left
when they have ended. The store is there for all of this time."""

_log = logging.getLogger("latchgate.supervisor")


class Supervisor:
    """One gate: its listeners, its workers, and what they share."""

    def __init__(
        self,
        loaded: LoadedConfig,
        *,
        log_format: LogFormat = "auto",
        policy: RestartPolicy = DEFAULT_POLICY,
        beside: Beside | None = None,
    ) -> None:
        self.loaded = loaded
        self._log_format = log_format
        self._config = loaded.config
        wanted = self._config.server.workers
        self._crew = Crew(usable_cores() if wanted == "auto" else wanted, policy)
        self._gate_id = pick_gate_id(self._config)
        self._gathering = Gathering()
        self._metrics = Metrics(self._crew, self._gathering, self._config)
        self._shared = Shared(self._config, self._push_keys, self._metrics)
        self._reloads = Reloads(self, self._metrics)
        self._processes: dict[int, WorkerProcess] = {}
        self._own_addresses: list[OwnAddress] = []
        self._listeners: Listeners
        self._asked: Listeners
        self._led: Listeners
        self._beside = beside
        self._ready = asyncio.Event()
        self._has_begun = False
        """True once what the workers share is there, and they are being started."""
        self._changed = asyncio.Event()
        """Set when a worker's state has changed."""
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._has_given_up = False

    async def run(self) -> int:
        """Run the gate until a signal ends it; return the exit status.

        Raises `ListenError`, `StoreMisconfigured` and `StoreUnavailable` where it cannot start.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._on_signal, number)
        loop.add_signal_handler(signal.SIGHUP, self._reloads.on_hangup)
        async with AsyncExitStack() as stack:
            if is_first():
                stack.callback(spawn(reap_orphans(), name="orphans").cancel)
            stack.push_async_callback(self._shared.close)
            self._bind(stack)
            await self._open_control(stack)
            await self._until_stopped(self._shared.start(lambda: self._crew.is_ready))
            if not self._stop.is_set():
                tending = [
                    spawn(self._tend(number), name=f"worker {number}")
                    for number in range(self._crew.size)
                ]
                self._has_begun = True
                self._changed.set()
                watching = spawn(self._reloads.watch(), name="files of the configuration")
                looking = spawn(self._look_first(), name="a first look")
                try:
                    await self._accompany(stack)
                    await self._stop.wait()
                finally:
                    watching.cancel()
                    looking.cancel()
                    await self._drain(tending)
        if self._has_given_up:
            return 1
        _log.info("ended")
        return 0

    def _bind(self, stack: AsyncExitStack) -> None:
        """Take every port before anything is started: a taken one leaves no trace."""
        self._listeners = bind_all(self._config.server.listen, self._crew.size)
        stack.callback(self._listeners.remove_files)
        stack.callback(self._listeners.close)
        decision = self._config.decision
        self._asked = bind_all([] if decision is None else [decision.listen], self._crew.size)
        stack.callback(self._asked.remove_files)
        stack.callback(self._asked.close)
        redirect = self._config.redirect
        self._led = bind_all([] if redirect is None else redirect.listen, self._crew.size)
        stack.callback(self._led.remove_files)
        stack.callback(self._led.close)
        health, admin = self._shared.bind(), self._shared.bind_admin()
        self._say_start(health, admin)
        worked = (*self._listeners.addresses, *self._asked.addresses, *self._led.addresses)
        for address in (*worked, *health, *admin):
            is_tcp = address.path is None
            self._own_addresses.append(
                (address.host, address.port) if is_tcp else str(address.path)
            )

    async def _open_control(self, stack: AsyncExitStack) -> None:
        """Let commands ask what this gate runs; where that is not possible it runs all the same."""
        file = served_file(self.loaded.file)
        if file is None:
            return
        control = ControlSocket(file, self._reloads.answer)
        stack.push_async_callback(control.close)
        try:
            await control.open()
        except ControlError as error:
            _log.info("commands cannot ask this gate what it runs: %s", error)

    async def _until_stopped(self, starting: Any) -> None:
        """Await the start, unless a signal comes first: then what was started is cleaned up."""
        # Not `spawn`: an error is raised below, and must not be logged as a crash beside that.
        task = asyncio.get_running_loop().create_task(starting, name="start")
        stop = spawn(self._stop.wait(), name="stop")
        await asyncio.wait([task, stop], return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait([task])
        if not task.cancelled():
            task.result()

    async def _accompany(self, stack: AsyncExitStack) -> None:
        """Enter what goes on beside the gate, when it serves; a signal that comes first wins."""
        if self._beside is None:
            return
        events = [spawn(event.wait(), name="start") for event in (self._ready, self._stop)]
        await asyncio.wait(events, return_when=asyncio.FIRST_COMPLETED)
        for event in events:
            event.cancel()
        if not self._stop.is_set():
            await stack.enter_async_context(self._beside(self._listeners.addresses))

    async def _look_first(self) -> None:
        """Say what is missing once the workers serve: they start while a store is away."""
        await self._ready.wait()
        await self._shared.say_what_is_missing()

    def _on_signal(self, number: int) -> None:
        name = signal.Signals(number).name
        if self._stop.is_set():
            _log.warning("%s again: breaking off what still runs", name)
            self._hurry.set()
        else:
            _log.info("%s: draining, for at most %g s", name, self._config.server.drain)
            self._stop.set()

    def _say_start(self, health: list[Address], admin: list[Address]) -> None:
        lines = announce(
            self._config,
            file=self.loaded.file,
            workers=self._crew.size,
            addresses=self._listeners.addresses,
            health=health,
            admin=admin,
            decision=self._asked.addresses,
            has_store=needs_store(self._config),
        )
        for line in (*lines, *redirect_lines(self._led.addresses)):
            _log.info("%s", line)
        for state in report_states(self._config, time.time()):
            _log.warning("%s", state)
        for warning in self.loaded.warnings:
            _log.warning("%s", warning)

    # Workers

    async def _tend(self, number: int) -> None:
        """Keep one worker's place filled until the gate drains or gives up."""
        while True:
            await self._run_worker(number)
            verdict = self._crew.died(number, time.monotonic())
            self._changed.set()
            if verdict is None:
                return
            if isinstance(verdict, GiveUp):
                _log.critical("the workers do not start: giving up")
                self._has_given_up = True
                self._stop.set()
                return
            if not await self._pause(verdict.delay_s):
                return

    async def _pause(self, delay_s: float) -> bool:
        """Wait; return False when the gate is to stop meanwhile."""
        try:
            async with asyncio.timeout(delay_s):
                await self._stop.wait()
        except TimeoutError:
            return True
        return False

    async def _run_worker(self, number: int) -> None:
        """Start one worker and stay with it until its process is gone."""
        await self._reloads.idle()
        self._crew.started(number)
        try:
            listening = (self._listeners, self._asked, self._led)
            sockets = [sock for each in listening for sock in each.of(number)]
            boot = self.boot(number, self.loaded, self._shared.backing)
            process = await WorkerProcess.start(boot, sockets)
        except (OSError, ValueError, ChannelError) as error:
            _log.error("worker %d cannot be started: %s", number, error)
            self._rest(number)
            return
        self._processes[number] = process
        try:
            # What came while the process was made did not reach it.
            providers = self._shared.providers
            for scheme, document in providers.documents().items():
                await _tell(process, messages.keys(scheme, providers.source_of(scheme), document))
            if self._crew.is_draining:
                return
            await self._listen(process)
            status = await process.ended()
        finally:
            self._processes.pop(number, None)
            self._reloads.left(process)
            self._gathering.leave(process)
            await process.kill()
            if self._crew.state_of(number) is State.STARTING:
                self._rest(number)
        if not process.is_killed and (status or not self._crew.is_draining):
            _log.warning("worker %d (process %d) ended: %s", number, process.pid, _words(status))

    def _rest(self, number: int) -> None:
        """Leave nobody waiting for a worker that did not start: the others take their connections."""
        if not self._crew.is_draining:
            for each in (self._listeners, self._asked, self._led):
                each.rest(number)

    def boot(self, number: int, loaded: LoadedConfig, backing: Backing) -> Boot:
        """Return what a worker is told of a configuration."""
        address = self._shared.store_address
        return Boot(
            worker=number,
            gate_id=self._gate_id,
            text=loaded.text.decode("utf-8", "surrogateescape"),
            file=loaded.file,
            base=str(loaded.base),
            sockets=[sock.fileno() for sock in self._listeners.of(number)],
            decision_sockets=[sock.fileno() for sock in self._asked.of(number)],
            redirect_sockets=[sock.fileno() for sock in self._led.of(number)],
            own_addresses=self._own_addresses,
            log_format=self._log_format,
            store=None if address is None else address.to_json(),
            keys=backing.providers.documents(),
            secrets={path: held.decode("latin-1") for path, held in loaded.secrets.items()},
            revocations=backing.revocations(),
        )

    # Another configuration (reloading.Gate)

    def serving(self) -> list[WorkerProcess]:
        """Return the workers that serve."""
        return [
            process
            for number, process in self._processes.items()
            if self._crew.state_of(number) is State.READY
        ]

    async def steady(self) -> bool:
        """Wait until nothing is starting; False where that takes too long, or the gate ends."""
        try:
            async with asyncio.timeout(STEADY_S):
                while not self._has_begun or self._crew.is_starting:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return not self._stop.is_set()

    async def prepare(self, loaded: LoadedConfig) -> Backing:
        """Start what the supervisor runs for a configuration. Raises `ProxyError`."""
        return await self._shared.prepare(loaded.config)

    async def discard(self, backing: Backing) -> None:
        """Stop what was started for a configuration that is not served after all."""
        await backing.close(self._shared.backing)

    async def adopt(self, loaded: LoadedConfig, backing: Backing) -> None:
        """Run another configuration from now on."""
        before = self._shared.backing
        self.loaded, self._config = loaded, loaded.config
        self._shared.adopt(backing)
        self._metrics.adopt(loaded.config)
        spawn(before.close(backing), name="the configuration before")

    async def _listen(self, process: WorkerProcess) -> None:
        """Take a worker's messages until its end of the channel closes."""
        try:
            async with asyncio.timeout(START_TIMEOUT_S) as starting:
                while (message := await process.receive()) is not None:
                    if message["kind"] == "ready":
                        starting.reschedule(None)
                    self._take(process, message)
        except TimeoutError:
            _log.error("worker %d does not become ready", process.number)
            await process.kill()
        except ChannelError as error:
            _log.error("worker %d: %s", process.number, error)
            await process.kill()

    def _take(self, process: WorkerProcess, message: Message) -> None:
        match message:
            case {"kind": "ready"}:
                self._gathering.join(process)
                self._crew.became_ready(process.number, time.monotonic())
                self._changed.set()
                _log.info("worker %d is ready (process %d)", process.number, process.pid)
                if self._crew.is_ready:
                    _log.info("all workers are ready")
                    self._ready.set()
            case {"kind": "failed", "reason": str(reason)}:
                _log.error("worker %d cannot start: %s", process.number, reason)
            case {"kind": "prepared" | "committed", "number": int()}:
                self._reloads.answered(process, message)
            case {"kind": "keys_wanted", "scheme": str(scheme), "kid": str(kid)}:
                spawn(self._answer_keys(process, scheme, kid), name="keys wanted")
            case {"kind": "counts", "tally": list(rows)}:
                self._gathering.answered(process, from_json(rows))
            case _:
                _log.error("worker %d: a message of an unknown kind", process.number)

    async def _answer_keys(self, process: WorkerProcess, scheme: str, kid: str) -> None:
        providers = self._shared.providers
        document = await providers.refreshed(scheme, kid)
        if document is not None:
            await _tell(process, messages.keys(scheme, providers.source_of(scheme), document))

    def _push_keys(self, scheme: str, source: str, document: dict[str, Any]) -> None:
        for process in list(self._processes.values()):
            spawn(_tell(process, messages.keys(scheme, source, document)), name="keys to a worker")

    # The end

    async def _drain(self, tending: list[asyncio.Task[None]]) -> None:
        """End every worker: in time, then hurried, then killed."""
        self._crew.drain()
        # Each worker now has the only copy of its sockets: when it closes them they are closed.
        self._listeners.close()
        self._asked.close()
        self._led.close()
        everybody = spawn(_all(tending), name="end of the workers")
        hurry = spawn(self._hurry.wait(), name="second signal")
        for number, process in list(self._processes.items()):
            if self._crew.state_of(number) is State.STARTING:  # it has nothing to drain
                await process.kill()
        timeout_s = self._config.server.drain
        await self._tell_all(messages.drain(timeout_s))
        await asyncio.wait(
            [everybody, hurry],
            timeout=timeout_s + DRAIN_GRACE_S,
            return_when=asyncio.FIRST_COMPLETED,
        )
        hurry.cancel()
        if not everybody.done():
            await self._tell_all(messages.drain(HURRY_S))
            await asyncio.wait([everybody], timeout=HURRY_S + DRAIN_GRACE_S)
        for process in list(self._processes.values()):
            _log.error("worker %d does not end: killed", process.number)
            await process.kill()
        await asyncio.wait([everybody], timeout=DRAIN_GRACE_S)

    async def _tell_all(self, message: Message) -> None:
        await asyncio.gather(*(_tell(p, message) for p in list(self._processes.values())))


async def _all(tasks: list[asyncio.Task[None]]) -> None:
    await asyncio.wait(tasks)


async def _tell(process: WorkerProcess, message: Message) -> None:
    """Send, unless the worker is gone or stuck: its end is noticed elsewhere."""
    try:
        await process.send(message)
    except ChannelError as error:
        _log.debug("worker %d: %s", process.number, error)


def _words(status: int) -> str:
    if status >= 0:
        return f"status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"
