"""The verdict cache against a model of a tracking server, in every order that a wire allows.

The model server executes commands and other people's writes one at a time; what it says goes into
one queue, in order; the client takes messages off it whenever it pleases. A verdict may be used if
what it says was true in the store within `max_staleness`; one that is older is stale.
"""

from __future__ import annotations

import collections
import math

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from proxy.core.coherence import Verdict, VerdictCache
from proxy.model import Absent, Identity

MAX_STALENESS_S = 2.0
GRACE_S = 10.0
COMMON = b"all"
RECORDS = (b"r0", b"r1", b"r2")
MARKERS = (b"m0", b"m1", b"m2")
KEYS = (*RECORDS, *MARKERS, COMMON)

credentials = st.tuples(st.integers(1, 3), st.integers(0, 2))
"""How many replies the look-up of a credential has, and which record is behind it."""


def commands_of(replies, number):
    """Return what is read in each command: one, two or three replies."""
    record, marker = RECORDS[number], MARKERS[number]
    return {
        1: [(record, marker, COMMON)],
        2: [(record,), (marker, COMMON)],
        3: [(record,), (marker,), (COMMON,)],
    }[replies]


class Server:
    """A store with a memory of everything that it ever held."""

    def __init__(self):
        self.values = dict.fromkeys(KEYS)
        self.ends = dict.fromkeys(KEYS, math.inf)
        self.version = 0
        self.events = 0
        self.history = {key: [((-math.inf, 0), None)] for key in KEYS}
        """By time and number: what happens at one time happens one after the other."""

    def set(self, key, value, mono, ends=math.inf):
        self.values[key], self.ends[key] = value, ends
        self.note(key, value, mono)

    def note(self, key, value, mono):
        self.events += 1
        self.history[key].append(((mono, self.events), value))

    def fresh_value(self):
        self.version += 1
        return self.version

    def read(self, key, mono):
        """Return what a reader sees: a key whose time is over is not there, cleared away or not."""
        return self.values[key] if mono < self.ends[key] else None

    def true_until(self, said):
        """Return when the last of the times ended at which all of `said` was true."""
        points = sorted({at for key in said for at, _ in self.history[key]})
        last = None
        for index, start in enumerate(points):
            if all(self._at(key, start) == value for key, value in said.items()):
                last = points[index + 1][0] if index + 1 < len(points) else math.inf
        return last

    def _at(self, key, point):
        return [value for at, value in self.history[key] if at <= point][-1]


class Asked:
    """A look-up on its way."""

    def __init__(self, key, commands):
        self.key = key
        self.commands = commands
        self.replies = []
        self.reading = None
        self.sent_at = None
        self.life_s = math.inf


