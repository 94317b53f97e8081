from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.run.imports import importing

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def collector(monkeypatch):
    """Leave the collector and the environment of the tests' own process as they were."""
    monkeypatch.setenv("PYDANTIC_DISABLE_PLUGINS", "")
    yield
    gc.unfreeze()
    gc.enable()


def test_the_collector_rests_while_imports_go_on():
    """It looks for nothing in the block; afterwards it runs, and passes by what was made there."""
    with importing():
        assert not gc.isenabled()

    assert gc.isenabled()
    assert gc.get_freeze_count() > 0


def test_a_failed_import_leaves_the_collector_running():
    """What is raised in the block goes on, and the collector runs."""
    with pytest.raises(ImportError), importing():
        raise ImportError

    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off():
    """Whoever turned it off has their reason."""
    gc.disable()

    with importing():
        pass

    assert not gc.isenabled()


def test_pydantic_takes_no_plugin():
    """A package that is installed beside the gate has no part in reading its configuration."""
    program = (
        "from proxy.run.imports import importing\n"
        "with importing(): import proxy.config.loader\n"
        "from pydantic.plugin import _loader; print(_loader._plugins)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )

    assert run.stdout == "None\n"
