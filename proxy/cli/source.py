"""Which configuration a command looks at: what a gate runs, or what the file says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from proxy.cli import report
from proxy.cli.opening import load_or_fail
from proxy.config.loader import STANDARD_INPUT, LoadedConfig
from proxy.errors import ConfigErrors
from proxy.run.control import ControlError
from proxy.run.running import Running, find_running

FromFile = Annotated[
    bool,
    typer.Option(
        "--from-file", help="Look at the file, also where a gate runs another text of it."
    ),
]


@dataclass(frozen=True, slots=True)
class Source:
    """A configuration, and where it came from."""

    loaded: LoadedConfig
    process: int | None
    """Of the gate that runs it; `None`: it is the file's."""
    has_changed: bool = False
    """True where the file says something else than the gate runs."""

    def to_json(self) -> dict[str, Any]:
        """Return the member `configuration` of docs/explain.md."""
        return {
            "from": "file" if self.process is None else "running",
            "file": self.loaded.file,
            "process": self.process,
            "changed": self.has_changed,
        }

    def __str__(self) -> str:
        if self.process is None:
            return f"{self.loaded.file} (the file; no gate of yours runs it, or --from-file)"
        return f"{self.loaded.file}, as process {self.process} runs it"


def find_source(config: str, *, from_file: bool) -> Source:
    """Return what the gate runs that serves this file, else the file's own configuration.

    Ends the command with status 2 where neither can be read. Policy tests are not run: a failing
    one is what people want to look into.
    """
    running = None if from_file else find_running_or_warn(config)
    if running is None:
        return Source(load_or_fail(config, runs_tests=False), None)
    try:
        loaded = running.load()
    except ConfigErrors as errors:
        report.complain("the running configuration cannot be read any more, so this is the file:")
        for error in errors.errors:
            report.complain(str(error))
        return Source(load_or_fail(config, runs_tests=False), None)
    has_changed = running.has_changed(Path(config))
    if has_changed:
        report.complain(
            f"warning: {config} has changed since the gate read it; this is what process"
            f" {running.pid} runs (--from-file looks at the file)"
        )
    return Source(loaded, running.pid, has_changed)


def find_running_or_warn(config: str) -> Running | None:
    """Return what the gate runs that serves this file; `None`, with a warning, where it is mute."""
    if config == STANDARD_INPUT:
        return None
    found = report.complete(_find(config))
    if isinstance(found, ControlError):
        report.complain(f"warning: {found}; this is the file")
        return None
    return found


async def _find(config: str) -> Running | ControlError | None:
    try:
        return await find_running(config)
    except ControlError as error:
        return error
