from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
from collections.abc import AsyncIterator

import pytest

from proxy.run.worker import EXIT_FAILED, EXIT_ORPHAN
from tests.live.processes.conftest import ROOT, WAIT_S, eventually, is_closed

pytestmark = pytest.mark.slow


class BareWorker:
    """A worker process whose control channel the test holds raw."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        control: socket.socket,
        listener: tuple[int, int],
    ) -> None:
        self.process = process
        self.control = control
        self.listener, self.port = listener
        """A listening socket as the worker names it, and its port. Only the worker has it."""

    def say(self, line: bytes) -> None:
        """Send bytes over the control channel."""
        self.control.sendall(line + b"\n")

    async def hear(self) -> dict | None:
        """Return the worker's next message."""
        loop = asyncio.get_running_loop()
        data = b""
        while not data.endswith(b"\n"):
            part = await loop.sock_recv(self.control, 65536)
            if not part:
                return None
            data += part
        return json.loads(data)

    async def exit(self) -> tuple[int, str]:
        """Return status and standard error."""
        async with asyncio.timeout(30):
            _, errors = await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode, errors.decode()


@pytest.fixture
async def worker() -> AsyncIterator[BareWorker]:
    """Start `python -m proxy.run.start_worker`."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    inherited = socket.create_server(("127.0.0.1", 0))
    listener = inherited.fileno(), inherited.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "proxy.run.start_worker", str(theirs.fileno())),
        pass_fds=[theirs.fileno(), inherited.fileno()],
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    theirs.close()
    inherited.close()
    yield BareWorker(process, ours, listener)
    ours.close()
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


def boot(**changes: object) -> bytes:
    """Return a boot message of a gate without listeners."""
    text = 'upstreams: {app: {servers: ["http://127.0.0.1:1"]}}\nlog: {format: json}\n'
    text += 'routes: [{match: {path: "/**"}, auth: none, upstream: app}]\n'
    fields = {"worker": 0, "gate_id": "g", "text": text, "file": "f.yaml", "base": "/"}
    fields |= {"sockets": [], "own_addresses": [], "store": None, "keys": {}}
    return json.dumps({"kind": "boot", **fields, **changes}).encode()


@pytest.mark.parametrize("line", [b"nonsense", b'{"kind": "drain"}', boot(unknown=1)])
async def test_a_worker_does_not_serve_what_it_does_not_understand(worker, line):
    """A first message that is no boot message ends it, with a reason and without a traceback."""
    worker.say(line)
    message = await worker.hear()
    assert message is not None
    assert "failed" == message["kind"]
    assert (EXIT_FAILED, "") == await worker.exit()


async def test_a_worker_whose_supervisor_is_gone_before_it_spoke_ends(worker):
    """The end of the channel is the end of the worker."""
    worker.control.close()
    assert (EXIT_FAILED, "") == await worker.exit()


async def test_a_worker_whose_supervisor_vanishes_ends_at_once(worker):
    """Nobody would restart or drain an orphan, and its port is wanted by the next gate."""
    worker.say(boot())
    assert {"kind": "ready"} == await worker.hear()
    worker.control.close()
    assert (EXIT_ORPHAN, "") == await worker.exit()


async def test_a_supervisor_that_does_not_make_sense_is_left(worker):
    """Unknown kinds are logged; what is no message ends the worker."""
    worker.say(boot())
    assert {"kind": "ready"} == await worker.hear()
    worker.say(b'{"kind": "dance"}')
    worker.say(b"[")
    status, errors = await worker.exit()
    assert EXIT_ORPHAN == status
    assert "a message of an unknown kind" in errors


async def test_the_second_drain_shortens_the_first(worker, application):
    """A worker that drains at leisure, for a request that does not end, hurries when told again."""
    application.may_answer.clear()
    text = json.loads(boot())["text"].replace("127.0.0.1:1", f"127.0.0.1:{application.port}")
    worker.say(boot(text=text, sockets=[worker.listener]))
    assert {"kind": "ready"} == await worker.hear()
    reader, writer = await asyncio.open_connection("127.0.0.1", worker.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: gate\r\n\r\n")
    async with asyncio.timeout(WAIT_S):
        await application.asked.wait()
    worker.say(b'{"kind": "drain", "timeout_s": 600}')
    await eventually(lambda: is_closed(worker.port))
    assert worker.process.returncode is None
    worker.say(b'{"kind": "drain", "timeout_s": 0}')
    status, _ = await worker.exit()
    assert 0 == status
    assert b'"code": "draining"' in await reader.read()
    writer.close()


async def test_a_configuration_that_is_not_waited_for_is_forgotten(worker):
    """What became ready too late is not served, and not what a later commit takes."""
    worker.say(boot())
    assert {"kind": "ready"} == await worker.hear()
    told = {name: value for name, value in json.loads(boot()).items() if name != "kind"}
    for number in (1, 2):
        worker.say(json.dumps({"kind": "prepare", "number": number, "boot": told}).encode())
        if number == 1:
            worker.say(b'{"kind": "abort", "number": 1}')
    prepared = await worker.hear()
    if prepared["number"] == 1:  # it was ready before it heard that nobody waits
        prepared = await worker.hear()
    assert {"kind": "prepared", "number": 2, "reason": None} == prepared
    worker.say(b'{"kind": "commit", "number": 1}')
    worker.say(b'{"kind": "commit", "number": 2}')
    assert {"kind": "committed", "number": 2} == await worker.hear()
