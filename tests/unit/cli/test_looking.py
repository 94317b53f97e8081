from __future__ import annotations

import io
import sys

import pytest

from proxy.adapters.store import StoreAddress, open_store
from proxy.cli.looking import looking_through


@pytest.fixture
async def store(valkey):
    """Open a store with a thousand keys."""
    with valkey.client() as client:
        client.mset({f"k{number}": 1 for number in range(1000)})
    store = open_store(StoreAddress(socket_path=str(valkey.socket_path)), timeout_s=5)
    yield store
    await store.close()


class Terminal(io.StringIO):
    """Standard error on a terminal."""

    def isatty(self):
        return True


async def test_who_waits_sees_how_far_it_is(store, monkeypatch):
    """After its patience a person on a terminal sees a bar that knows how many keys there are."""
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    async with looking_through(store, "Looking", patience_s=0) as on_look:
        on_look(250)
        on_look(250)

    assert "Looking" in sys.stderr.getvalue()
    assert "25%" in sys.stderr.getvalue()


async def test_what_is_quick_shows_no_bar(store, monkeypatch):
    """A command that takes no second leaves the terminal alone."""
    monkeypatch.setattr(sys, "stderr", Terminal())
    async with looking_through(store, "Looking", patience_s=60) as on_look:
        on_look(1000)

    assert "Looking" not in sys.stderr.getvalue()


async def test_a_pipe_sees_nothing(store, monkeypatch):
    """A program that reads standard error finds complaints there and nothing else."""
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    async with looking_through(store, "Looking", patience_s=0) as on_look:
        on_look(1000)

    assert "" == sys.stderr.getvalue()
