from __future__ import annotations

import sys

from proxy.cli.lazy import LazyCommands, Place

PLACES = {"schema": Place("schema", "Said by help.", "schema"), "gone": Place("no_module", "Gone.")}


def test_commands_are_counted_and_named_without_being_imported():
    """What help needs is there in its order, though one of them cannot be imported at all."""
    commands = LazyCommands(PLACES)

    assert list(commands) == ["schema", "gone"]
    assert len(commands) == 2
    assert "gone" in commands
    assert "proxy.cli.no_module" not in sys.modules


def test_a_command_is_made_once():
    """Whoever asks again gets the same one; what is not there is `None` to `get`."""
    commands = LazyCommands(PLACES)

    assert commands["schema"].name == "schema"
    assert commands["schema"] is commands["schema"]
    assert commands.get("nothing") is None
