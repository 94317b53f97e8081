"""`${VAR}` and `${VAR:-default}` in the texts of the configuration file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_PART: Final = re.compile(r"\$\$\{|\$\{(?P<inside>[^{}]*)\}|\$\{")
_INSIDE: Final = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>.*))?", re.DOTALL)


def variables_in(text: str) -> frozenset[str]:
    """Return the names of the variables that `text` may take a value from."""
    insides = (_INSIDE.fullmatch(match["inside"] or "") for match in _PART.finditer(text))
    return frozenset(inside["name"] for inside in insides if inside is not None)


class ExpansionError(ValueError):
    """A variable that is not set, or a `${` that is none. Never repeats a value."""


def expand(text: str, environment: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """Replace the variables in `text`; also return the values that came from `environment`.

    As in a shell, the default of `${VAR:-default}` holds when VAR is unset or empty. `$${` stands
    for `${` itself. A value is not expanded again. Raises `ExpansionError`.
    """
    taken: list[str] = []

    def replace(match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "${"
        inside = _INSIDE.fullmatch(match["inside"]) if match["inside"] is not None else None
        if inside is None:
            raise ExpansionError("must be ${NAME} or ${NAME:-default}; write $${ for a plain ${")
        value = environment.get(inside["name"])
        if inside["default"] is not None and not value:
            return inside["default"]
        if value is None:
            raise ExpansionError(f"the environment variable {inside['name']} is not set")
        taken.append(value)
        return value

    return _PART.sub(replace, text), tuple(taken)
