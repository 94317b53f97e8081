"""A whole gate takes another configuration: by a command, a signal, a changed file; or says why not."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from proxy.adapters.tasks import spawn
from proxy.run.control import ask
from tests.live.processes.conftest import eventually, kill

pytestmark = pytest.mark.slow

RELOADS = 45
"""benchmarks/reloads.py makes more of them."""
GROWTH_KIB = 5 * 1024


@pytest.fixture(autouse=True)
def runtime(directory, monkeypatch):
    """Look where the test's gates have their sockets."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(directory))


@pytest.fixture
async def app():
    """Serve an application with a WebSocket."""

    async def hello(request):
        return web.Response(text=request.path)

    async def echo(request):
        line = web.WebSocketResponse()
        await line.prepare(request)
        async for message in line:
            await line.send_str(message.data)
        return line

    made = web.Application()
    made.router.add_get("/open/ws", echo)
    made.router.add_get("/{path:.*}", hello)
    server = TestServer(made)
    await server.start_server()
    yield str(server.make_url("")).rstrip("/")
    await server.close()


@pytest.fixture
def text(app):
    """Return a function that writes a configuration."""

    def written(*routes, workers=2, more=""):
        lines = [
            f'server: {{listen: "127.0.0.1:0", workers: {workers}}}',
            'health: {listen: "unix:h"}',
            f'upstreams: {{app: {{servers: ["{app}"]}}}}',
            more,
            "routes:",
            "  - {name: open, match: {path: /open/**}, auth: none, upstream: app}",
            *(
                f"  - {{name: {path}, match: {{path: /{path}/**}}, auth: none, upstream: app}}"
                for path in routes
            ),
        ]
        return "\n".join(lines) + "\n"

    return written


async def reloaded(directory, text=None, confirmed=None):
    file = directory / "latchgate.yaml"
    if text is not None:
        file.write_text(text)
    answer = await ask(file, {"kind": "reload", "confirmed": confirmed}, within_s=60)
    assert answer is not None
    return answer


