from __future__ import annotations

import gc

import pytest

from proxy.run.imports import importing


@pytest.fixture(autouse=True)
def collector():
    """Leave the collector of the tests' own process as it was."""
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
