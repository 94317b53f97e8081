"""`latchgate diff`: what the file changes in effect, compared with what the gate runs or with another file."""

from __future__ import annotations

from typing import Annotated

import typer

from proxy.cli import report
from proxy.cli.opening import load_or_fail
from proxy.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile
from proxy.cli.source import find_running_or_warn
from proxy.config.models import Config
from proxy.errors import ConfigErrors
from proxy.run.restarts import needs_restart
from proxy.services.effects import effects_of

Against = Annotated[
    str | None,
    typer.Option(
        "--against", metavar="FILE", help="Compare with this file, not with what the gate runs."
    ),
]
RefuseOpening = Annotated[
    bool,
    typer.Option("--refuse-opening", help="End with status 1 where it may let in more."),
]


def diff(
    config: ConfigFile = DEFAULT_CONFIG,
    against: Against = None,
    refuse_opening: RefuseOpening = False,
    as_json: AsJson = False,
) -> None:
    """Show what the file opens, closes and changes, before it is loaded."""
    after = load_or_fail(config, runs_tests=False).config
    before = load_or_fail(against, runs_tests=False).config if against else _running(config)
    effects = effects_of(before, after)
    fixed = needs_restart(before, after)
    if as_json:
        told = effects.to_json() | {"digest": effects.digest, "needs_restart": fixed}
        report.say_json(told)
    else:
        report.say(effects.summary())
        for line in effects.lines():
            report.say(f"  {line}")
        for key in fixed:
            report.complain(f"{key}: a change of this needs a restart, and a reload refuses it")
    if refuse_opening and effects.may_open:
        raise SystemExit(report.EXIT_REFUSED)


def _running(config: str) -> Config:
    running = find_running_or_warn(config)
    if running is None:
        report.fail(f"no gate of yours runs {config}: say with --against what to compare it with")
    try:
        return running.load().config
    except ConfigErrors as errors:
        report.fail(f"what the gate runs cannot be read any more: {errors}")
