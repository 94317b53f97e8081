"""A master with its Sentinels and a Cluster as a benchmark has them: what befalls them, and who goes on."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import threading
import time
import uuid
from collections import deque

from benchmarks.rig.credentials import ISSUER, LIFE_S, PREFIX, Maker, Session, Token
from benchmarks.rig.faults import Fault, Result, Scenario
from proxy.adapters.store import address_of, open_gate_store
from proxy.config.addresses import parse_store_url
from proxy.config.store_models import StoreConfig
from proxy.core.revocation import RevocationKeys
from proxy.core.slots import slot_of
from proxy.errors import StoreUnavailable
from proxy.services.revocations import Revocations
from proxy.services.sessions import Login, Sessions
from tests.cluster_set import ClusterSet
from tests.sentinel_set import SentinelSet, until

DURABILITY = "durability: {replicas: all, timeout: 100ms}"
SETTINGS = StoreConfig(timeout=2.0, durability={"replicas": "all", "timeout": 0.1})
"""Of the program that signs people in and out; the gate has the same durability."""
PATIENCE_S = 30.0
MOVED_SLOTS = 40
STEP_S = 0.02


def opened(url):
    """Open a store as a program beside the gate does."""
    return open_gate_store(address_of(parse_store_url(url, None)), SETTINGS)


class PatientMaker(Maker):
    """Asks again until the store has confirmed it, as whoever is answered 503 does."""

    def __init__(self, servers, directory):
        super().__init__(servers.nodes[0].port, directory, store=opened(servers.url))

    def _wake(self):
        _patiently(super()._wake)

    def session(self):
        return _patiently(super().session)

    def revoke(self, credential, how=None):
        return _patiently(lambda: super(PatientMaker, self).revoke(credential, how))


def _patiently(work):
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            return work()
        except StoreUnavailable:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)


class Changes:
    """People who sign in and out all the time, in a thread, and what was confirmed of it."""

    def __init__(self, url, maker):
        self._url = url
        self._maker = maker
        self._over = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._go_on()))
        self.begun = []
        """Requests of those who have signed in and stay."""
        self.ended = []
        """Requests on what was taken back."""

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_exc):
        self._over.set()
        self._thread.join()

    async def _go_on(self):
        store = opened(self._url)
        sessions = Sessions(store, prefix=PREFIX, idle_timeout_s=LIFE_S, lifetime_s=LIFE_S)
        revocations = Revocations(store, RevocationKeys(PREFIX))
        leaving = deque()
        for number in itertools.count():
            if self._over.is_set():
                break
            with contextlib.suppress(StoreUnavailable):
                made = await sessions.create(Login(uuid.uuid4().hex), time.time())
                session = Session(made, sessions.session_key(made.digest))
                if number % 2:
                    self.begun.append(session.raw)
                else:
                    leaving += [session, Token(self._maker)]
            if len(leaving) > 10:
                await self._end(store, revocations, leaving.popleft())
            await asyncio.sleep(STEP_S)
        await store.close()

    async def _end(self, store, revocations, credential):
        with contextlib.suppress(StoreUnavailable):
            if credential.kind == "session":
                await store.delete(credential.key)
            else:
                now = time.time()
                await revocations.revoke_token(ISSUER, credential.jti, now, keep_s=LIFE_S)
            self.ended.append(credential.raw)

    def lost(self, port):
        """Return how many confirmed logins are not let in, and how many confirmed revocations are."""
        logins = sum(status_of(port, raw) != 200 for raw in self.begun)
        return logins, sum(status_of(port, raw) != 401 for raw in self.ended)


def status_of(port, raw):
    """Send one request on a connection of its own; return the status of its answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        sock.sendall(raw)
        head = b""
        while b"\r\n" not in head:
            data = sock.recv(65536)
            if not data:
                return 0
            head += data
    return int(head.split(b" ", 2)[1])


