"""A change counts once the replicas have it, and not before."""

from __future__ import annotations

import os
import signal

import pytest

from proxy.adapters.store import Script, StoreAddress, open_gate_store
from proxy.adapters.store.durable import Durability, DurableLine
from proxy.adapters.store.line import Line
from proxy.config.store_models import StoreConfig
from proxy.errors import StoreUnavailable
from tests.conftest import Valkey
from tests.sentinel_set import until

WRITE = Script("return redis.call('SET', KEYS[1], ARGV[1])")
READ = Script("return redis.call('GET', KEYS[1])", is_durable=False)


@pytest.fixture(scope="module")
def pair():
    """Give a master and its replica."""
    servers = Valkey(), Valkey()
    try:
        for server in servers:
            server.start()
        master, replica = (server.client() for server in servers)
        master.config_set("repl-diskless-sync-delay", 0)
        replica.replicaof("127.0.0.1", servers[0].port)
        until(lambda: replica.info()["master_link_status"] == "up", "no replica")
        master.close()
        replica.close()
        yield servers
    finally:
        for server in servers:
            server.remove()


@pytest.fixture
def frozen(pair):
    """Return what stops the replica, as a host that swaps would."""
    stopped = []

    def stop():
        stopped.append(os.kill(pair[1].pid, signal.SIGSTOP))

    yield stop
    if stopped:
        os.kill(pair[1].pid, signal.SIGCONT)


@pytest.fixture
async def opened(pair):
    made = []

    def open_(replicas):
        settings = StoreConfig(durability={"replicas": replicas, "timeout": "50ms"}, timeout=2.0)
        address = StoreAddress(socket_path=str(pair[0].socket_path))
        made.append(open_gate_store(address, settings))
        return made[-1]

    yield open_
    for store in made:
        await store.close()


@pytest.mark.parametrize("replicas", ["all", 1])
async def test_what_is_answered_stands_in_the_replica(pair, opened, replicas):
    """Every kind of change is on the replica when its answer is there, and answers as ever."""
    store = opened(replicas)
    with pair[1].client() as replica:
        assert await store.put("a", b"1")
        assert replica.get("a") == b"1"
        assert not await store.put("a", b"2", only="new")
        assert await store.run(WRITE, ["a"], ["3"]) == b"OK"
        assert replica.get("a") == b"3"
        assert await store.run_many(WRITE, [(["b"], ["1"]), (["c"], ["2"])]) == [b"OK", b"OK"]
        assert replica.mget("b", "c") == [b"1", b"2"]
        assert await store.delete("a", "b", "gone") == 2
        assert replica.exists("a", "b") == 0
        with pytest.raises(StoreUnavailable, match="refused"):
            await store.run(Script("return redis.call('NONE')"), ["a"])


async def test_a_change_that_the_replica_has_not_got_is_not_confirmed(pair, opened, frozen):
    """Nor is the same once more, which changes nothing by then; reading goes on."""
    first, second = opened("all"), opened("all")
    await first.put("a", b"1")
    frozen()
    with pytest.raises(StoreUnavailable, match="0 of 1 replicas"):
        await first.delete("a")
    for again in (first, second):
        with pytest.raises(StoreUnavailable, match="0 of 1 replicas"):
            await again.delete("a")
    with pytest.raises(StoreUnavailable, match="0 of 1 replicas"):
        await second.run_many(WRITE, [(["b"], ["1"])])
    assert await second.fetch(["a"]) == [None]
    assert await second.run(READ, ["a"]) is None
    os.kill(pair[1].pid, signal.SIGCONT)
    assert await first.delete("a") == 0


async def test_more_replicas_than_there_are_confirm_nothing(opened):
    """A number that is written is meant."""
    with pytest.raises(StoreUnavailable, match="1 of 2 replicas"):
        await opened(2).put("a", b"1")


async def test_all_of_none_is_not_none(valkey):
    """A master that has lost every replica confirms nothing with `all`."""
    settings = StoreConfig(durability={"replicas": "all", "timeout": "20ms"})
    store = open_gate_store(StoreAddress(socket_path=str(valkey.socket_path)), settings)
    with pytest.raises(StoreUnavailable, match="0 of 1 replicas"):
        await store.put("a", b"1")
    await store.close()


@pytest.mark.parametrize(
    "answers",
    [
        (b"*1\r\n$5\r\nslave\r\n",),
        (b"-NOPERM\r\n",),
        (b"*3\r\n$6\r\nmaster\r\n:0\r\n*1\r\n:1\r\n", b":1\r\n+OK\r\n$1\r\nx\r\n"),
        (b"*3\r\n$6\r\nmaster\r\n:0\r\n*1\r\n:1\r\n", b":1\r\n-OOM no\r\n:1\r\n"),
        (b"*3\r\n$6\r\nmaster\r\n:0\r\n*1\r\n:1\r\n", b":1\r\n+OK\r\n-NOPERM no\r\n"),
    ],
)
async def test_whatever_is_not_the_replicas_word_confirms_nothing(scripted, answers):
    """A server that is a replica itself, or that may not be asked, and replies that do not fit."""
    server = await scripted(*answers)
    line = Line(server.address, None, timeout_s=2)
    durable = DurableLine(line, Durability(None, 0.05, b"barrier"), None)
    with pytest.raises(StoreUnavailable):
        await durable.ask([("DEL", "a")])
    await durable.close()