def resident_kib(pid):
    """Return how much memory a process has."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


async def test_what_is_answered_to_a_reload_is_true_of_every_worker(serve, text, directory):
    """From the answer on no request of any worker is decided by what was there before."""
    gate = await serve(text())
    await gate.ready()
    for number in range(4):
        is_there = number % 2 == 0
        answer = await reloaded(directory, text("more") if is_there else text())
        assert answer["result"] == "done"
        statuses = {(await gate.get("/more/x"))[0] for _ in range(20)}
        assert statuses == {200 if is_there else 404}
    _, body = await gate.health("/metrics")
    assert b'latchgate_config_reloads_total{result="done"} 4.0' in body
    assert gate.process.returncode is None


async def test_reloads_under_load_fail_no_request_and_close_no_tunnel(serve, text, directory):
    """Requests and a WebSocket go on through every one of them, and what was replaced is given back."""
    gate = await serve(text())
    await gate.ready()
    statuses, is_over = [], False

    async def load():
        async with aiohttp.ClientSession() as client:
            while not is_over:
                async with client.get(f"http://127.0.0.1:{gate.port}/open/x") as answer:
                    await answer.read()
                    statuses.append(answer.status)

    workers = gate.workers()
    address = f"http://127.0.0.1:{gate.port}/open/ws"
    async with aiohttp.ClientSession() as client, client.ws_connect(address) as line:
        loads = [spawn(load(), name="load") for _ in range(4)]
        for number in range(RELOADS):
            answer = await reloaded(directory, text(f"more{number}"))
            assert answer["result"] == "done"
            if number == 19:
                before = [resident_kib(pid) for pid in workers]
        is_over = True
        await asyncio.gather(*loads)
        await line.send_str("still there")
        assert (await line.receive(timeout=10)).data == "still there"
    grown = [resident_kib(pid) - old for pid, old in zip(workers, before, strict=True)]
    assert set(statuses) == {200}
    assert len(statuses) > RELOADS
    assert max(grown) < GROWTH_KIB
    assert gate.workers() == workers


BROKEN = (
    "routes: [",
    "routes: []\nnonsense: 1\n",
    "upstreams: {app: {servers: ['http://a:1']}}\nroutes: [{match: {path: /**}, auth: who, upstream: app}]\n",
    "",
    "\x00\x01",
    "server: {tls: {cert: gone.pem, key: gone.pem}}\nroutes: []\n",
)
"""No YAML, an unknown key, a scheme that is not there, nothing, bytes, files that are not there."""


async def test_a_broken_file_changes_nothing_but_says_why(serve, text, directory):
    """The reason is in the answer, in the log and in a metric; what ran goes on."""
    gate = await serve(text(workers=1))
    await gate.ready()
    failing = text(workers=1) + "tests: [{request: GET /open/x, expect: deny}]\n"
    broken = [*BROKEN, text(workers=2), failing] * 6
    for number, file in enumerate(broken, 1):
        answer = await reloaded(directory, file)
        assert (answer["result"], bool(answer["reasons"])) == ("refused", True), file
        await gate.said("not reloaded: ", times=number)
    assert (await gate.get("/open/x"))[0] == 200
    _, body = await gate.health("/metrics")
    assert f'latchgate_config_reloads_total{{result="refused"}} {len(broken)}.0'.encode() in body
    assert b"latchgate_config_last_reload_successful 0.0" in body
    assert (await reloaded(directory, text("more", workers=1)))["result"] == "done"
    assert (await gate.get("/more/x"))[0] == 200
    _, body = await gate.health("/metrics")
    assert b"latchgate_config_last_reload_successful 1.0" in body


async def test_what_opens_wants_a_confirmation_where_that_is_set(serve, text, directory):
    """The digest of what was shown confirms it, and nothing else does."""
    guarded = "reload: {refuse_opening: true}"
    gate = await serve(text(workers=1, more=guarded))
    await gate.ready()
    opening = text("more", workers=1, more=guarded)
    for confirmed in (None, "0" * 16):
        answer = await reloaded(directory, opening, confirmed)
        assert answer["result"] == "unconfirmed"
        assert (await gate.get("/more/x"))[0] == 404
    assert (await reloaded(directory, opening, answer["digest"]))["result"] == "done"
    assert (await gate.get("/more/x"))[0] == 200
    assert (await reloaded(directory, text(workers=1, more=guarded)))["result"] == "done"
    assert (await gate.get("/more/x"))[0] == 404


async def test_a_signal_and_a_changed_file_are_reloads(serve, text, directory):
    """SIGHUP does what the command does; with `watch` nobody has to say that the file has changed."""
    watched = "reload: {watch: true}"
    gate = await serve(text(workers=1))
    await gate.ready()
    file = directory / "latchgate.yaml"
    file.write_text(text("more", workers=1, more=watched))
    gate.send(signal.SIGHUP)
    await gate.said("reloaded: opens 1 route")
    assert (await gate.get("/more/x"))[0] == 200
    file.write_text(text(workers=1, more=watched))
    await gate.said("reloaded: closes 1 route")
    assert (await gate.get("/more/x"))[0] == 404
    gate.send(signal.SIGTERM)
    assert await gate.exit() == 0


async def test_many_signals_are_few_reloads(serve, text, directory):
    """Those that come while one is under way are answered together, and nobody waits for each."""
    gate = await serve(text(workers=1))
    await gate.ready()
    (worker,) = gate.workers()
    os.kill(worker, signal.SIGSTOP)  # so that the first one is under way
    try:
        for _ in range(20):
            gate.send(signal.SIGHUP)
            await asyncio.sleep(0.02)  # a signal that is not delivered yet is one with the next
    finally:
        os.kill(worker, signal.SIGCONT)
    assert (await reloaded(directory, text("more", workers=1)))["result"] == "done"
    await gate.said("reloaded: ", times=2)
    done = [message for message in gate.messages() if message.startswith("reloaded: ")]
    assert len(done) <= 3
    assert (await gate.get("/more/x"))[0] == 200


async def test_a_reload_during_the_start_waits_for_it(serve, text, directory):
    """Nothing is started a second time beside what is starting: a store, or keys that are slow to come."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        keys = f"issuer: '{url}', audience: a, keys: {{jwks_url: '{url}/k'}}"
        more = (
            f"store: {{url: 'embedded:{directory}/store'}}\n"
            f"schemes: {{slow: {{type: jwt, {keys}}}}}"
        )
        slow = text(workers=1, more=more).replace("auth: none", "auth: slow")
        gate = await serve(slow)

        async def has_socket():
            return list(directory.rglob("latchgate/*.sock"))

        await eventually(has_socket)
        opening = text("more", workers=1, more=more).replace("auth: none", "auth: slow", 1)
        assert (await reloaded(directory, opening))["result"] == "done"
        await gate.ready()
        assert (await gate.get("/more/x"))[0] == 200


async def test_a_worker_that_does_not_answer_is_no_fault_of_the_file(serve, text, directory):
    """Nothing is changed, another attempt may do it, and no file that is good is called bad."""
    gate = await serve(text())
    await gate.ready()
    stopped = gate.workers()[0]
    os.kill(stopped, signal.SIGSTOP)
    try:
        answer = await reloaded(directory, text("more"))
    finally:
        os.kill(stopped, signal.SIGCONT)
    assert answer["result"] == "failed"
    assert "no answer in time" in answer["reasons"][0]
    assert {(await gate.get("/more/x"))[0] for _ in range(10)} == {404}
    assert (await reloaded(directory))["result"] == "done"
    assert {(await gate.get("/more/x"))[0] for _ in range(10)} == {200}


