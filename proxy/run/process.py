"""One worker process as the supervisor sees it: started, spoken to, ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import site
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import proxy
from proxy.run.channel import Channel, ChannelError, Message
from proxy.run.messages import Boot

EXIT_TIMEOUT_S: Final = 5.0
"""How long a process may live after it has closed its channel."""
KILL_TIMEOUT_S: Final = 5.0
"""How long the kernel may take to end a killed process before it is given up."""


class WorkerProcess:
    """A running worker and its control channel."""

    def __init__(self, number: int, process: asyncio.subprocess.Process, channel: Channel) -> None:
        self.number = number
        self.is_killed = False
        """True when the supervisor itself has ended it by force."""
        self._process = process
        self._channel = channel

    @classmethod
    async def start(cls, boot: Boot, sockets: Sequence[socket.socket]) -> WorkerProcess:
        """Start a worker that inherits `sockets`, and send it its boot message.

        Raises `OSError` where no process can be made, and `ChannelError` where it does not listen.
        """
        ours, theirs = socket.socketpair()
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "proxy.run.start_worker", str(theirs.fileno())),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=[theirs.fileno(), *(sock.fileno() for sock in sockets)],
                env=_environment(),
                # Ctrl-C and the terminal's hang-up are for the supervisor, which drains.
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        worker = cls(boot.worker, process, await Channel.open(ours))
        try:
            await worker.send(boot.to_message())
        except BaseException:
            await worker.kill()
            raise
        return worker

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    async def send(self, message: Message) -> None:
        """Send a message. Raises `ChannelError` when the worker is gone or does not read."""
        await self._channel.send(message)

    async def receive(self) -> Message | None:
        """Return the worker's next message; `None` when it is gone. Raises `ChannelError`."""
        return await self._channel.receive()

    async def ended(self) -> int:
        """Return the status of a process whose channel has closed, negative for a signal.

        One that lives on without its channel is killed.
        """
        try:
            return await asyncio.wait_for(self._process.wait(), EXIT_TIMEOUT_S)
        except TimeoutError:
            await self.kill()
            return -signal.SIGKILL

    async def kill(self) -> None:
        """End the process now (SIGKILL), and wait until it is gone."""
        if self._process.returncode is None:
            self.is_killed = True
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), KILL_TIMEOUT_S)
        await self.close()

    async def close(self) -> None:
        """Close the channel of a worker that has ended."""
        with contextlib.suppress(ChannelError):
            await self._channel.close()


def _environment() -> dict[str, str]:
    """Return this environment, in which Python finds this very package.

    `-P` keeps the working directory, which may be anybody's, off the module path; a package that
    runs from its source tree is therefore named here.
    """
    environment = dict(os.environ)
    root = str(Path(proxy.__file__).absolute().parent.parent)
    if root not in (*site.getsitepackages(), site.getusersitepackages()):
        rest = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = f"{root}{os.pathsep}{rest}" if rest else root
    return environment
