"""Look-ups and invalidations over a real server: coherent, proven fresh, healing by themselves."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import os
import random
import signal
from dataclasses import replace

import hiredis
import pytest
import redis.asyncio

from proxy.adapters.boot_clock import boot_time
from proxy.adapters.store import StoreAddress
from proxy.adapters.store.link import ReplyError
from proxy.adapters.store.tracked_store import BEATS, TrackedStore
from proxy.core.coherence import CoherenceCounters, Verdict, VerdictCache
from proxy.errors import StoreUnavailable
from proxy.model import Absent, Identity
from tests.chaos_proxy import ChaosProxy

STALENESS_S = 1.0


class Rig:
    """A cache, a scope and a tracked store, as a worker has them."""

    def __init__(self, address, *, timeout_s=2.0, staleness_s=STALENESS_S, clock=boot_time):
        self.cache = VerdictCache(entries=10_000, size=2**24, counters=CoherenceCounters())
        self.source = self.cache.source("store", max_staleness_s=staleness_s)
        self.scope = self.source.scope()
        self.store = TrackedStore(address, self.source, timeout_s=timeout_s, clock=clock)

    @property
    def counters(self):
        return self.source.counters

    def key(self, name):
        return ("web", 0, name.encode())

    def find(self, name):
        """Return the value that the cache would let be used now, as text; `None` for nothing."""
        found = self.cache.find(self.key(name), boot_time())
        return found if found is None else told(found)

    def ask(self, name, *, commands=None, keys=()):
        raw = name.encode()

        def take(replies, _sent_at):
            value = replies[0][0] if commands is None else replies[0]
            finding = (
                Absent("session_unknown")
                if value is None
                else Verdict(Identity("o", value.decode(), "web"))
            )
            self.cache.keep(self.key(name), finding, self.scope, store_keys=(raw,))
            return told(finding)

        return self.store.ask(commands or (("MGET", raw),), take, keys=keys)


def told(finding):
    return finding.identity.subject if isinstance(finding, Verdict) else "nobody"


async def until(condition):
    """Wait for what must come; the test's time-out is its bound."""
    while not condition():  # noqa: ASYNC110 - another process brings it about
        await asyncio.sleep(0.005)


@pytest.fixture
async def make():
    """Return a function that makes rigs; they are closed at the end."""
    async with contextlib.AsyncExitStack() as stack:

        def rig(address, **options):
            made = Rig(address, **options)
            stack.push_async_callback(made.store.close)
            return made

        yield rig


@pytest.fixture
def address(valkey):
    return StoreAddress(socket_path=str(valkey.socket_path))


@pytest.fixture
def admin(valkey):
    """Give a blocking client that does what others do."""
    with valkey.client() as client:
        yield client


async def test_a_change_by_anybody_drops_what_was_read(make, address, admin):
    """A write, an extension and a deletion by another client; and one of a key that was not there."""
    rig = make(address)
    admin.set("a", "1")
    assert "1" == await rig.ask("a")
    assert "nobody" == await rig.ask("b")
    assert ("1", "nobody") == (rig.find("a"), rig.find("b"))
    admin.set("a", "2")
    await until(lambda: rig.find("a") is None)
    assert "2" == await rig.ask("a")
    admin.expire("a", 100)
    await until(lambda: rig.find("a") is None)
    assert "2" == await rig.ask("a")
    admin.delete("a")
    await until(lambda: rig.find("a") is None)
    assert "nobody" == rig.find("b")
    admin.set("b", "1")
    await until(lambda: rig.find("b") is None)
    assert 4 == rig.counters.invalidations


async def test_a_flush_drops_everything(make, address, admin):
    """FLUSHALL is told without keys."""
    rig = make(address)
    admin.set("a", "1")
    await rig.ask("a")
    admin.flushall()
    await until(lambda: rig.find("a") is None)
    assert 1 == rig.counters.flushes


