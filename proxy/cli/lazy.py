"""Commands that are imported when somebody calls them: help and every other command go without.

Each command imports a good part of the gate, and most need little of what another one needs.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import typer


@dataclass(frozen=True, slots=True)
class Place:
    """Where a command, or a group of commands, is to be found."""

    module: str
    """Of `proxy.cli`."""
    line: str
    """What help says of it."""
    attribute: str = "app"
    """A function, or a group's `typer.Typer`."""


class LazyCommands(Mapping[str, Any]):
    """Commands by name, in the order of `places`; a command is made when it is first asked for."""

    def __init__(self, places: Mapping[str, Place]) -> None:
        self._places: Final = places
        self._made: Final[dict[str, Any]] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = _make(name, self._places[name])
        return self._made[name]

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def _make(name: str, place: Place) -> Any:
    found = getattr(importlib.import_module(f"proxy.cli.{place.module}"), place.attribute)
    around = typer.Typer(
        add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None
    )
    if isinstance(found, typer.Typer):
        around.add_typer(found, name=name)
    else:
        around.command(name)(found)
    made = typer.main.get_command(around)
    return made.commands[name] if hasattr(made, "commands") else made
