from __future__ import annotations

import asyncio
import json
import signal
import socket
from contextlib import closing

import pytest

from proxy.adapters.tasks import spawn
from tests.live.processes.conftest import descendants, eventually, gone, is_closed, kill
from tests.token_workshop import jwk

pytestmark = pytest.mark.slow


async def test_serve_says_what_it_does_and_serves(serve, public):
    """The start tells version, workers, address, health, store and what is public; then it works."""
    gate = await serve(public)
    await gate.ready()
    messages = gate.messages()
    assert messages[0].endswith("latchgate.yaml, 2 workers")
    assert f"listening on http://127.0.0.1:{gate.port}" == messages[1]
    assert f"health on unix:{gate.directory}/h: /healthz /readyz /metrics" == messages[2]
    assert "store: none needed" == messages[3]
    assert "public (auth: none): any method */** -> app" == messages[4]
    assert (200, b"hello") == await gate.get("/a?b=c")
    (line,) = await gate.requests(1)
    assert ("/a", 200, "forward") == (line["path"], line["status"], line["decision"])
    gate.send(signal.SIGTERM)
    assert 0 == await gate.exit()


async def test_a_taken_port_is_a_clear_error_and_status_1(serve, public):
    """The gate says which address is taken, starts nothing, and ends with status 1."""
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = other.getsockname()[1]
        gate = await serve(public.replace("127.0.0.1:0", f"127.0.0.1:{port}"))
        assert 1 == await gate.exit()
    assert [
        f"cannot listen on 127.0.0.1:{port}: the port is taken by another process: give `listen` another one"
    ] == gate.messages()


async def test_two_gates_on_one_port_do_not_share_it(serve, public):
    """A gate's own SO_REUSEPORT sockets let no second gate in."""
    first = await serve(public)
    await first.ready()
    second = await serve(
        public.replace("127.0.0.1:0", f"127.0.0.1:{first.port}").replace("unix:h", "unix:h2")
    )
    assert 1 == await second.exit()
    assert (200, b"hello") == await first.get()


async def test_sigterm_drains_what_runs_and_exits_0(serve, public, application):
    """A request in progress is answered, a new connection is not taken, and the status is 0."""
    application.may_answer.clear()
    gate = await serve(public)
    await gate.ready()
    answer = spawn(gate.get(), name="request")
    await application.asked.wait()
    gate.send(signal.SIGTERM)
    await gate.said("SIGTERM: draining, for at most 20 s")
    await eventually(lambda: is_closed(gate.port))
    assert gate.process.returncode is None
    application.may_answer.set()
    assert (200, b"hello") == await answer
    assert 0 == await gate.exit()
    assert "ended" == gate.messages()[-1]
    assert not (gate.directory / "h").exists()


async def test_a_second_sigint_hurries(serve, public, application):
    """Whoever presses Ctrl-C twice does not wait for a request that never ends."""
    application.may_answer.clear()
    gate = await serve(public)
    await gate.ready()
    answer = spawn(gate.get(), name="request")
    await application.asked.wait()
    gate.send(signal.SIGINT)
    await gate.said("SIGINT: draining")
    began = asyncio.get_running_loop().time()
    gate.send(signal.SIGINT)
    assert 0 == await gate.exit()
    assert asyncio.get_running_loop().time() - began < 8
    status, body = await answer
    assert (503, "draining") == (status, json.loads(body)["code"])


async def test_a_signal_during_the_start_ends_it(serve, public):
    """Ctrl-C before the workers are ready leaves nothing behind."""
    gate = await serve(public)
    await gate.said("listening on")
    gate.send(signal.SIGINT)
    assert 0 == await gate.exit()


