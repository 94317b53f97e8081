"""Whether an optional library is there. What never belongs here: which part of the gate needs it."""

from __future__ import annotations

import importlib.util


def is_installed(module: str) -> bool:
    """Tell whether a module is there, without running it."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False