async def test_a_certificate_is_renewed_beside_a_configuration_that_is_not_taken(
    serve, text, directory
):
    """Both may come at once, from one mount: what is wrong with one keeps the other from nothing."""
    make_pair(directory, 1)
    tls = f"tls: {{cert: {directory}/cert.pem, key: {directory}/key.pem}}"
    watched = text(workers=1, more="reload: {watch: true}").replace(
        "workers: 1", f"workers: 1, {tls}"
    )
    gate = await serve(watched)
    await gate.ready()
    (directory / "latchgate.yaml").write_text("routes: [")
    make_pair(directory, 2)
    await gate.said("reloaded: changes nothing")
    assert serial_at(gate.port) == 2


async def test_a_worker_that_is_replaced_starts_with_what_is_served(serve, text, directory):
    """A worker that dies later has the configuration of now, whatever the file says by then."""
    gate = await serve(text(workers=1))
    await gate.ready()
    assert (await reloaded(directory, text("more", workers=1)))["result"] == "done"
    (directory / "latchgate.yaml").write_text("broken: [")
    kill(gate.workers()[0])
    await gate.said("all workers are ready", times=2)

    async def is_served():
        return (await gate.get("/more/x"))[0] == 200

    await eventually(is_served)


async def test_a_worker_that_is_replaced_has_the_secrets_of_what_is_served(serve, text, directory):
    """A secret's file that has changed, or is away, is a matter of the next reload and not of a crash."""
    (directory / "secret").write_text("s" * 64)
    keys = f"issuer: i, audience: a, algorithms: [HS256], keys: {{secret: {{file: {directory}/secret}}}}"
    scheme = f"schemes: {{api: {{type: jwt, {keys}, revocation: none, max_lifetime: 15m}}}}"
    guarded = text(workers=1, more=scheme).replace("auth: none", "auth: api")
    gate = await serve(guarded)
    await gate.ready()
    now = int(time.time())
    said = {"iss": "i", "aud": "a", "sub": "ann", "iat": now, "exp": now + 600}
    tokens = [jwt.encode(said, letter * 64, "HS256") for letter in "st"]

    async def statuses():
        asked = [gate.get("/open/x", Authorization=f"Bearer {token}") for token in tokens]
        return [(await one)[0] for one in asked]

    assert await statuses() == [200, 401]
    (directory / "secret").write_text("t" * 64)
    kill(gate.workers()[-1])
    await gate.said("all workers are ready", times=2)
    assert await statuses() == [200, 401]
    (directory / "secret").unlink()
    kill(gate.workers()[-1])
    await gate.said("all workers are ready", times=3)
    assert await statuses() == [200, 401]
    (directory / "secret").write_text("t" * 64)
    assert (await reloaded(directory))["result"] == "done"
    assert await statuses() == [401, 200]


async def test_the_commands_say_what_opens_and_take_it(serve, text, directory, shell):
    """`diff` tells it before, `reload` takes it, or says why not, by text, JSON and exit status."""
    guarded = "reload: {refuse_opening: true}"
    gate = await serve(text(workers=1, more=guarded))
    await gate.ready()
    file = directory / "latchgate.yaml"
    file.write_text(text("more", workers=1, more=guarded))
    status, said, _ = await shell.run("diff")
    assert (status, said.splitlines()[0]) == (0, "opens 1 route")
    assert (await shell.run("diff", "--refuse-opening"))[0] == 1
    status, _, complained = await shell.run("reload")
    assert status == 1
    digest = complained.rpartition("--confirm ")[2].strip()
    assert (await shell.json("diff"))["digest"] == digest
    told = await shell.json("reload", "--confirm", digest)
    assert (told["result"], told["digest"]) == ("done", digest)
    assert (await gate.get("/more/x"))[0] == 200
    file.write_text("routes: [")
    status, _, complained = await shell.run("reload")
    assert (status, "goes on as it was" in complained) == (2, True)
    gate.send(signal.SIGTERM)
    await gate.exit()
    status, _, complained = await shell.run("reload")
    assert (status, "no gate of yours" in complained) == (1, True)


async def test_a_certificate_that_was_renewed_is_shown_without_a_command(serve, text, directory):
    """A new pair of files is read within seconds; a torn one changes nothing."""
    make_pair(directory, 1)
    tls = f"tls: {{cert: {directory}/cert.pem, key: {directory}/key.pem}}"
    gate = await serve(text(workers=1).replace("workers: 1", f"workers: 1, {tls}"))
    await gate.ready()
    assert serial_at(gate.port) == 1
    make_pair(directory, 2)
    (directory / "key.pem").write_text("torn")
    await gate.said("not reloaded: ")
    assert serial_at(gate.port) == 1
    make_pair(directory, 3)
    await gate.said("reloaded: changes nothing")
    assert serial_at(gate.port) == 3


def make_pair(directory, serial):
    """Write a certificate and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "here")])
    now = datetime.fromtimestamp(time.time(), UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    (directory / "cert.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (directory / "key.pem").write_bytes(private)


def serial_at(port):
    """Return the serial number of the certificate that a listener shows."""
    pem = ssl.get_server_certificate(("127.0.0.1", port), timeout=10)
    return x509.load_pem_x509_certificate(pem.encode()).serial_number
