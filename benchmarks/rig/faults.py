"""What is let through when the store, the network, or a worker fails.

For each fault there are credentials of both kinds that stay good, that were revoked before it, that
are revoked immediately before it, and that are revoked during it; requests with all of them go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import threading
import time
from dataclasses import dataclass, field

from tests.chaos_proxy import ChaosProxy

OUTAGE = 2.5
"""So many times `max_staleness`."""
HEAL_S = 20.0
IN_FLIGHT_S = 0.1
"""What a revocation may take on a busy machine where it comes at the end of a fault."""
AFTER_S = 1.0
"""How long the revoked ones are tried when all is well again."""
KINDS = ("session", "token")


@dataclass
class Result:
    """What one fault did."""

    name: str
    broken: list[str] = field(default_factory=list)
    """Promises that were broken, in words."""
    good_s: float | None = None
    """From the fault to the last good credential that was let through while the store was away."""
    before_s: float | None = None
    """From the store's answer to the last request let through, of those revoked just before."""
    during_s: float | None = None
    """The same, of those revoked during the fault."""
    after: int = 0
    """Requests on a revoked credential let through when the fault was over."""
    heal_s: float | None = None
    requests: int = 0


class Network(contextlib.AbstractContextManager):
    """The tests' chaos proxy, in a thread of its own."""

    def __init__(self, target_port):
        self._target_port = target_port
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),))

    async def _run(self):
        async with ChaosProxy(self._target_port) as self._proxy:
            self.port = self._proxy.port
            self._ready.set()
            await self._over.wait()

    def __enter__(self):
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_exc):
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    def _call(self, function, *arguments):
        done = threading.Event()
        self._loop.call_soon_threadsafe(lambda: (function(*arguments), done.set()))
        done.wait()

    def cut(self, *directions):
        self._call(self._proxy.cut, *directions)

    def heal(self):
        self._call(self._proxy.heal)


class Fault:
    """One way to fail. `begin` and `end` do it; the flags say what may be expected."""

    is_store_away = True
    """No worker can ask the store meanwhile."""
    revokes = "during"
    """When somebody else can revoke: `during` it; `behind` it, by a command that waits; or `not`."""
    victim = None
    """The worker that is stopped."""
    forgets = False
    """What the store held is gone."""
    lasts_s = None
    """How long it goes on; `None`: `OUTAGE` times `max_staleness`."""

    def __init__(self, name, begin, end=None, **flags):
        self.name = name
        self.begin = begin
        self.end = end or (lambda: None)
        vars(self).update(flags)


def of_the_store(store, gate):
    """Return the faults of a store that the gate reaches directly, the worst last."""

    def kill_connections():
        with store.client() as client:
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    def flush():
        with store.client() as client:
            client.flushall()

    victim = gate.workers[0]
    return [
        Fault("store killed (-9), its log is kept", store.kill, store.start, revokes="not"),
        Fault("store stopped (SIGSTOP)", store.stop, store.go_on, revokes="behind"),
        Fault(
            "connections killed (CLIENT KILL)", kill_connections, is_store_away=False, lasts_s=0.5
        ),
        Fault(
            "a worker stopped for five seconds",
            lambda: os.kill(victim, signal.SIGSTOP),
            lambda: os.kill(victim, signal.SIGCONT),
            is_store_away=False,
            lasts_s=5.0,
            victim=victim,
        ),
        Fault("FLUSHALL", flush, is_store_away=False, forgets=True, lasts_s=0.5),
        Fault(
            "store killed (-9), everything lost",
            lambda: store.kill(forgets=True),
            store.start,
            revokes="not",
            forgets=True,
        ),
    ]


def of_the_network(network):
    """Return the faults of a network between gate and store."""
    return [
        Fault(f"network cut, {words}", lambda ways=ways: network.cut(*ways), network.heal)
        for words, ways in (
            ("both directions", ("up", "down")),
            ("towards the store", ("up",)),
            ("from the store", ("down",)),
        )
    ]


