"""`latchgate demo`: two guarded applications, two people, and commands to paste.

Everything is in a directory of its own, which goes when the demo ends; so do the processes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shlex
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from aiohttp import ClientError, ClientSession, web

from upstream_example.api import make_api
from upstream_example.site import make_site

START_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 10.0

CONFIG: Final = """\
# The demo's configuration. The applications know nothing of it.
server:
  listen: ["127.0.0.1:{port}"]
  workers: 2
  drain: 2s
health: {{listen: "unix:health.sock"}}
store: {{url: "embedded:store"}}
tokens: {{issuer: "http://127.0.0.1:{port}", audience: demo}}

upstreams:
  site: {{servers: ["unix:site.sock"]}}
  api: {{servers: ["unix:api.sock"]}}

schemes:
  web: {{type: session, format: native, cookie: sid}}
  token: {{type: jwt, audience: [demo], algorithms: [EdDSA], keys: {{local: true}}}}

routes:
  - {{name: public, match: {{path: /public/**}}, auth: none, upstream: site}}
  - {{name: pages, match: {{path: /**}}, auth: web, upstream: site}}
  - {{name: admin pages, match: {{path: /admin}}, auth: web, require: {{roles: [admin]}}, upstream: site}}
  - {{name: api, match: {{path: /api/**}}, auth: [token, web], strip_prefix: /api, upstream: api}}
  - name: admin api
    match: {{path: /api/admin/**}}
    auth: [token, web]
    require: {{roles: [admin]}}
    strip_prefix: /api
    upstream: api
log: {{format: json}}
"""

PEOPLE: Final = (("ada", "customer"), ("eve", "admin"))


@dataclass(frozen=True, slots=True)
class Step:
    """One command to paste, and what it shows."""

    shows: str
    command: str
    answer: str
    """What the output has in it."""


def demo(
    port: Annotated[int, typer.Option(help="Where the gate listens, on 127.0.0.1.")] = 8080,
) -> None:
    """Run two guarded example applications and print commands to try."""
    if (reason := _why_not(port)) is not None:
        typer.echo(f"latchgate demo: {reason}", err=True)
        raise typer.Exit(1)
    raise typer.Exit(asyncio.run(_run(port)))


def _why_not(port: int) -> str | None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return f"port {port} cannot be used ({error.strerror}); try make demo PORT={port + 1}"
    return None


async def _run(port: int) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    directory = Path(tempfile.mkdtemp(prefix="latchgate-demo-"))
    try:
        async with _applications(directory), _gate(directory, port) as gate:
            ended = loop.create_task(gate.wait(), name="gate")
            stopped = loop.create_task(stop.wait(), name="stop")
            if not await _is_up(port, ended, stopped):
                return 0 if stop.is_set() else 1
            people = [await _person(directory, *person) for person in PEOPLE]
            _print(directory, port, steps(directory, port, people))
            await asyncio.wait({ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            return 0 if stop.is_set() else 1
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextlib.asynccontextmanager
async def _applications(directory: Path) -> AsyncIterator[None]:
    """Serve both examples on unix sockets, in this process: they end with it."""
    runners = []
    for name, application in (("site", make_site()), ("api", make_api())):
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        await web.UnixSite(runner, str(directory / f"{name}.sock")).start()
        runners.append(runner)
    try:
        yield
    finally:
        for runner in runners:
            await runner.cleanup()


@contextlib.asynccontextmanager
async def _gate(directory: Path, port: int) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run `latchgate serve` as a process of its own, and end it in good order."""
    config = directory / "latchgate.yaml"
    config.write_text(CONFIG.format(port=port))
    process = await asyncio.create_subprocess_exec(*_latchgate(), "serve", "-c", str(config))
    try:
        yield process
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                async with asyncio.timeout(STOP_TIMEOUT_S):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()


async def _is_up(port: int, ended: asyncio.Task[int], stopped: asyncio.Task[Any]) -> bool:
    """Wait until the public page answers through the gate."""
    url = f"http://127.0.0.1:{port}/public/about"
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(START_TIMEOUT_S), ClientSession() as client:
            while not ended.done() and not stopped.done():
                with contextlib.suppress(ClientError):
                    async with client.get(url) as answer:
                        if answer.status == 200:
                            return True
                await asyncio.wait({ended, stopped}, timeout=0.1)
    return False


async def _person(directory: Path, subject: str, role: str) -> dict[str, str]:
    """Make a session and a token for one person, by the commands that anybody would use."""
    who = ("--subject", subject, "--role", role, "--email", f"{subject}@example.com")
    session = await _json(directory, "session", "new", *who)
    token = await _json(directory, "token", "mint", *who)
    (directory / f"{subject}.token").write_text(token["token"])
    return {"cookie": session["cookie"], "id": session["id"], "token": token["token"]}


async def _json(directory: Path, *arguments: str) -> dict[str, Any]:
    config = str(directory / "latchgate.yaml")
    process = await asyncio.create_subprocess_exec(
        *_latchgate(), *arguments, "-c", config, "--json", stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"latchgate {' '.join(arguments[:2])} failed")
    document: dict[str, Any] = json.loads(output)
    return document


def _latchgate() -> list[str]:
    return [sys.executable, "-m", "proxy"]


def steps(directory: Path, port: int, people: list[dict[str, str]]) -> list[Step]:
    """Return the commands that show what the gate does; `people`: customer, administrator."""
    base = f"http://127.0.0.1:{port}"
    customer, admin = people
    cookie = f"-H 'Cookie: {customer['cookie']}'"
    token = f'-H "Authorization: Bearer $(cat {shlex.quote(str(directory))}/ada.token)"'
    admin_cookie = f"-H 'Cookie: {admin['cookie']}'"
    upgrade = (
        "-H 'Connection: Upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13'"
        " -H 'Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg=='"
    )
    command = f"{_shown_program()} session revoke {customer['id']}"
    config = shlex.quote(str(directory / "latchgate.yaml"))
    return [
        Step("No credential: 401", f"curl -i {base}/account", "401 Unauthorized"),
        Step("A session opens; the application is told who it is", f"curl -i {cookie} {base}/api/whoami", '"subject": "ada"'),
        Step("A token opens the same route: either key", f"curl -i {token} {base}/api/whoami", '"X-Auth-Scheme": "token"'),
        Step("The customer has not the role: 403", f"curl -i {cookie} {base}/api/admin/report", "role_missing"),
        Step("The administrator has it: 200", f"curl -i {admin_cookie} {base}/api/admin/report", '"for": "eve"'),
        Step("A spoofed identity header is removed", f"curl -i {cookie} -H 'X-Auth-Subject: root' -H 'X_Auth_Roles: admin' {base}/api/whoami", '"subject": "ada"'),
        Step("A WebSocket goes through (ends after 2 s)", f"curl -sN -i --max-time 2 {cookie} {upgrade} {base}/chat/socket --output -", "101 Switching Protocols"),
        Step("Revoke the customer's session …", f"{command} -c {config}", ""),
        Step("… and it is refused with the next request: 401", f"curl -i {cookie} {base}/api/whoami", "session_unknown"),
    ]  # fmt: skip


def _shown_program() -> str:
    """Return how the person at the terminal calls us, quoted for a shell."""
    program = Path(sys.argv[0]).absolute()
    if program.name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m proxy"
    with contextlib.suppress(ValueError):
        return shlex.quote(str(program.relative_to(Path.cwd())))
    return shlex.quote(str(program))


def _print(directory: Path, port: int, lines: list[Step]) -> None:
    typer.echo(
        f"\nThe gate listens on http://127.0.0.1:{port}. Paste these into another terminal:\n"
    )
    for step in lines:
        typer.echo(f"# {step.shows}\n{step.command}\n")
    typer.echo(f"The configuration is {directory / 'latchgate.yaml'}. Below: one line per request.")
    typer.echo("Ctrl-C ends everything and leaves nothing.\n")
    sys.stdout.flush()