async def test_look_ups_share_one_write_and_keep_their_order(make, address, admin):
    """A thousand at once, some of them cancelled, some sharing: each gets its own value."""
    rig = make(address, timeout_s=30.0, staleness_s=60.0)
    for number in range(200):
        admin.set(f"k{number}", number)
    await rig.ask("k0")
    names = [f"k{random.randrange(200)}" for _ in range(1000)]
    flights = [rig.ask(name) for name in names]
    for flight in flights[::7]:
        flight.cancel()
    values = await asyncio.gather(*flights, return_exceptions=True)
    for place, (name, value) in enumerate(zip(names, values, strict=True)):
        if place % 7:
            assert name[1:] == value
        else:
            assert isinstance(value, asyncio.CancelledError)
    assert rig.find("k0") is not None, "nobody awaited it, and it was filled in all the same"


async def test_a_look_up_that_is_late_fails_and_shifts_nobody(make, mortal_valkey):
    """Time-outs while the server stands still; when it goes on, late replies find their places."""
    rig = make(
        StoreAddress(socket_path=str(mortal_valkey.socket_path)), timeout_s=0.2, staleness_s=60.0
    )
    with mortal_valkey.client() as admin:
        admin.set("a", "1")
        admin.set("b", "2")
    assert "1" == await rig.ask("a")
    os.kill(mortal_valkey.pid, signal.SIGSTOP)
    try:
        with pytest.raises(StoreUnavailable, match="did not answer in time"):
            await rig.ask("b")
    finally:
        os.kill(mortal_valkey.pid, signal.SIGCONT)
    assert "1" == await rig.ask("a")
    assert "2" == rig.find("b"), "its reply came in order, nobody waited, and it is as true"
    assert 1 == rig.counters.lookups_failed


@pytest.mark.parametrize(("timeout_s", "staleness_s"), [(30.0, 600.0), (600.0, 30.0)])
async def test_r2_a_reply_from_before_a_stop_is_no_answer(
    make, address, admin, timeout_s, staleness_s
):
    """R2: a worker that stood still finds the reply before its timer runs: it may be over by now."""
    stood_still_s = 0.0
    rig = make(
        address,
        timeout_s=timeout_s,
        staleness_s=staleness_s,
        clock=lambda: boot_time() + stood_still_s,
    )
    admin.set("a", "1")
    await rig.ask("b")
    flight = rig.ask("a")
    stood_still_s = 31.0
    with pytest.raises(StoreUnavailable, match="did not answer in time"):
        await flight
    assert "1" == await rig.ask("a")
    assert 1 == rig.counters.lookups_failed


async def test_r5_replies_that_do_not_fit_together_are_read_again(make, address, admin):
    """R5: a write between two replies voids the fill, and the look-up is repeated."""
    rig = make(address)
    admin.set("a", "1")
    await rig.ask("a")
    begin = rig.source.begin
    writes = []

    def begin_and_be_overtaken(keys):
        reading = begin(keys)
        if not writes:
            writes.append(1)
            # As if the server had said so between the replies.
            rig.source.invalidated([b"a"])
        return reading

    rig.source.begin = begin_and_be_overtaken
    value = await rig.ask("a", commands=(("GET", b"a"), ("PTTL", b"a")), keys=(b"a",))
    assert "1" == value
    assert (1, 0) == (rig.counters.lookups_voided, rig.counters.lookups_failed)


async def test_r5_what_changes_all_the_time_is_unavailable(make, address, admin):
    """R5: repeated twice, then no answer is better than a wrong one."""
    rig = make(address)
    await rig.ask("a")
    begin = rig.source.begin

    def begin_and_be_overtaken(keys):
        reading = begin(keys)
        reading.is_void = True
        return reading

    rig.source.begin = begin_and_be_overtaken
    with pytest.raises(StoreUnavailable, match="changes faster"):
        await rig.ask("a", commands=(("GET", b"a"), ("PTTL", b"a")), keys=(b"a",))
    assert 3 == rig.counters.lookups_voided


async def test_errors_of_one_look_up_are_its_own(make, address, admin):
    """The server's refusal names its kind; an optional reply may be an error; the next one works."""
    rig = make(address)
    with pytest.raises(StoreUnavailable, match="refused: ERR"):
        await rig.store.ask((("NOSUCH",),), lambda replies, _at: replies)
    replies = await rig.store.ask(
        (("GET", b"a"), ("NOSUCH",)), lambda replies, _at: list(replies), keys=(b"a",)
    )
    assert replies[0] is None
    assert isinstance(replies[1], ReplyError)

    def fail(_replies, _sent_at):
        raise ValueError("a bug")

    with pytest.raises(StoreUnavailable, match="could not be read"):
        await rig.store.ask((("GET", b"a"),), fail)
    assert "nobody" == await rig.ask("a")