class Scenario:
    """One fault, played."""

    def __init__(self, fault, load, maker, workers, staleness_s):
        self.fault = fault
        self.load = load
        self.maker = maker
        self.workers = workers
        self.staleness_s = staleness_s
        self.result = Result(fault.name)
        self.revoked_at = {}
        """By label: when the store's answer was there."""
        self.credentials = {
            f"{what} {kind}": maker.many(kind, 1)[0]
            for what in ("good", "before", "just before", "during")
            for kind in KINDS
        }

    def play(self):
        load, fault, result = self.load, self.fault, self.result
        probes = {label: made.raw for label, made in self.credentials.items()}
        load.take()
        load.probes(probes)
        self._until(dict.fromkeys(probes, True))
        self._revoke("before")
        self._until({label: not label.startswith("before") for label in probes})
        load.take()
        self._revoke("just before")
        self.began_at = time.monotonic()
        fault.begin()
        self.broken_at = time.monotonic()
        lasts_s = fault.lasts_s or OUTAGE * self.staleness_s
        time.sleep(min(0.5, lasts_s / 4))
        revoking = threading.Thread(target=self._revoke, args=("during",))
        if fault.revokes != "not":
            revoking.start()
        if fault.revokes == "during":
            revoking.join()
        time.sleep(max(0.0, self.broken_at + lasts_s - time.monotonic()))
        self.ends_at = time.monotonic()
        fault.end()
        self.ended_at = time.monotonic()
        if fault.revokes == "behind":
            revoking.join()
        self._heal(probes)
        time.sleep(AFTER_S)
        records, _ = load.take(is_last=True)
        result.requests = len(records)
        self._judge(records)
        return result

    def _until(self, wanted):
        """Wait until every worker answers each label as wanted: True is 200."""
        end = time.monotonic() + HEAL_S
        while time.monotonic() < end:
            last = self.load.last()
            if all(
                (last.get((label, worker), 0) == 200) == is_open and (label, worker) in last
                for label, is_open in wanted.items()
                for worker in self.workers
            ):
                return True
            time.sleep(0.02)
        self.result.broken.append(f"not every worker says what it should: {wanted}")
        return False

    def _revoke(self, what):
        for label, credential in self.credentials.items():
            if label.rpartition(" ")[0] == what:
                how = "subject" if what == "before" else "jti"
                _, self.revoked_at[label] = self.maker.revoke(credential, how)

    def _heal(self, probes):
        """Wait until good credentials open again; new ones, where the store has forgotten them."""
        end = time.monotonic() + HEAL_S
        for number in itertools.count():
            good = ["good session", "good token"]
            if self.fault.forgets:
                good = [f"new {kind} {number}" for kind in KINDS]
                with contextlib.suppress(Exception):  # the store may still be starting
                    fresh = [self.maker.many(kind, 1)[0].raw for kind in KINDS]
                    probes |= dict(zip(good, fresh, strict=True))
                self.load.probes(probes)
                wait_until = min(end, time.monotonic() + 0.5)
            else:
                wait_until = end
            while time.monotonic() < wait_until:
                last = self.load.last()
                if all(last.get((label, pid)) == 200 for label in good for pid in self.workers):
                    self.result.heal_s = time.monotonic() - self.ended_at
                    return
                time.sleep(0.01)
            if time.monotonic() >= end:
                self.result.broken.append("it did not heal")
                return

    def _judge(self, records):
        """Compare what was let through with what is promised."""
        result, fault = self.result, self.fault
        passed = [record for record in records if record.status == 200]
        if fault.is_store_away:
            away = [r for r in passed if r.began_at > self.broken_at and r.got_at < self.ends_at]
            result.good_s = max((r.sent_at for r in away), default=self.broken_at) - self.broken_at
            late = [r for r in away if r.began_at > self.broken_at + self.staleness_s]
            if late:
                result.broken.append(f"{len(late)} let through after max_staleness: {late[:3]}")
        if fault.forgets:
            for label in self.credentials:
                self.revoked_at.setdefault(label, self.broken_at)
        for label, revoked_at in self.revoked_at.items():
            self._judge_revoked(label, revoked_at, [r for r in passed if r.label == label])

    def _judge_revoked(self, label, revoked_at, passed):
        result, what = self.result, label.rpartition(" ")[0]
        late = [record for record in passed if record.began_at > revoked_at]
        last_s = max((record.sent_at for record in late), default=revoked_at) - revoked_at
        if what == "before":
            if late:
                result.broken.append(f"{len(late)} on what had been revoked before: {late[:3]}")
        elif what == "just before":
            result.before_s = max(result.before_s or 0.0, last_s)
        elif what == "during":
            result.during_s = max(result.during_s or 0.0, last_s)
        if last_s > self.staleness_s:
            result.broken.append(f"{label}: let through {last_s:.3f} s after its revocation")
        over_at = max(self.ended_at, revoked_at + IN_FLIGHT_S)
        after = [r for r in late if r.began_at > over_at]
        after += [r for r in passed if self._waited_for_victim(r)]
        result.after += len(after)
        if after:
            result.broken.append(f"{label}: let through when the fault was over: {after[:3]}")

    def _waited_for_victim(self, record):
        """Tell whether a request came while its worker stood still: it is decided afterwards."""
        return (
            record.worker == self.fault.victim
            and record.began_at > self.broken_at
            and record.got_at > self.ends_at
            and record.got_at > self.revoked_at[record.label]
        )


def play(faults, load, maker, workers, staleness_s, say=lambda _result: None):
    """Play the faults one after the other."""
    results = []
    for fault in faults:
        result = Scenario(fault, load, maker, workers, staleness_s).play()
        say(result)
        results.append(result)
    return results