async def test_a_killed_worker_is_replaced_and_no_connection_is_refused(serve, public):
    """Its queue outlives it, because the supervisor holds the socket."""
    gate = await serve(public)
    await gate.ready()
    failures: list[BaseException] = []
    is_over = asyncio.Event()

    async def connect_again_and_again() -> int:
        count = 0
        while not is_over.is_set():
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", gate.port)
                writer.close()
            except ConnectionRefusedError as error:
                failures.append(error)
            count += 1
            await asyncio.sleep(0.005)  # a steady stream, not a flood
        return count

    hammer = spawn(connect_again_and_again(), name="hammer")
    for victim in gate.workers()[:2]:
        kill(victim)
    await gate.said("is ready (process", times=4)
    is_over.set()
    assert await hammer > 10
    assert [] == failures
    assert 2 == len([m for m in gate.messages() if "ended: SIGKILL" in m])
    for _ in range(8):
        assert (200, b"hello") == await gate.get()
    gate.send(signal.SIGTERM)
    assert 0 == await gate.exit()


async def test_a_connection_that_waits_for_a_dead_worker_is_served_by_its_replacement(
    serve, public
):
    """A connection in the queue of a killed worker is neither refused nor reset."""
    gate = await serve(public.replace("workers: 2", "workers: 1"))
    await gate.ready()
    (worker,) = gate.workers()
    kill(worker)
    assert (200, b"hello") == await gate.get()
    await gate.said("is ready (process", times=2)


async def test_kill_9_of_the_supervisor_ends_workers_and_store(serve, public, directory):
    """Nothing outlives the gate: no worker, no guardian, no Valkey, and the next start works."""
    text = public.replace("auth: none", "auth: web").replace(
        "upstreams:",
        'store: {url: "embedded:store"}\n'
        "schemes: {web: {type: session, format: native}}\nupstreams:",
    )
    gate = await serve(text)
    await gate.ready()
    children = descendants(gate.process.pid)
    assert len(children) >= 4  # two workers, the store's guardian, the store
    assert set(gate.workers()) < set(children)
    gate.send(signal.SIGKILL)
    await gone(children)
    again = await serve(text)
    await again.ready()
    assert (401, True) == ((await again.get())[0], (directory / "store").is_dir())
    again.send(signal.SIGTERM)
    assert 0 == await again.exit()


SHARE = 24
"""Connections of which the kernel gives each of two workers some: all to one once in 16 million times."""


async def test_a_replacement_that_cannot_start_is_tried_again_and_says_why(
    serve, public, directory
):
    """A file of keys that was taken away keeps a new worker from starting, until it is back."""
    keys_file = directory / "keys.json"
    keys_file.write_text(json.dumps({"keys": [jwk("RSA", kid="k")]}))
    scheme = "{type: jwt, issuer: i, audience: a, algorithms: [RS256], revocation: none"
    keys = f"max_lifetime: 10m, keys: {{file: {keys_file}}}}}"
    gate = await serve(
        public.replace("upstreams:", f"schemes: {{api: {scheme}, {keys}}}\nupstreams:")
    )
    await gate.ready()
    keys_file.rename(directory / "away")
    kill(gate.workers()[0])
    message = await gate.said("cannot start")
    assert message.endswith(
        "there is no such file; a relative path begins where the configuration is"
    )
    assert str(directory / "latchgate.yaml") in message
    await gate.said("cannot start", times=2)  # its sockets rest since the first time
    statuses = [(await gate.get())[0] for _ in range(SHARE)]
    (directory / "away").rename(keys_file)
    await gate.said("is ready (process", times=3)

    assert [200] * SHARE == statuses
    assert [200] * SHARE == [(await gate.get())[0] for _ in range(SHARE)]


async def test_s11_health_tells_readiness_and_nothing_else(serve, public, application):
    """S11: /healthz and /readyz, without data, /metrics; a gate that drains is not ready."""
    gate = await serve(public)
    await gate.ready()
    assert (200, b"ok\n") == await gate.health("/healthz")
    assert (200, b"ok\n") == await gate.health("/readyz")
    assert 200 == (await gate.health("/metrics"))[0]
    assert (404, b"not found\n") == await gate.health("/config")
    application.may_answer.clear()
    answer = spawn(gate.get(), name="request")
    await application.asked.wait()
    gate.send(signal.SIGTERM)

    async def is_unready() -> bool:
        return await gate.health("/readyz") == (503, b"not ready\n")

    await eventually(is_unready)
    assert (200, b"ok\n") == await gate.health("/healthz")
    application.may_answer.set()
    await answer
    assert 0 == await gate.exit()