async def test_r2_heartbeats_prove_freshness(make, address):
    """R2: without a request the proof moves on, four times in max_staleness."""
    rig = make(address)
    await rig.ask("a")
    first = rig.source.proven_at
    await until(lambda: rig.source.proven_at > first + STALENESS_S)
    assert rig.source.is_fresh(boot_time())
    assert rig.counters.pings >= 4


async def test_r2_a_proof_dates_from_when_its_heartbeat_was_sent(make, address):
    """R2: what the answer took is not proven; and it is what heartbeats are counted to have taken."""
    passed_s = 0.0
    rig = make(address, staleness_s=600.0, clock=lambda: boot_time() + passed_s)
    await rig.ask("a")
    await until(lambda: rig.counters.pings)
    sent_at = boot_time()
    rig.store._beat(rig.store._link, collections.deque())
    passed_s = 100.0
    await until(lambda: rig.counters.pings == 2)
    assert sent_at <= rig.source.proven_at < sent_at + 100
    assert 100 <= rig.counters.ping_s < 200


async def test_what_look_ups_take_is_counted(make, address):
    """From sending the first command to the last reply, summed; failures take no part."""
    passed_s = 0.0
    rig = make(address, timeout_s=300.0, staleness_s=600.0, clock=lambda: boot_time() + passed_s)
    await rig.ask("a")
    for number in (1, 2):
        flight = rig.ask("a")
        passed_s += 100.0
        await flight
        assert 100 * number <= rig.counters.looked_up.total_s < 100 * number + 90
    assert (3, 0) == (rig.counters.lookups, rig.counters.lookups_failed)


async def test_a_killed_connection_suspends_at_once_and_heals(make, address, admin):
    """CLIENT KILL: nothing read before is used again, and tracking is back by itself."""
    rig = make(address)
    admin.set("a", "1")
    await rig.ask("a")
    assert "1" == rig.find("a")
    admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    admin.set("a", "2")
    await until(lambda: rig.counters.connections == 2)
    assert rig.find("a") is None
    assert "2" == await rig.ask("a")
    assert 1 == rig.counters.losses


async def test_a_store_that_is_killed_is_unavailable_and_comes_back(make, mortal_valkey):
    """Look-ups fail at once while nothing listens; afterwards they work, from a new beginning."""
    rig = make(StoreAddress(socket_path=str(mortal_valkey.socket_path)), timeout_s=5.0)
    with mortal_valkey.client() as admin:
        admin.set("a", "1")
    await rig.ask("a")
    mortal_valkey.kill()
    await until(lambda: rig.store._link is None)
    assert ("lost", 1) == (rig.source.state, rig.counters.losses)
    assert rig.find("a") is None
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        await rig.ask("a")
    mortal_valkey.start()
    await until(lambda: rig.source.state == "tracking")
    assert "nobody" == await rig.ask("a")


async def test_a_stopped_server_is_noticed_by_its_heartbeats(make, mortal_valkey):
    """SIGSTOP: after max_staleness nothing is used, the connection is given up, and it heals."""
    rig = make(StoreAddress(socket_path=str(mortal_valkey.socket_path)), timeout_s=0.2)
    with mortal_valkey.client() as admin:
        admin.set("a", "1")
    await rig.ask("a")
    os.kill(mortal_valkey.pid, signal.SIGSTOP)
    try:
        stopped_at = boot_time()
        await until(lambda: boot_time() > stopped_at + STALENESS_S)
        assert rig.find("a") is None
        with pytest.raises(StoreUnavailable):
            await rig.ask("a")
        await until(lambda: rig.counters.losses == 1)
    finally:
        os.kill(mortal_valkey.pid, signal.SIGCONT)
    await until(lambda: rig.source.state == "tracking")
    assert "1" == await rig.ask("a")


