"""A worker process: `python -m proxy.run.start_worker FD`, started by the supervisor and by nobody else.

FD is its end of the control channel. The first message is the boot message; when the channel ends
the supervisor is gone, and the worker ends at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import ssl
import sys
from typing import Any, Final

from proxy.adapters.tasks import spawn
from proxy.adapters.telemetry import Telemetry, start_telemetry
from proxy.edge.decision import DecisionServer
from proxy.edge.pending import Pending
from proxy.edge.redirect import RedirectServer
from proxy.edge.server import GateServer
from proxy.errors import ProxyError
from proxy.run import loop, messages
from proxy.run.channel import Channel, ChannelError, Message
from proxy.run.counting import count_worker
from proxy.run.loading import load_booted
from proxy.run.messages import Boot
from proxy.run.opened import Opened, open_booted
from proxy.run.parent import die_with_parent
from proxy.run.tracing import Tracing
from proxy.services.runtime import Runtime

EXIT_FAILED: Final = 1
EXIT_CRASH: Final = 70  # EX_SOFTWARE of sysexits.h
EXIT_ORPHAN: Final = 71  # EX_OSERR
EXPECTED: Final = (ProxyError, OSError, ssl.SSLError)
"""What a configuration or its surroundings can be the reason of."""
LAST_WORDS_S: Final = 0.2
CLOSE_TIMEOUT_S: Final = 5.0
"""How long connections to stores and upstreams may take to close."""

_log = logging.getLogger("latchgate.worker")

GC_THRESHOLDS: Final = (1_000, 10, 4_000)
"""What is remembered of people has no cycles and goes by itself; looking for them at Python's own pace took a
fifth of the time of every look-up."""


class Worker:
    """One process that serves requests."""

    def __init__(self, channel: Channel, boot: Boot) -> None:
        self._channel = channel
        self._boot = boot
        self._opened: Opened
        self._next: tuple[int, Opened] | None = None
        """What is ready to take the place of `_opened`, and its number."""
        self._wanted = 0
        """The number of the configuration that the supervisor waits for; 0: it waits for none."""
        self._server: GateServer
        self._decision: DecisionServer | None = None
        self._redirect: RedirectServer | None = None
        self._tracing = Tracing(boot.worker)
        self._drain_at = asyncio.Event()
        self._drain_s = 0.0
        self._hurried = asyncio.Event()
        self._hurry_s = 0.0

    async def run(self) -> int:
        """Serve until told to drain; return the exit status.

        Raises what keeps it from starting: `ProxyError`, `OSError`, `ssl.SSLError`.
        """
        boot = self._boot
        has_access = load_booted(boot).config.log.access
        telemetry = start_telemetry(
            boot.log_format, process=f"worker {boot.worker}", has_access=has_access
        )
        try:
            await self._start(telemetry)
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._drain_at.set)
            listening = spawn(self._listen(telemetry), name="control channel")
            await self._channel.send(messages.ready())
            await self._drain_at.wait()
            await self._drain()
            listening.cancel()
        except EXPECTED:
            raise
        except Exception:  # noqa: BLE001 - whatever it was, it is logged through the safe filter
            _log.critical("the worker crashed", exc_info=True)
            return EXIT_CRASH
        finally:
            telemetry.close()
        return 0

    async def _start(self, telemetry: Telemetry) -> None:
        boot = self._boot
        self._opened = opened = await open_booted(boot, self._want_keys)
        self._drain_s = opened.loaded.config.server.drain
        self._server = GateServer(
            opened.runtime, access_log=telemetry.access, make_tracer=self._tracing.tracer_of
        )
        sockets = [socket.socket(fileno=descriptor) for descriptor in boot.sockets]
        unix = [sock for sock in sockets if sock.family == socket.AF_UNIX]
        await self._server.start([sock for sock in sockets if sock not in unix], opened.tls)
        await self._server.start(unix)
        await self._start_decision(telemetry)
        await self._start_redirect(telemetry)
        gc.collect()
        gc.freeze()  # what was loaded stays, and need not be looked through again and again
        gc.set_threshold(*GC_THRESHOLDS)

    async def _start_decision(self, telemetry: Telemetry) -> None:
        config = self._opened.loaded.config.decision
        if config is None:
            return
        counters = self._server.counters
        self._decision = DecisionServer(
            self._opened.runtime, config, counters, telemetry.access, self._tracing.tracer_of
        )
        await self._decision.start(
            [socket.socket(fileno=descriptor) for descriptor in self._boot.decision_sockets]
        )

    async def _start_redirect(self, telemetry: Telemetry) -> None:
        config = self._opened.loaded.config
        if config.redirect is None:
            return
        self._redirect = RedirectServer(config, self._server.counters, telemetry.access)
        await self._redirect.start(
            [socket.socket(fileno=descriptor) for descriptor in self._boot.redirect_sockets]
        )

    async def _listen(self, telemetry: Telemetry) -> None:
        """Take the supervisor's messages; its end is this process's end."""
        try:
            while (message := await self._channel.receive()) is not None:
                self._take(message)
        except ChannelError as error:
            _log.critical("the supervisor does not make sense: %s", error)
        # Nobody restarts or drains an orphan, and its port is wanted by the next gate.
        telemetry.close(LAST_WORDS_S)
        os._exit(EXIT_ORPHAN)

    def _take(self, message: Message) -> None:
        match message:
            case {
                "kind": "keys",
                "scheme": str(scheme),
                "source": str(source),
                "document": dict(document),
            }:
                self._opened.accept_keys(scheme, source, document)
                if self._next is not None:
                    self._next[1].accept_keys(scheme, source, document)
            case {"kind": "prepare", "number": int(number), "boot": dict(fields)}:
                spawn(self._prepare(number, fields), name="another configuration")
            case {"kind": "commit", "number": int(number)}:
                self._commit(number)
            case {"kind": "abort", "number": int(number)}:
                spawn(self._abort(number), name="a configuration that is not wanted")
            case {"kind": "drain", "timeout_s": int() | float() as timeout_s}:
                if self._drain_at.is_set():
                    self._hurry_s = timeout_s
                    self._hurried.set()
                self._drain_s = timeout_s
                self._drain_at.set()
            case {"kind": "count"}:
                server, coherence = self._server, self._server.runtime.coherence
                tally = count_worker(
                    server.counters,
                    coherence,
                    server.connections,
                    server.runtime.upstreams.values(),
                )
                spawn(self._channel.send(messages.counts(tally)), name="counts")
            case _:
                _log.error("the supervisor sent a message of an unknown kind")

    # Another configuration

    async def _prepare(self, number: int, fields: dict[str, Any]) -> None:
        """Make a configuration ready beside the one that is served, and say whether it is."""
        reason: str | None = None
        self._wanted = number
        try:
            boot = Boot.from_fields(fields)
            opened = await open_booted(boot, self._want_keys, self._opened.runtime)
            if self._wanted != number:  # it took too long, and is not waited for any more
                await self._forget(opened)
                return
            self._next = (number, opened)
        except (*EXPECTED, ValueError) as error:
            reason = _words(error)
        except Exception as bug:  # noqa: BLE001 - whatever it is, what is served goes on
            _log.exception("a configuration could not be made ready")
            reason = type(bug).__name__
        await self._channel.send(messages.prepared(number, reason))

    def _commit(self, number: int) -> None:
        """Serve what was made ready: from here on nothing is decided by the one before."""
        if self._next is None or self._next[0] != number:
            _log.error("there is no configuration %d to be served", number)
            return
        before, self._opened, self._next = self._opened, self._next[1], None
        opened = self._opened
        config = opened.loaded.config
        pending = [self._server.adopt(opened.runtime, opened.tls)]
        if self._decision is not None and config.decision is not None:
            pending.append(self._decision.adopt(opened.runtime, config.decision))
        if self._redirect is not None and config.redirect is not None:
            self._redirect.adopt(config)
        self._drain_s = config.server.drain
        spawn(self._channel.send(messages.committed(number)), name="committed")
        spawn(_retire(before.runtime, opened.runtime, pending), name="the configuration before")

    async def _abort(self, number: int) -> None:
        if self._wanted == number:
            self._wanted = 0
        if self._next is not None and self._next[0] == number:
            (_, opened), self._next = self._next, None
            await self._forget(opened)

    async def _forget(self, opened: Opened) -> None:
        """Close a configuration that is not served after all; what it shares with the one that is goes on."""
        await opened.runtime.close(after=self._opened.runtime)
        gc.collect()

    # The end

    async def _drain(self) -> None:
        """Let requests end for the drain time, or, when told again, for the shorter one."""
        draining = spawn(self._end(self._drain_s), name="drain")
        hurried = spawn(self._hurried.wait(), name="second drain")
        await asyncio.wait([draining, hurried], return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        if not draining.done():
            draining.cancel()
            await self._end(self._hurry_s)
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._opened.runtime.close()
        except TimeoutError:
            _log.warning("connections to stores or upstreams did not close in time")
        await self._tracing.close()

    async def _end(self, timeout_s: float) -> None:
        """Drain all listeners at once."""
        servers = (self._server, self._decision, self._redirect)
        ends = [server.drain(timeout_s) for server in servers if server is not None]
        await asyncio.gather(*ends)

    def _want_keys(self, scheme: str, kid: str) -> None:
        spawn(self._channel.send(messages.keys_wanted(scheme, kid)), name="keys wanted")


async def _retire(before: Runtime, after: Runtime, pending: list[Pending]) -> None:
    """Close a configuration once nothing asks it any more; its tunnels to upstreams live on."""
    for one in pending:
        await one.ended()
    await before.close(None, after=after)
    gc.collect()  # it has cycles, and the memory of a whole configuration is not to wait for chance


def _words(error: Exception) -> str:
    return (str(error) or type(error).__name__).replace("\n", "; ")


async def serve(descriptor: int) -> int:
    """Boot from the channel and serve; return the exit status."""
    channel = await Channel.open(socket.socket(fileno=descriptor))
    try:
        boot = Boot.from_message(await channel.receive())
        return await Worker(channel, boot).run()
    except EXPECTED as error:
        with contextlib.suppress(ChannelError):
            await channel.send(messages.failed(_words(error)))
        return EXIT_FAILED
    finally:
        await channel.close()


def main() -> None:
    """Run the worker that the supervisor asked for."""
    # Before anything else: a Ctrl-C during the start is the supervisor's business.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()
    sys.exit(loop.run(serve(int(sys.argv[1]))))
