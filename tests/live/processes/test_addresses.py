from __future__ import annotations

import asyncio
import os
import signal
import ssl

import pytest

from tests.contract.conftest import make_certificate
from tests.live.processes.conftest import fetch

pytestmark = pytest.mark.slow


async def test_tls_is_spoken_on_tcp_and_not_on_unix_sockets(serve, public, directory):
    """`tls` is for the TCP listeners; a proxy on this machine reaches the unix one as it is."""
    files = make_certificate(directory)
    listen = '["127.0.0.1:0", "unix:public.sock"]'
    tls = f"{{cert: {files / 'cert.pem'}, key: {files / 'key.pem'}}}"
    gate = await serve(public.replace('listen: "127.0.0.1:0"', f"listen: {listen}, tls: {tls}"))
    await gate.ready()
    assert f"listening on https://127.0.0.1:{gate.port}" in gate.messages()
    context = ssl.create_default_context(cafile=str(files / "cert.pem"))
    secure = await asyncio.open_connection("127.0.0.1", gate.port, ssl=context)
    assert (200, b"hello") == await fetch(secure, "/")
    assert (200, b"hello") == await over_unix(gate)


async def test_a_unix_socket_outlives_each_worker_and_goes_with_the_gate(serve, public):
    """One worker that ends does not take the socket's file away from the others."""
    gate = await serve(public.replace("127.0.0.1:0", "unix:public.sock"))
    await gate.ready()
    os.kill(gate.workers()[0], signal.SIGTERM)
    await gate.said("is ready (process", times=3)
    for _ in range(4):
        assert (200, b"hello") == await over_unix(gate)
    gate.send(signal.SIGTERM)
    assert 0 == await gate.exit()
    assert not (gate.directory / "public.sock").exists()


async def over_unix(gate) -> tuple[int, bytes]:
    """Send one GET over the public unix socket."""
    return await fetch(await asyncio.open_unix_connection(gate.directory / "public.sock"), "/")


async def test_the_command_line_may_ask_for_json(serve, public):
    """`log.format: console` gives way to `--json`, in the workers too."""
    gate = await serve(public.replace("format: json", "format: console"), "--json")
    await gate.ready()
    await gate.get("/")
    (line,) = await gate.requests(1)
    assert line["process"].startswith("worker ")