async def test_a_connection_without_answers_is_given_up_after_four(scripted, make):
    """A peer that is dead without a word: no heartbeat is sent behind four that nobody answered."""
    server = await scripted(b"%1\r\n$7\r\nversion\r\n$5\r\n7.2.6\r\n", b"+OK\r\n")
    rig = make(server.address, staleness_s=0.2)
    rig.store.start()

    def heartbeats():
        return b"".join(server.received).count(b"PING")

    await until(lambda: rig.counters.losses or heartbeats() > BEATS + 1)
    assert (1, BEATS) == (rig.counters.losses, heartbeats())


@pytest.mark.parametrize("directions", [("up", "down"), ("up",), ("down",)], ids="+".join)
async def test_a_cut_network_is_noticed_and_heals(make, valkey, admin, directions):
    """Whichever direction is dead: nothing after max_staleness; and the change in between is seen."""
    async with ChaosProxy(valkey.port) as chaos:
        rig = make(StoreAddress(host="127.0.0.1", port=chaos.port), timeout_s=0.2)
        admin.set("a", "1")
        await rig.ask("a")
        chaos.cut(*directions)
        cut_at = boot_time()
        admin.set("a", "2")
        await until(lambda: boot_time() > cut_at + STALENESS_S)
        assert rig.find("a") is None
        with pytest.raises(StoreUnavailable):
            await rig.ask("a")
        chaos.heal()
        await until(lambda: rig.source.is_fresh(boot_time()))
        assert rig.find("a") in (None, "2")
        assert "2" == await rig.ask("a")


async def test_r10_without_permission_nothing_is_kept(make, mortal_valkey, caplog):
    """R10: every look-up goes to the store, a warning says why, and a counter counts it."""
    with mortal_valkey.client() as admin:
        rules = ["on", ">pw", "~*", "+@read", "+ping", "+hello", "+select", "-client"]
        admin.execute_command("ACL", "SETUSER", "poor", "reset", *rules)
        admin.set("a", "1")
        plain = StoreAddress(socket_path=str(mortal_valkey.socket_path))
        rig = make(replace(plain, username="poor", password="pw"))
        assert "1" == await rig.ask("a")
        assert rig.find("a") is None
        admin.set("a", "2")
        assert "2" == await rig.ask("a")
    assert ("untracked", 1) == (rig.source.state, rig.counters.untracked)
    assert [True] == ["CLIENT TRACKING is not permitted" in text for text in caplog.messages]


async def test_r10_an_old_server_is_looked_up_every_time(scripted, make, caplog):
    """R10: a server before 7.0 answers look-ups, and nothing is kept."""
    server = await scripted(
        b"%1\r\n$7\r\nversion\r\n$5\r\n6.2.6\r\n", b"*1\r\n$1\r\n1\r\n+PONG\r\n"
    )
    rig = make(server.address, staleness_s=60.0)
    assert "1" == await rig.ask("a")
    assert rig.find("a") is None
    assert "older than 7.0" in caplog.text


async def test_nothing_listens(make, tmp_path):
    """The first look-ups wait for the connection, and fail when it cannot be made."""
    rig = make(StoreAddress(socket_path=str(tmp_path / "none")))
    with pytest.raises(StoreUnavailable, match="No such file"):
        await rig.ask("a")
    with pytest.raises(StoreUnavailable, match="No such file"):
        await rig.ask("a")


async def test_a_closed_store_answers_nothing(make, address):
    """Whoever still waits is told, and nobody connects again."""
    rig = make(address)
    await rig.ask("a")
    await rig.store.close()
    with pytest.raises(StoreUnavailable, match="was closed"):
        await rig.ask("a")
    await rig.store.close()