class Befalling(Scenario):
    """A fault of the store's topology: who is signed in may be refused for a while, and that is told."""

    closed_s = 0.0
    """From its beginning to the last time that a good credential was refused."""

    def _judge(self, records):
        super()._judge(records)
        refused = [r for r in records if r.label.startswith("good") and r.status != 200]
        last = max((r.got_at for r in refused), default=self.began_at)
        self.closed_s = last - self.began_at


def befall(name, rig, servers, begin, end):
    """Let something befall the store while people sign in and out; return what it did, as JSON."""
    fault = Fault(
        name,
        lambda: begin(scenario.credentials.values()),
        end,
        is_store_away=False,
        revokes="behind",
        lasts_s=0.4,
    )
    scenario = Befalling(fault, rig.load, rig.maker, rig.gate.workers, rig.staleness_s)
    with Changes(servers.url, rig.maker) as changes:
        result: Result = scenario.play()
    logins, revocations = changes.lost(rig.gate.port)
    if logins or revocations:
        result.broken.append(f"{logins} confirmed logins and {revocations} revocations are lost")
    return {
        "requests": result.requests,
        "closed_s": scenario.closed_s,
        "before_s": result.before_s,
        "during_s": result.during_s,
        "after": result.after,
        "confirmed": [len(changes.begun), len(changes.ended)],
        "lost": [logins, revocations],
        "broken": result.broken,
    }


class Sentinel:
    """One master with two replicas, and three Sentinels."""

    name = "Sentinel"

    def __init__(self):
        self.servers = SentinelSet()
        self._master = self.servers.master

    def befalls(self):
        """Yield what happens, in order: a name, how it begins, how it ends."""
        yield "the master is cut off alone", self._cut_off, self._let_back
        yield "the master is killed (-9)", self._kill, self._start_again

    def _cut_off(self, _credentials):
        self.servers.cut_off_master(self._master)

    def _let_back(self):
        old, self._master = self._master, self.servers.new_master(self._master)
        self.servers.let_back(old)
        self._follows(old)

    def _kill(self, _credentials):
        self._master.kill()

    def _start_again(self):
        old, self._master = self._master, self.servers.new_master(self._master)
        old.start()
        self._follows(old)

    def _follows(self, old):
        """Wait until the old master is a replica, and the new one has both."""
        _until_replica(old)
        until(lambda: len(self._master.ask("ROLE")[2]) == 2, "a replica is missing", PATIENCE_S)


class Cluster:
    """Three masters, each with one replica."""

    name = "Cluster"

    def __init__(self):
        self.servers = ClusterSet()
        self._killed = None

    def befalls(self):
        """Yield what happens, in order: a name, how it begins, how it ends."""
        yield f"{MOVED_SLOTS} slots and more are moved", self._move, lambda: None
        yield "a master is killed (-9)", self._kill, self._start_again

    def _move(self, credentials):
        """Move the deny-list, the sessions that are watched, and others, each to the next master."""
        keys = [RevocationKeys(PREFIX).count]
        keys += [one.key for one in credentials if one.kind == "session"]
        slots = {slot_of(key.encode()) for key in keys}
        slots |= set(range(0, MOVED_SLOTS * 100, 100))
        masters = self.servers.masters
        for slot in slots:
            source = self.servers.master_of_slot(slot)
            target = masters[(masters.index(source) + 1) % len(masters)]
            self.servers.move(slot, source, target)

    def _kill(self, _credentials):
        """Kill the master of the deny-list."""
        self._killed = self.servers.master_of(RevocationKeys(PREFIX).count)
        self._killed.kill()

    def _start_again(self):
        self.servers.wait_for_failover(self._killed)
        self._killed.start()
        _until_replica(self._killed)


def _until_replica(server):
    def follows():
        role = server.ask("ROLE")
        return role[0] == b"slave" and role[3] == b"connected"

    until(follows, "the old master does not follow the new one", PATIENCE_S)
