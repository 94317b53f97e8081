"""`latchgate serve --upstream …`: one application guarded without a file, and keys to try it with.

The configuration is in memory. What the gate keeps is in a private directory, which goes with it.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import typer

from proxy.cli import report
from proxy.cli.connecting import connect_upstreams
from proxy.cli.credentials import make_session, make_token
from proxy.cli.draft import Draft, parse, render
from proxy.cli.invocation import curl, shown_program, url_of
from proxy.cli.questions import accept
from proxy.cli.scratch import scratch_directory
from proxy.config.addresses import Address, is_loopback
from proxy.config.loader import LoadedConfig
from proxy.config.models import Config
from proxy.errors import ConfigErrors
from proxy.run import serve as serving
from proxy.services.sessions import Login

SUBJECT: Final = "ada"
"""Whom the keys are for: a name like those in the documentation."""
_FILE: Final = "(serve --upstream)"


def draft_of(upstream: str, listen: str) -> Draft:
    """Return the trial's draft; ends the command (status 2) where an option is no good."""
    return accept(Draft(is_trial=True), {"upstream": upstream, "listen": listen})


def text_of(draft: Draft) -> str:
    """Return the configuration, for people to go on from."""
    return render(draft)


def run(draft: Draft, *, as_json: bool) -> int:
    """Run the gate until a signal ends it; return its exit status."""
    with scratch_directory() as directory:
        loaded = _loaded(draft, directory)

        @contextlib.asynccontextmanager
        async def beside(addresses: Sequence[Address]) -> AsyncIterator[None]:
            keys = await _make_keys(loaded.config)
            for finding in await connect_upstreams(loaded.config):
                if not finding.is_good:
                    report.complain(f"warning: {draft.upstream} cannot be reached: {finding.text}")
            if as_json:
                report.say_json({"url": url_of(addresses[0]), **keys})
            else:
                _say(draft, addresses[0], keys)
            sys.stdout.flush()
            yield

        return serving.serve(loaded, log_format="json" if as_json else None, beside=beside)


def _loaded(draft: Draft, directory: Path) -> LoadedConfig:
    try:
        loaded = parse(render(draft), file=_FILE, base=directory)
    except ConfigErrors as errors:
        report.fail_config(errors)
    if all(address.is_unix or is_loopback(address.host) for address in loaded.config.server.listen):
        # The only warning is of other sites below the same domain, and this machine has none.
        loaded = replace(loaded, warnings=())
    return loaded


async def _make_keys(config: Config) -> dict[str, str]:
    login = Login(SUBJECT)
    session = await make_session(config, login)
    token = await make_token(config, login)
    return {"subject": SUBJECT, "cookie": session.cookie, "token": token.token}


def _say(draft: Draft, address: Address, keys: dict[str, str]) -> None:
    cookie = shlex.quote(f"Cookie: {keys['cookie']}")
    bearer = shlex.quote(f"Authorization: Bearer {keys['token']}")
    script = f"document.cookie = {json.dumps(keys['cookie'] + '; path=/')}; location.reload()"
    again = f"{shown_program()} serve --upstream {shlex.quote(draft.upstream)} --print-config"
    url = url_of(address)
    typer.echo()
    place = str(address) if address.is_unix else url
    report.say(
        f"{draft.upstream} is guarded at {place}. Every path wants a key; {SUBJECT} has two."
    )
    lines = [
        ("No key: 401, and why", curl(address)),
        ("A session", curl(address, header=cookie)),
        ("A token, good for an hour", curl(address, header=bearer)),
        (f"In a browser: open {url}/, press F12, and paste this into the console", script),
        ("To go on from here", f"{again} > latchgate.yaml"),
    ]
    for purpose, line in lines:
        if line is script and address.is_unix:
            continue  # no browser opens a socket
        typer.echo(f"\n# {purpose}\n{line}")
    typer.echo("\nCtrl-C ends the gate, and these keys with it.\n")
