from __future__ import annotations

import asyncio

import pytest

from proxy.run import loop


def test_the_result_comes_back_and_uvloop_runs_it():
    """A process's loop is uvloop where it is installed."""

    async def work() -> str:
        return type(asyncio.get_running_loop()).__module__

    pytest.importorskip("uvloop")
    assert "uvloop" == loop.run(work())


def test_an_error_comes_back_too():
    """What the work raises is raised to the caller."""

    async def work() -> None:
        raise LookupError("x")

    with pytest.raises(LookupError):
        loop.run(work())
