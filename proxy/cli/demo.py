"""`latchgate demo`: two guarded applications, two people, and commands to paste.

Everything is in a directory of its own, which goes when the demo ends; so do the processes.
"""

from __future__ import annotations

import contextlib
import shlex
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Final

import typer
from aiohttp import web

from proxy.cli.credentials import make_session, make_token
from proxy.cli.invocation import program_anywhere
from proxy.cli.scratch import scratch_directory
from proxy.config.addresses import Address
from proxy.config.models import Config
from proxy.run import serve as serving
from proxy.run.loading import load
from proxy.services.sessions import Login
from upstream_example.api import make_api
from upstream_example.site import make_site

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
    port: Annotated[
        int, typer.Option(min=1, max=65_535, help="Where the gate listens, on 127.0.0.1.")
    ] = 8080,
) -> None:
    """Run two guarded example applications and print commands to try."""
    if (reason := _why_not(port)) is not None:
        typer.echo(f"latchgate demo: {reason}", err=True)
        raise typer.Exit(1)
    raise typer.Exit(_run(port))


def _why_not(port: int) -> str | None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return f"port {port} cannot be used ({error.strerror}); try make demo PORT={port + 1}"
    return None


def _run(port: int) -> int:
    with scratch_directory() as directory:
        file = directory / "latchgate.yaml"
        file.write_text(CONFIG.format(port=port))
        # The only warning is of other sites below the same domain, and this machine has none.
        loaded = replace(load(file), warnings=())

        @contextlib.asynccontextmanager
        async def beside(_addresses: Sequence[Address]) -> AsyncIterator[None]:
            async with _applications(directory):
                people = [await _person(loaded.config, directory, *who) for who in PEOPLE]
                _print(directory, port, steps(directory, port, people))
                yield

        return serving.serve(loaded, beside=beside)


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


async def _person(config: Config, directory: Path, subject: str, role: str) -> dict[str, str]:
    """Make a session and a token for one person, as the commands do that anybody would use."""
    login = Login(subject, roles=[role], email=f"{subject}@example.com")
    session = await make_session(config, login)
    token = (await make_token(config, login)).token
    (directory / f"{subject}.token").write_text(token)
    return {"cookie": session.cookie, "id": session.digest, "token": token}


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
    command = f"{program_anywhere()} session revoke {customer['id']}"
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


def _print(directory: Path, port: int, lines: list[Step]) -> None:
    typer.echo(
        f"\nThe gate listens on http://127.0.0.1:{port}. Paste these into another terminal:\n"
    )
    for step in lines:
        typer.echo(f"# {step.shows}\n{step.command}\n")
    typer.echo(f"The configuration is {directory / 'latchgate.yaml'}. Below: one line per request.")
    typer.echo("Ctrl-C ends everything and leaves nothing.\n")
    sys.stdout.flush()