class Coherence(RuleBasedStateMachine):
    """One worker, one server, one connection."""

    has_r5 = True
    fills_late = False

    def __init__(self):
        super().__init__()
        self.mono = 0.0
        self.cache = VerdictCache(entries=6, size=10**6)
        self.source = self.cache.source("store", max_staleness_s=MAX_STALENESS_S, grace_s=GRACE_S)
        self.scope = self.source.scope([COMMON])
        self.server = Server()
        self.to_server = collections.deque()
        self.to_client = collections.deque()
        self.tracked = set()
        self.late = []
        self.said = {}
        self.sources_of = {}
        self.connect()

    # The wire

    def connect(self):
        """Open the connection with tracking on it."""
        self.source.tracked(self.mono)
        self.is_connected = True

    def push(self, key):
        if self.is_connected and key in self.tracked:
            self.tracked.discard(key)
            self.to_client.append(("push", [key]))

    @rule()
    def serve(self):
        """Let the server execute the next command."""
        if not self.to_server:
            return
        kind, subject, *rest = self.to_server.popleft()
        if kind == "ping":
            self.to_client.append(("pong", subject))
            return
        keys = rest[0]
        self.tracked.update(keys)
        values = {key: self.server.read(key, self.mono) for key in keys}
        life_s = min(self.server.ends[key] - self.mono for key in keys)
        self.to_client.append(("reply", subject, values, life_s))

    @rule()
    def deliver(self):
        """Let the client take the next message off the wire."""
        if not self.to_client:
            return
        message = self.to_client.popleft()
        late, self.late = self.late, []
        match message:
            case ("push", keys):
                self.source.invalidated(keys)
            case ("pong", sent_at):
                self.source.proven(sent_at)
            case ("reply", asked, values, life_s):
                asked.replies.append(values)
                asked.life_s = min(asked.life_s, life_s)
                if len(asked.replies) == len(asked.commands):
                    if self.fills_late:
                        self.late.append(asked)
                    else:
                        self.fill(asked)
        for asked in late:
            self.fill(asked)

    def fill(self, asked):
        """Fill the verdict in behind its last reply, or begin again (R5)."""
        if asked.reading is not None:
            is_whole, asked.reading = self.source.end(asked.reading), None
            if not is_whole:
                asked.replies = []
                self.send(asked)
                return
        said = {key: value for reply in asked.replies for key, value in reply.items()}
        record = next(value for key, value in said.items() if key in RECORDS)
        # Like the gate's: the life is counted from before the question was sent.
        until = asked.sent_at + asked.life_s
        digest = str(sorted(said.items())).encode()
        before = self.cache.aside(asked.key)
        if record is None:
            finding = Absent("session_unknown")
        elif before is not None and before.record_digest == digest:
            finding = Verdict(before.identity, record_digest=digest)
        else:
            is_foreign = asked.key[0] == "2"
            identity = Identity("o", "s", "x", claims=said)
            finding = Verdict(identity, record_digest=digest if is_foreign else None)
        self.said[id(finding)] = (finding, said)
        keys = tuple(key for key in said if key != COMMON)
        self.cache.keep(asked.key, finding, self.scope, store_keys=keys, until=until)

    def send(self, asked):
        asked.sent_at = self.mono
        if len(asked.commands) > 1 and self.has_r5:
            asked.reading = self.source.begin([k for keys in asked.commands for k in keys])
        for keys in asked.commands:
            self.to_server.append(("read", asked, keys))

    # What the worker does

    @rule(credential=credentials)
    def request(self, credential):
        """Use what is known, which must not be stale; else look it up."""
        key = (str(credential[0]), 0, b"%d" % credential[1])
        found = self.cache.find(key, self.mono)
        if found is not None:
            self.check(found, MAX_STALENESS_S)
        else:
            stale = self.cache.find_in_outage(key, self.mono)
            if stale is not None:
                self.check(stale, GRACE_S)
            if self.is_connected:
                self.send(Asked(key, commands_of(*credential)))

    def check(self, found, allowed_s):
        _, said = self.said[id(found)]
        true_until = self.server.true_until(said)
        assert true_until is not None
        assert true_until >= self.mono - allowed_s, f"{said} was true until {true_until}"

    @rule(credential=credentials, served=st.integers(0, 3), is_marker=st.booleans())
    def overtake(self, credential, served, is_marker):
        """Write in the middle of a look-up, or right behind it."""
        self.request(credential)
        for _ in range(served):
            self.serve()
        key = (MARKERS if is_marker else RECORDS)[credential[1]]
        self.write(key, math.inf)

    @rule()
    def beat(self):
        """Send a heartbeat."""
        if self.is_connected:
            self.to_server.append(("ping", self.mono))

    @rule()
    def catch_up(self):
        """Everything arrives: afterwards nothing that is known may differ from the store."""
        while self.to_server or self.to_client:
            self.serve()
            self.deliver()

    # What others do

    @rule(key=st.sampled_from(KEYS), life_s=st.sampled_from([0.5, 5.0, math.inf]))
    def write(self, key, life_s):
        """Log in, change, revoke: SET with a life."""
        if key == COMMON:
            life_s = math.inf
        self.server.set(key, self.server.fresh_value(), self.mono, self.mono + life_s)
        self.push(key)

    @rule(key=st.sampled_from(KEYS))
    def extend(self, key):
        """EXPIRE: the value stays, the life does not."""
        if self.server.read(key, self.mono) is not None:
            self.server.ends[key] = self.mono + 5.0
            self.push(key)

    @rule(key=st.sampled_from(KEYS))
    def log_out(self, key):
        """DEL, by whoever."""
        self.server.set(key, None, self.mono)
        self.push(key)

    @rule()
    def flush(self):
        """FLUSHALL: the server says so once, and forgets what it tracked."""
        for key in KEYS:
            self.server.set(key, None, self.mono)
        self.tracked.clear()
        if self.is_connected:
            self.to_client.append(("push", None))

    @rule()
    def clear_away(self):
        """Let the server find keys whose time is over; only then it says so."""
        for key in KEYS:
            if self.server.values[key] is not None and self.server.ends[key] <= self.mono:
                self.server.values[key] = None
                self.push(key)

    @rule(seconds=st.sampled_from([0.1, 0.6, 2.5]))
    def wait(self, seconds):
        """Time passes; a life that ends is the end of what was said."""
        self.mono += seconds
        for key in KEYS:
            ended_at = self.server.ends[key]
            if ended_at <= self.mono and self.server.history[key][-1][1] is not None:
                self.server.note(key, None, ended_at)

    @rule()
    def lose(self):
        """Break the connection, with everything that is on its way."""
        if self.is_connected:
            self.is_connected = False
            self.to_server.clear()
            self.to_client.clear()
            self.tracked.clear()
            self.late = []
            self.source.lost()

    @rule()
    def come_back(self):
        """Open a new connection, tracked from its beginning."""
        if not self.is_connected:
            self.connect()

    @invariant()
    def quiet_means_equal(self):
        """With nothing on its way, what may be used is what the store says."""
        if self.to_client or self.late or not self.is_connected:
            return
        for replies in (1, 2, 3):
            for number in range(3):
                found = self.cache.find((str(replies), 0, b"%d" % number), self.mono)
                if found is None:
                    continue
                _, said = self.said[id(found)]
                # A life that is over but not yet cleared away was not told; it is counted.
                held = {key: self.server.read(key, self.mono) for key in said}
                assert said == held


class WithoutR5(Coherence):
    """Look-ups of several replies that nothing watches over."""

    has_r5 = False


class FillsLate(Coherence):
    """Verdicts that are filled in a turn of the loop after their reply was taken off the wire."""

    fills_late = True


def test_no_verdict_is_stale_r2_r5():
    """R2, R5: whatever is interleaved, what is used was true within `max_staleness`."""
    run_state_machine_as_test(
        Coherence, settings=settings(max_examples=200, stateful_step_count=50)
    )


@pytest.mark.parametrize("broken", [WithoutR5, FillsLate], ids=lambda broken: broken.__name__)
def test_the_machine_finds_what_the_rules_are_for(broken):
    """R5 and the fill on the wire are needed: without either a stale verdict is found."""
    once = settings(
        max_examples=3000,
        stateful_step_count=50,
        derandomize=True,
        database=None,
        phases=(Phase.generate,),
        print_blob=False,
        report_multiple_bugs=False,
    )
    with pytest.raises(AssertionError):
        run_state_machine_as_test(broken, settings=once)
