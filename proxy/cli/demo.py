"""`latchgate demo`: two guarded applications, two people who sign in, and commands to paste.

Everything is in a directory of its own, which goes when the demo ends; so do the processes. Passwords
and the secret of the one-time password are made at each start.
"""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
import shlex
import socket
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from aiohttp import web

from proxy.adapters.passwords import hash_password
from proxy.adapters.users_file import edit_users
from proxy.cli.demo_walk import Person, Step, steps
from proxy.cli.opening import open_store_of
from proxy.cli.scratch import scratch_directory
from proxy.config.addresses import Address
from proxy.config.models import Config
from proxy.core import otp
from proxy.run import serve as serving
from proxy.run.loading import load
from proxy.services.factors import open_otp
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

# People sign in at /_auth/login. Who has set up an app is asked for its code where a route wants it;
# `at_login: optional` would ask at the sign-in already.
login:
  scheme: web
  users: {{file: users.yaml}}
  otp: {{at_login: never}}

# A program of theirs that gets tokens by name and password, and keeps no secret.
clients:
  app: {{public: true, grants: [password, refresh_token]}}

upstreams:
  site: {{servers: ["unix:site.sock"]}}
  api: {{servers: ["unix:api.sock"]}}

schemes:
  web: {{type: session, format: native}}
  token: {{type: jwt, audience: [demo], algorithms: [EdDSA], keys: {{local: true}}}}

routes:
  - {{name: public, match: {{path: /public/**}}, auth: none, upstream: site}}
  - {{name: pages, match: {{path: /**}}, auth: web, upstream: site}}
  - name: admin pages
    match: {{path: /admin}}
    auth: web
    require: {{roles: [admin], mfa_within: 15m}}
    upstream: site
  - {{name: api, match: {{path: /api/**}}, auth: [token, web], strip_prefix: /api, upstream: api}}
  - name: admin api
    match: {{path: /api/admin/**}}
    auth: [token, web]
    require: {{roles: [admin]}}
    strip_prefix: /api
    upstream: api
"""

PEOPLE: Final = (("ada", "customer"), ("eve", "admin"))
_HAS_CODES: Final = "eve"
_SET_UP_BY: Final = "demo"
"""Holds the enrolment in the place of a session."""
_EARLIER_S: Final = 300.0
"""How long ago the app was set up: the code that did so is then none of those that count now."""

# Computes the code that an authenticator app would show.
_CODE_SCRIPT: Final = """\
#!/bin/sh
exec {python} -P -c 'import pathlib, sys, pyotp
print(pyotp.TOTP(pathlib.Path(sys.argv[1]).read_text()).now())' {secret}
"""


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
        people = [person(directory, *who) for who in PEOPLE]
        loaded = load(file)

        @contextlib.asynccontextmanager
        async def beside(_addresses: Sequence[Address]) -> AsyncIterator[None]:
            async with _applications(directory):
                uri = await _set_up_app(loaded.config, directory)
                _print(directory, port, people, uri)
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


def person(directory: Path, name: str, role: str) -> Person:
    """Add somebody with a new password, as `latchgate user add` does.

    Beside it stands what curl sends: a password on a command line could be read by everybody.
    """
    password = secrets.token_urlsafe(9)
    hashed = hash_password(password).text

    def change(users: dict[str, Any]) -> bool:
        users[name] = {"password": hashed, "email": f"{name}@example.com", "roles": [role]}
        return True

    edit_users(directory / "users.yaml", change)
    (directory / f"{name}.json").write_text(json.dumps({"username": name, "password": password}))
    (directory / f"{name}.password").write_text(password)
    return Person(name, role, password)


async def _set_up_app(config: Config, directory: Path) -> str:
    """Give one of them a one-time password; return its `otpauth:` address."""
    then = time.time() - _EARLIER_S
    async with open_store_of(config) as store:
        codes = open_otp(config, store)
        if codes is None:
            raise ValueError("the demo's store seals no one-time passwords")
        begun = await codes.begin(_HAS_CODES, _SET_UP_BY, then)
        code = otp.code_at(base64.b32decode(begun.secret), then)
        await codes.confirm(_HAS_CODES, _SET_UP_BY, code, then)
    secret = directory / f"{_HAS_CODES}.secret"
    secret.write_text(begun.secret)
    script = _CODE_SCRIPT.format(
        python=shlex.quote(sys.executable), secret=shlex.quote(str(secret))
    )
    (directory / f"{_HAS_CODES}.code").write_text(script)
    return begun.uri


def _print(directory: Path, port: int, people: Sequence[Person], uri: str) -> None:
    base = f"http://127.0.0.1:{port}"
    typer.echo(f"\nThe gate listens on {base}. In a browser: {base}/_auth/login, or any page.\n")
    for person in people:
        typer.echo(f"  {person.name} ({person.role}), password {person.password}")
    code = f"sh {shlex.quote(str(directory / f'{_HAS_CODES}.code'))}"
    typer.echo(f"\n/admin asks {_HAS_CODES} for a code too, which counts once. An app takes")
    typer.echo(f"  {uri}\nand without one this prints it:\n  {code}\n")
    typer.echo("Or paste these into another terminal, in this order:\n")
    for step in steps(directory, port):
        _print_step(step)
    typer.echo(f"The configuration is {directory / 'latchgate.yaml'}. Below: one line per request.")
    typer.echo("Ctrl-C ends everything and leaves nothing.\n")
    sys.stdout.flush()


def _print_step(step: Step) -> None:
    typer.echo(f"# {step.shows}\n{step.command}\n")