@pytest.mark.slow
async def test_20000_random_writes_leave_no_stale_entry(make, valkey, address):
    """Random writers and readers; at the end no entry differs from the store."""
    rigs = [make(address, timeout_s=30.0, staleness_s=60.0) for _ in range(2)]
    names = [f"k{number}" for number in range(50)]
    writers = 0

    async def write(count):
        nonlocal writers
        writers += 1
        client = redis.asyncio.Redis(unix_socket_path=str(valkey.socket_path))
        try:
            for batch in range(0, count, 20):
                pipeline = client.pipeline(transaction=False)
                for number in range(batch, batch + 20):
                    name = random.choice(names)
                    match random.randrange(6):
                        case 0:
                            pipeline.delete(name)
                        case 1:
                            pipeline.expire(name, 1000)
                        case _:
                            pipeline.set(name, number)
                await pipeline.execute()
        finally:
            writers -= 1
            await client.aclose()

    async def read(rig):
        while writers:
            for _ in range(20):
                name = random.choice(names)
                if rig.find(name) is None:
                    several = random.random() < 0.3
                    commands = (("GET", name), ("PTTL", name)) if several else None
                    rig.ask(name, commands=commands, keys=(name.encode(),))
            await asyncio.sleep(0)

    async with asyncio.timeout(110):
        await asyncio.gather(
            *(write(5_000) for _ in range(4)), *(read(rig) for rig in rigs for _ in range(2))
        )
        for rig in rigs:
            await rig.ask("end")  # behind everything that was said before it
    with valkey.client() as client:
        held = {name: value for name in names if (value := client.get(name)) is not None}
    for rig in rigs:
        known = {name: found for name in names if (found := rig.find(name)) is not None}
        assert {name: held[name].decode() if name in held else "nobody" for name in known} == known
        assert rig.counters.invalidations > 1000


class Liar:
    """A server that says what it is asked, and sometimes a reply too many."""

    def __init__(self):
        self.values = {}
        self.surplus = b""
        self.held = None
        """The answer of the command before: each one is given that, one too late."""
        self.connections = 0
        self.writers = []

    async def serve(self, reader, writer):
        self.connections += 1
        self.writers.append(writer)
        self.held = None
        parser = hiredis.Reader()
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                parser.feed(data)
                while (command := parser.gets()) is not False:
                    answer = self.answer(*command)
                    if self.held is not None:
                        answer, self.held = self.held, answer
                    writer.write(answer)
        writer.close()

    def answer(self, name, *arguments):
        match name:
            case b"HELLO":
                return b"%1\r\n$7\r\nversion\r\n$5\r\n7.2.0\r\n"
            case b"CLIENT":
                return b"+OK\r\n"
            case b"PING":
                return bulk(arguments[0] if arguments else b"PONG")
        surplus, self.surplus = self.surplus, b""
        values = b"".join(bulk(self.values[key]) for key in arguments)
        return surplus + b"*%d\r\n%b" % (len(arguments), values)


def bulk(value):
    return b"$%d\r\n%b\r\n" % (len(value), value)


@pytest.fixture
async def liar(tmp_path):
    server = Liar()
    path = str(tmp_path / "liar")
    listening = await asyncio.start_unix_server(server.serve, path)
    server.address = StoreAddress(socket_path=path)
    yield server
    listening.close()
    for writer in server.writers:
        writer.transport.abort()
    await listening.wait_closed()
    await asyncio.sleep(0)


async def test_r5_a_reply_too_many_ends_the_connection_with_the_next_heartbeat(make, liar):
    """Each look-up is given another one's record, until a heartbeat's answer is not its own."""
    liar.values = {b"a": b"ada", b"b": b"bo"}
    rig = make(liar.address)
    assert ["ada", "bo"] == [await rig.ask("a"), await rig.ask("b")]
    liar.held = b"*1\r\n" + bulk(b"eve")
    assert ["eve", "ada"] == [await rig.ask("a"), await rig.ask("b")]
    await until(lambda: liar.connections == 2 and rig.source.state == "tracking")
    assert [None, None] == [rig.find("a"), rig.find("b")], "all that it had said is void"
    assert ["ada", "bo"] == [await rig.ask("a"), await rig.ask("b")]


@pytest.mark.parametrize("surplus", [b":7\r\n", b"*2\r\n$1\r\na\r\n$1\r\nb\r\n", b"*1\r\n:7\r\n"])
async def test_r5_a_reply_that_does_not_fit_is_unavailable(make, liar, surplus):
    """The connection ends at once, and nobody is given what came behind it."""
    liar.values = {b"a": b"ada", b"b": b"bo"}
    rig = make(liar.address, staleness_s=60.0)
    assert "ada" == await rig.ask("a")
    liar.surplus = surplus
    told = await asyncio.gather(rig.ask("a"), rig.ask("b"), return_exceptions=True)
    assert [StoreUnavailable] * 2 == [type(one) for one in told]
    await until(lambda: rig.source.state == "tracking")
    assert "bo" == await rig.ask("b")
