"""A TCP proxy that can cut the network in the middle: both directions, or each alone.

Bytes that are sent into a cut are held back, as a kernel would that sends them again, and go on when
the cut is over. Connections stay open meanwhile; new ones are accepted and hear nothing.
"""

from __future__ import annotations

import asyncio
import contextlib


class ChaosProxy:
    """Passes bytes on between its port and the port of a server on 127.0.0.1."""

    def __init__(self, target_port):
        self._target_port = target_port
        self._may_pass = {"up": asyncio.Event(), "down": asyncio.Event()}
        self._writers = set()
        self._tasks = set()
        self.port = 0
        self.heal()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_exc):
        self._server.close()
        for task in self._tasks:
            task.cancel()
        self.reset()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()
        await asyncio.sleep(0)

    def cut(self, *directions):
        """Hold back what goes `up` (to the server), `down` (from it), or both."""
        for direction in directions or ("up", "down"):
            self._may_pass[direction].clear()

    def heal(self):
        """Let everything pass again."""
        for event in self._may_pass.values():
            event.set()

    def reset(self):
        """End every connection at once."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _serve(self, reader, writer):
        try:
            back_reader, back_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            writer.close()
            return
        self._writers.update((writer, back_writer))
        task = asyncio.current_task()
        self._tasks.add(task)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass_on(reader, back_writer, "up"))
                group.create_task(self._pass_on(back_reader, writer, "down"))
        except asyncio.CancelledError:
            pass
        finally:
            self._tasks.discard(task)

    async def _pass_on(self, reader, writer, direction):
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await self._may_pass[direction].wait()
                writer.write(data)
                await writer.drain()
            writer.close()
