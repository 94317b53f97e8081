"""The configuration that a gate runs, told to commands of its own user over the control socket.

The file may have changed since, and a service's environment is seldom that of the shell in which
somebody asks: so the text is told as it was read, with the variables that it names.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from proxy.config.expansion import variables_in
from proxy.config.loader import LoadedConfig, parse_config
from proxy.run.channel import Message
from proxy.run.control import ControlError, ask, served_file

QUESTION = "configuration"


@dataclass(frozen=True, slots=True)
class Running:
    """What a running gate says about its configuration."""

    pid: int
    """Of its supervisor."""
    file: str
    base: str
    """The directory to which relative paths are relative."""
    text: bytes = field(repr=False)
    environment: Mapping[str, str] = field(repr=False)
    """The variables that the text names, as far as they are set."""

    def load(self) -> LoadedConfig:
        """Read it as the gate's workers do. Raises `ConfigErrors` where a file has gone since."""
        return parse_config(
            self.text, file=self.file, base=Path(self.base), environment=self.environment
        )

    def has_changed(self, file: Path) -> bool:
        """Tell whether `file` says something else by now."""
        try:
            return file.read_bytes() != self.text
        except OSError:
            return True


def told_of(loaded: LoadedConfig) -> Message:
    """Return what commands are told of a configuration, taken as it is read."""
    text = loaded.text.decode("utf-8", "surrogateescape")
    # Taken now, as the configuration was: later changes are none of it.
    environment = {
        name: os.environ[name] for name in sorted(variables_in(text)) if name in os.environ
    }

    return {
        "kind": QUESTION,
        "pid": os.getpid(),
        "file": loaded.file,
        "base": str(loaded.base),
        "text": text,
        "environment": environment,
    }


async def find_running(name: str) -> Running | None:
    """Return what the gate runs that serves the file called `name`; `None` where none does.

    Raises `ControlError` where one does that cannot tell.
    """
    file = served_file(name)
    answer = None if file is None else await ask(file, {"kind": QUESTION})
    match answer:
        case None:
            return None
        case {
            "pid": int(pid),
            "file": str(told),
            "base": str(base),
            "text": str(text),
            "environment": dict(environment),
        }:
            raw = text.encode("utf-8", "surrogateescape")
            return Running(pid, told, base, raw, environment)
        case _:
            raise ControlError("the running gate is of another version")
