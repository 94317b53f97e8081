"""Shows that a gate takes 200 configurations under load, and 50 broken files, and gives back what it replaced.

Run it with `python benchmarks/reloads.py`; exit status 1 means that the promise is broken: every request is
answered with 200, no tunnel closes, no worker grows by 5 MiB after the 20th reload, and a broken file changes
nothing. The load has sessions that are looked up in a real Valkey, tokens, and WebSockets that stay.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import aiohttp
import jwt
from aiohttp import web
from aiohttp.test_utils import TestServer

from benchmarks.rig.bound import break_off_after
from proxy.adapters.tasks import spawn
from proxy.run.control import ask

SECRET = "s" * 64
KIB = 1024
SETTLED = 20
"""Reloads after which memory is looked at."""
GROWTH_KIB = 5 * KIB
CONFIG = """
server: {{listen: "unix:{directory}/g", workers: 2}}
health: {{listen: "unix:{directory}/h"}}
log: {{access: false}}
store: {{url: "embedded:{directory}/store"}}
upstreams: {{app: {{servers: ["{app}"]}}}}
schemes:
  web: {{type: session, format: native, cookie: sid}}
  api: {{type: jwt, issuer: "https://id.test", audience: [app], algorithms: [HS256], keys: {{secret: "{secret}"}}}}
routes:
  - {{match: {{path: /web/**}}, auth: web, upstream: app, cross_site: allow}}
  - {{match: {{path: /api/**}}, auth: api, upstream: app, cross_site: allow}}
  - {{match: {{path: /open/**}}, auth: none, upstream: app, cross_site: allow}}
  - {{name: turn, match: {{path: /turn/{turn}}}, auth: web, upstream: app}}
"""
BROKEN = (
    "routes: [",
    "nonsense: 1",
    "",
    "\\0",
    "routes: [{match: {path: /**}, auth: who, upstream: x}]",
)


async def application():
    """Start what is guarded."""

    async def hello(_request):
        return web.Response(text="hello")

    async def echo(request):
        line = web.WebSocketResponse()
        await line.prepare(request)
        async for message in line:
            await line.send_str(message.data)
        return line

    made = web.Application()
    for path in ("/web/ws", "/api/ws", "/open/ws"):
        made.router.add_get(path, echo)
    made.router.add_get("/{path:.*}", hello)
    server = TestServer(made)
    await server.start_server()
    return server


def resident_kib(pid):
    """Return how much memory a process has."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


def workers_of(gate):
    """Return the processes of a gate that serve requests."""
    children = Path(f"/proc/{gate}/task/{gate}/children").read_text().split()
    commands = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children}
    return [pid for pid, command in commands.items() if b"start_worker" in command]


async def run(gate, directory, write, count, broken):
    """Reload under load; return what was seen."""
    file = directory / "latchgate.yaml"
    command = [
        sys.executable,
        "-m",
        "proxy",
        "session",
        "new",
        "--subject",
        "ann",
        "--json",
        "-c",
        str(file),
    ]
    made = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=True)
    cookie = json.loads(made.stdout)["cookie"]
    now = int(time.time())
    claims = {
        "iss": "https://id.test",
        "aud": "app",
        "sub": "ann",
        "iat": now,
        "exp": now + 800,
        "jti": "1",
    }
    token = jwt.encode(claims, SECRET, "HS256")
    people = {"web": {"Cookie": cookie}, "api": {"Authorization": f"Bearer {token}"}, "open": {}}
    answers, failures, is_over = {}, [], False
    client = aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(directory / "g")))

    async def load(path, headers):
        while not is_over:
            try:
                async with client.get(f"http://gate/{path}/x", headers=headers) as answer:
                    await answer.read()
                    answers[answer.status] = answers.get(answer.status, 0) + 1
            except aiohttp.ClientError as error:
                failures.append(repr(error))

    lines = [
        await client.ws_connect(f"http://gate/{path}/ws", headers=who)
        for path, who in people.items()
    ]
    loads = [spawn(load(*one), name="load") for one in people.items() for _ in range(2)]
    workers = workers_of(gate)
    times, sizes = [], {}
    for number in range(1, count + 1):
        write(number)
        began = time.monotonic()
        answer = await ask(file, {"kind": "reload", "confirmed": None}, within_s=60)
        times.append(time.monotonic() - began)
        if answer["result"] != "done":
            failures.append(str(answer))
        if number % SETTLED == 0:
            sizes[number] = [resident_kib(pid) for pid in workers]
            print(
                f"{number:4} reloads  {sum(answers.values()):7,} requests  {sizes[number]} KiB",
                flush=True,
            )
    for number in range(broken):
        file.write_text(BROKEN[number % len(BROKEN)])
        answer = await ask(file, {"kind": "reload", "confirmed": None}, within_s=60)
        if answer["result"] != "refused" or not answer["reasons"]:
            failures.append(str(answer))
    is_over = True
    await asyncio.gather(*loads)
    for line in lines:
        await line.send_str("still there")
        if (await line.receive(timeout=10)).data != "still there":
            failures.append("a tunnel was closed")
        await line.close()
    await client.close()
    return answers, failures, times, sizes


async def main():
    """Print what was seen; return the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--reloads", type=int, default=200)
    parser.add_argument("--broken", type=int, default=50)
    options = parser.parse_args()
    break_off_after(600)
    app = await application()
    with tempfile.TemporaryDirectory(prefix="lgr-") as name:
        directory = Path(name)
        os.environ["XDG_RUNTIME_DIR"] = name

        def write(turn):
            told = {
                "directory": directory,
                "app": str(app.make_url("")).rstrip("/"),
                "secret": SECRET,
            }
            (directory / "latchgate.yaml").write_text(CONFIG.format(turn=turn, **told))

        write(0)
        command = (sys.executable, "-m", "proxy", "serve", "-c", str(directory / "latchgate.yaml"))
        with (directory / "log").open("wb") as log:
            gate = await asyncio.create_subprocess_exec(*command, stderr=log)
            try:
                while b"all workers are ready" not in (directory / "log").read_bytes():  # noqa: ASYNC110 - another process writes it
                    await asyncio.sleep(0.1)
                seen = await run(gate.pid, directory, write, options.reloads, options.broken)
            finally:
                gate.terminate()
                await gate.wait()
    await app.close()
    return judge(*seen)


def judge(answers, failures, times, sizes):
    """Say whether the promise holds."""
    first, last = sizes[min(sizes)], sizes[max(sizes)]
    grown = max(new - old for old, new in zip(first, last, strict=True))
    print(f"requests by status: {answers}; failures: {len(failures)} {failures[:3]}")
    print(
        f"a reload takes {statistics.median(times) * 1000:.0f} ms, at most {max(times) * 1000:.0f} ms"
    )
    print(f"a worker grew by {grown} KiB between reload {min(sizes)} and {max(sizes)}")
    is_good = set(answers) == {200} and not failures and grown < GROWTH_KIB
    print("the promise holds" if is_good else "THE PROMISE IS BROKEN")
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
