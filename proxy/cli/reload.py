"""`latchgate reload`: let the running gate take its file as it is now."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from proxy.cli import report
from proxy.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile
from proxy.run.channel import Message
from proxy.run.control import ControlError, ask, served_file
from proxy.services.effects import Effects

WITHIN_S: Final = 120.0
"""How long the gate may take."""

Confirm = Annotated[
    str | None,
    typer.Option(
        "--confirm",
        metavar="DIGEST",
        help="Take it though it may let in more: what was shown with this digest.",
    ),
]


def reload(
    config: ConfigFile = DEFAULT_CONFIG, confirm: Confirm = None, as_json: AsJson = False
) -> None:
    """Let the gate that runs this file read it again; status 2 where it is not good, 1 where not taken."""
    answer = report.complete(_ask(config, confirm))
    if isinstance(answer, str):
        report.fail(answer)
    told = {name: value for name, value in answer.items() if name != "kind"}
    if as_json:
        report.say_json(told)
    else:
        _say(config, told)
    status = {"done": 0, "refused": report.EXIT_USAGE}.get(told["result"], report.EXIT_REFUSED)
    if status:
        raise SystemExit(status)


async def _ask(config: str, confirm: str | None) -> Message | str:
    """Return the gate's answer, or why there is none."""
    file = served_file(config)
    if file is None:
        return f"{config}: there is no such file, and so no gate that runs it"
    try:
        answer = await ask(file, {"kind": "reload", "confirmed": confirm}, within_s=WITHIN_S)
    except ControlError as error:
        return str(error)
    return answer or f"no gate of yours runs {config}"


def _say(config: str, told: dict[str, Any]) -> None:
    effects = Effects.from_json(told["effects"])
    match told["result"]:
        case "done":
            report.say(f"reloaded: {effects.summary()}")
            for line in effects.lines():
                report.say(f"  {line}")
            for warning in told["reasons"]:
                report.complain(f"warning: {warning}")
        case "unconfirmed":
            report.complain(f"not reloaded: it {effects.summary()}, and refuse_opening is set")
            for line in effects.lines():
                report.complain(f"  {line}")
            report.complain(
                f"to take it all the same: latchgate reload -c {config} --confirm {told['digest']}"
            )
        case _:
            report.complain("not reloaded: the gate goes on as it was")
            for reason in told["reasons"]:
                report.complain(f"  {reason}")
