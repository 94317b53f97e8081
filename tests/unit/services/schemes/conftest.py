"""An application's sessions in a real store, and the scheme that reads them as configured."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from proxy.adapters.store import StoreAddress
from proxy.config.completion import complete
from proxy.config.models import Config
from proxy.services.coherence import Coherence
from proxy.services.compile import compile_reader
from proxy.services.schemes.foreign_formats import format_of
from proxy.services.schemes.foreign_records import ForeignRecords
from proxy.services.schemes.port import Found, Place
from proxy.services.schemes.session import SessionScheme


class Application:
    """One worker's scheme for an application's sessions, and a client that writes them."""

    def __init__(self, address, store, base, *, own=None, **settings):
        written = {"type": "session", **settings}
        own = {"timeout": 5.0, **(own or {})}
        config = complete(Config(store=own, schemes={"app": written}), base)
        self.settings = config.schemes["app"]
        self.store = store
        self.coherence = Coherence(config)
        tracked = self.coherence.track("app", address)
        self.source = tracked.source
        self.counters = self.coherence.counters
        records = ForeignRecords(
            self.coherence.ledger("app", tracked),
            "app",
            format_of(self.settings),
            compile_reader(self.settings.identity),
        )
        place = Place("cookie", self.settings.cookie)
        self.scheme = SessionScheme("app", (place,), is_native=False, records=records)

    def found(self, value):
        return Found(self.scheme.places[0], value)

    async def judge(self, value, now):
        """Return the subject, or the code of the refusal."""
        outcome = await self.scheme.judge(self.found(value), now)
        identity = getattr(outcome, "identity", None)
        return outcome.code if identity is None else identity.subject

    @contextlib.asynccontextmanager
    async def change(self):
        """Wait until the worker was told of what is written meanwhile."""
        told = self.source.counters.invalidations
        yield
        async with asyncio.timeout(30):
            while self.source.counters.invalidations == told:  # noqa: ASYNC110 - the server brings it about
                await asyncio.sleep(0.002)


@pytest.fixture
async def application(valkey, tmp_path):
    """Return a function that opens a scheme by its settings."""
    address = StoreAddress(socket_path=str(valkey.socket_path))
    opened = []
    with valkey.client() as store:

        def open_one(**settings):
            opened.append(Application(address, store, tmp_path, **settings))
            return opened[-1]

        yield open_one
        for one in opened:
            await one.coherence.close()
