"""Proofs of possession (RFC 9449) on a whole gate: its workers share what was used, and their nonces."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from itertools import chain, zip_longest
from pathlib import Path

import pytest

from tests import token_workshop as workshop
from tests.proof_maker import proof, thumbprint

pytestmark = pytest.mark.slow

CONFIG = """
server: {{listen: "127.0.0.1:0", workers: 2}}
health: none
log: {{format: json, access: false}}
store: {{url: "embedded:{directory}/var"}}
schemes:
  idp:
    type: jwt
    issuer: "https://id.example.com/"
    audience: [shop-api]
    algorithms: [RS256]
    keys: {{file: "{directory}/keys.json"}}
upstreams: {{app: {{servers: ["http://127.0.0.1:{port}"]}}}}
routes:
  - {{match: {{path: /public}}, auth: none, upstream: app}}
  - {{match: {{path: /fresh}}, auth: idp, dpop: nonce, upstream: app}}
  - {{match: {{path: /**}}, auth: idp, dpop: required, upstream: app}}
"""
URL = "http://shop.example"
EACH = 10
"""Connections to each of the two workers."""
ROUNDS = 5


class Line:
    """A connection that stays open, and the worker at its other end."""

    def __init__(self, streams):
        self.reader, self.writer = streams
        self.worker = 0

    async def ask(self, raw):
        """Send one request; return status, nonce and code of its answer."""
        self.writer.write(raw)
        async with asyncio.timeout(20):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            lines = head.lower().split("\r\n")
            said = dict(line.split(": ", 1) for line in lines if ": " in line)
            body = await self.reader.readexactly(int(said["content-length"]))
        nonce = next((x[12:] for x in head.split("\r\n") if x.startswith("DPoP-Nonce: ")), None)
        status = int(head.split()[1])
        return status, nonce, None if status == 200 else json.loads(body)["code"]


def get(path, token=None, made=None):
    """Write a GET."""
    more = "" if token is None else f"Authorization: DPoP {token}\r\nDPoP: {made}\r\n"
    return f"GET {path} HTTP/1.1\r\nHost: shop.example\r\n{more}\r\n".encode()


ESTABLISHED = "01"
"""Of a socket: one whose port was another test's a moment ago may still be listed as over."""


def owner(port, client_port, pids):
    """Return which process has accepted a connection, by what the kernel says of it."""
    ends = [f"0100007F:{port:04X}", f"0100007F:{client_port:04X}"]
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    (inode,) = [row[9] for row in rows if row[1:3] == ends and row[3] == ESTABLISHED]
    (pid,) = [
        pid
        for pid in pids
        if any(
            str(fd.readlink()) == f"socket:[{inode}]" for fd in Path(f"/proc/{pid}/fd").iterdir()
        )
    ]
    return pid


@pytest.fixture
async def gate(serve, application, directory):
    """Run a gate of two workers, with `EACH` connections to each."""
    (directory / "keys.json").write_text(json.dumps({"keys": [workshop.jwk("RSA")]}))
    running = await serve(CONFIG.format(directory=directory, port=application.port))
    await running.ready()
    held = {pid: [] for pid in running.workers()}
    spare = []
    for _ in range(40 * EACH):
        if all(len(lines) == EACH for lines in held.values()):
            break
        line = Line(await asyncio.open_connection("127.0.0.1", running.port))
        assert (await line.ask(get("/public")))[0] == 200
        client_port = line.writer.get_extra_info("sockname")[1]
        line.worker = owner(running.port, client_port, held)
        lines = held[line.worker]
        (lines if len(lines) < EACH else spare).append(line)
    application.heads.clear()
    assert [len(lines) for lines in held.values()] == [EACH, EACH]
    yield tuple(held.values())
    for line in chain(spare, *held.values()):
        line.writer.close()


def bound_token():
    """Return a token that is bound to the key of proofs."""
    now = int(time.time())
    cnf = {"jkt": thumbprint("P-256")}
    return workshop.token("RS256", "RSA", iat=now, exp=now + 300, cnf=cnf).decode()


async def test_k5_of_twenty_uses_on_two_workers_at_once_one_counts(gate, application):
    """K5: whichever worker is first, and however close they are: one passes, and never none or two."""
    token = bound_token()
    lines = list(chain(*zip_longest(*gate)))
    for round_ in range(ROUNDS):
        raw = get("/x", token, proof("GET", f"{URL}/x", token))
        answers = await asyncio.gather(*(line.ask(raw) for line in lines))
        told = Counter((status, code) for status, _, code in answers)
        assert told == {(200, None): 1, (401, "proof_invalid"): 2 * EACH - 1}
        assert len(application.heads) == round_ + 1


async def test_k5_what_one_worker_has_seen_the_other_refuses(gate, application):
    """K5: a proof that was used is so in every process, also where its token's verdict is kept."""
    token = bound_token()
    here, there = gate[0][0], gate[1][0]
    assert here.worker != there.worker
    for first, second in ((here, there), (there, here)):
        raw = get("/x", token, proof("GET", f"{URL}/x", token))
        assert await first.ask(raw) == (200, None, None)
        assert await second.ask(raw) == (401, None, "proof_invalid")
        assert await first.ask(raw) == (401, None, "proof_invalid")
    assert len(application.heads) == 2


async def test_a_nonce_of_one_worker_is_good_at_the_other(gate):
    """No worker asks another: both have made them of the one secret beside the store."""
    token = bound_token()
    here, there = gate[0][0], gate[1][0]

    async def ask(line, **said):
        return await line.ask(get("/fresh", token, proof("GET", f"{URL}/fresh", token, **said)))

    status, nonce, code = await ask(here)
    assert (status, code) == (401, "proof_nonce_missing")
    for line in (there, here):
        assert (await ask(line, nonce=nonce))[0] == 200
