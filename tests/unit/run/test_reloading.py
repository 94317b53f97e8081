"""What becomes of a reload whose files do not come."""

from __future__ import annotations

import asyncio
import threading

import pytest

from proxy.errors import ConfigError, ConfigErrors
from proxy.run import reloading
from proxy.run.reloading import Reloader


@pytest.fixture
def reloader(monkeypatch):
    """Give one whose gate is not asked for anything, as nothing is read."""
    monkeypatch.setattr(reloading, "READ_S", 0.05)
    return Reloader(None)


async def test_files_that_do_not_come_hold_nobody_up(reloader):
    """Neither the next reload, nor a worker that is to start, waits for them; and they are asked once."""
    come, asked = threading.Event(), []

    def read():
        asked.append(1)
        come.wait()
        raise ConfigErrors([ConfigError("file", 1, 1, "", "late")])

    async with asyncio.timeout(5):
        for _ in range(3):
            outcome = await reloader.reload(read)
            assert outcome.result == "failed"
            assert "cannot be read within" in outcome.reasons[0]
            await reloader.idle()
    assert len(asked) == 1
    come.set()


async def test_what_is_wrong_with_the_files_is_said(reloader):
    """A mistake is one, and anything else is a failure of the gate's own."""

    def wrong():
        raise ConfigErrors([ConfigError("file", 1, 1, "routes", "no such thing")])

    def broken():
        raise ZeroDivisionError

    outcome = await reloader.reload(wrong)
    assert (outcome.result, "no such thing" in outcome.reasons[0]) == ("refused", True)
    assert (await reloader.reload(broken)).result == "failed"
