from __future__ import annotations

import sys

import pytest

from proxy.config.installed import is_installed


@pytest.mark.parametrize(
    ("module", "is_there"),
    [("json.decoder", True), ("json.nothing", False), ("nothing_of_that_name.at_all", False)],
)
def test_a_module_is_found_without_being_run(module, is_there):
    """A package that is missing is no error, nor one that is there without the module."""
    assert is_installed(module) is is_there


def test_nothing_of_it_is_run():
    """What a configuration does not use must not cost its import."""
    sys.modules.pop("this", None)
    assert is_installed("this")
    assert "this" not in sys.modules
