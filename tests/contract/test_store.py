"""The store's contract, on every kind of store."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import replace

import pytest

from proxy.adapters.store import Script, open_store
from proxy.errors import StoreUnavailable

PTTL = Script("return redis.call('PTTL', KEYS[1])")


async def until(condition, timeout_s=10.0):
    """Wait until an asynchronous condition holds, asking again and again."""
    end = time.monotonic() + timeout_s
    while not await condition():
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.01)


async def answers(store):
    """Tell whether the store answers."""
    try:
        await store.fetch(["x"])
    except StoreUnavailable:
        return False
    return True


async def test_fetch_keeps_the_order_and_says_none_for_what_is_not_there(store):
    """Values come in the order of the keys, repeated ones too."""
    await store.put("a", b"1")
    await store.put("b", b"2")
    assert [b"2", None, b"1", b"2"] == await store.fetch(["b", "none", "a", "b"])


async def test_fetch_of_no_keys_is_no_values(store):
    """An empty look-up asks the server nothing."""
    assert [] == await store.fetch([])


async def test_a_key_of_another_kind_counts_as_absent(store):
    """A list under a session's key, planted or by mistake, is no record and no error."""
    await store.run(Script("return redis.call('LPUSH', KEYS[1], 'x')"), ["list"])
    assert [None] == await store.fetch(["list"])


@pytest.mark.parametrize("value", [b"", b"\x00\xff\r\n$-1\r\n", b"x" * 1_000_000])
async def test_values_come_back_as_they_were(store, value):
    """Any bytes are kept: none, the protocol's own, a megabyte."""
    assert await store.put("k", value)
    assert [value] == await store.fetch(["k"])


@pytest.mark.parametrize("key", ["latchgate:{revoked}:all", "a b\r\nDEL x", "ключ", "\udcff", ""])
async def test_keys_are_taken_literally(store, key):
    """A key is a text and never a command, whatever stands in it."""
    await store.put(key, b"here")
    assert [b"here"] == await store.fetch([key])
    assert [key] == [found async for found in store.scan(key)]


async def test_put_only_new_and_only_existing(store):
    """`only` makes a write depend on the key, and says whether it took place."""
    assert not await store.put("k", b"0", only="existing")
    assert await store.put("k", b"1", only="new")
    assert not await store.put("k", b"2", only="new")
    assert [b"1"] == await store.fetch(["k"])
    assert await store.put("k", b"3", only="existing")
    assert [b"3"] == await store.fetch(["k"])


async def test_put_with_a_life(store):
    """A key lives as long as it was told, in milliseconds, and no longer."""
    await store.put("k", b"v", ttl_s=100.5)
    assert 99_000 < await store.run(PTTL, ["k"]) <= 100_500
    await store.put("k", b"v", ttl_s=0.0101, only="existing")

    async def is_gone():
        return await store.fetch(["k"]) == [None]

    await until(is_gone)


async def test_put_without_a_life_is_for_good(store):
    """Writing a key without a life takes an earlier one away."""
    await store.put("k", b"v", ttl_s=5)
    await store.put("k", b"v")
    assert -1 == await store.run(PTTL, ["k"])


@pytest.mark.parametrize("ttl_s", [0, -1, float("nan")])
async def test_put_with_no_life_left_is_a_mistake(store, ttl_s):
    """A life of nothing is refused before the server is asked: it would mean for good to some."""
    with pytest.raises(ValueError, match="life"):
        await store.put("k", b"v", ttl_s=ttl_s)


async def test_a_script_is_run_many_times_by_one_write(store):
    """Each call has its own reply, in their order, also where the server has forgotten the script."""
    count = Script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
    calls = [(["a"], [1]), (["b"], [10]), (["a"], [2])]

    assert [1, 10, 3] == await store.run_many(count, calls)
    assert [4, 20, 6] == await store.run_many(count, calls)
    assert [] == await store.run_many(count, [])


async def test_delete_counts_what_there_was(store):
    """Deleting says how many keys there were."""
    await store.put("a", b"1")
    await store.put("b", b"1")
    assert 2 == await store.delete("a", "b", "none")
    assert 0 == await store.delete("a")
    assert 0 == await store.delete()


async def test_scan_takes_the_prefix_literally(store):
    """Glob characters in a prefix stand for themselves."""
    for key in ("s*?[a]\\:1", "s*?[a]\\:2", "sxya\\:1", "s*?a\\:1"):
        await store.put(key, b"")
    assert {"s*?[a]\\:1", "s*?[a]\\:2"} == {key async for key in store.scan("s*?[a]\\:")}


async def test_scan_goes_on_from_where_a_page_ended(store):
    """Each page names the place of the next one; what is no place is refused."""
    for number in range(1000):
        await store.put(f"p:{number}", b"x")
    found, cursor = set(), ""
    while True:
        cursor, keys = await store.scan_page("p:", cursor, 50)
        found.update(keys)
        assert len(keys) < 200
        if not cursor:
            break
    assert {f"p:{number}" for number in range(1000)} == found
    for place in ("x", "-1", "1 2", str(1 << 64), "*"):
        with pytest.raises(ValueError, match="no such place"):
            await store.scan_page("p:", place, 50)


async def test_scan_finds_every_key_that_stays(store):
    """Many keys come over several steps, though others come and go meanwhile."""
    names = {f"stay:{number}" for number in range(1500)}
    make = Script("for i = 0, 1499 do redis.call('SET', KEYS[1] .. i, '') end")
    await store.run(make, ["stay:"])
    found = set()
    async for key in store.scan("stay:"):
        if len(found) % 100 == 0:
            await store.put(f"stay:extra{len(found)}", b"")
        found.add(key)
    assert names <= found


async def test_a_script_takes_keys_and_arguments(store):
    """Texts, bytes and numbers arrive, and every kind of reply comes back."""
    script = Script("return {KEYS[1], ARGV[1], ARGV[2], ARGV[3], 7, false}")
    assert [b"k", b"a", b"\xff", b"1.5", 7, None] == await store.run(
        script, ["k"], ["a", b"\xff", 1.5]
    )


async def test_a_script_that_the_server_does_not_know_is_sent(backend):
    """After a restart the server has forgotten every script; nobody notices."""
    script = Script("return redis.call('INCR', KEYS[1])")
    assert 1 == await backend.store.run(script, ["n"])
    backend.admin.script_flush()
    assert 2 == await backend.store.run(script, ["n"])


async def test_an_error_in_a_script_is_unavailable_and_quotes_nothing(store):
    """What a script was about does not get into an error, which ends in a log."""
    script = Script("return redis.call('INCR', KEYS[1], ARGV[1], 'and-more')")
    with pytest.raises(StoreUnavailable) as caught:
        await store.run(script, ["the-key"], ["the-argument"])
    assert not any(word in str(caught.value) for word in ("the-key", "the-argument", "INCR"))


async def test_probe_tells_what_r4_needs(store):
    """The server says what it is and whether it can evict."""
    info = await store.probe()
    assert ("valkey", 0, "noeviction") == (info.server, info.maxmemory, info.maxmemory_policy)
    assert info.version >= (9,)
    assert (False, False) == (info.is_replica, info.is_cluster)


async def test_probe_tells_how_many_keys_there_are(store):
    """Who goes through the keys knows how far it is."""
    assert 0 == (await store.probe()).keys
    for number in range(3):
        await store.put(f"k{number}", b"x")
    assert 3 == (await store.probe()).keys


async def test_many_at_once_get_their_own_answers(store):
    """Hundreds of look-ups at once share few connections and mix nothing up."""
    for number in range(300):
        await store.put(f"k{number}", b"%d" % number)
    found = await asyncio.gather(*(store.fetch([f"k{number}"]) for number in range(300)))
    assert [[b"%d" % number] for number in range(300)] == found


async def test_cancelled_look_ups_mix_nothing_up(store):
    """Clients that leave at any moment neither leak a connection nor leave their answer behind."""
    for number in range(64):
        await store.put(f"k{number}", b"%d" % number)

    async def look(number):
        return number, await store.fetch([f"k{number % 64}"])

    for _ in range(8):
        tasks = [asyncio.ensure_future(look(number)) for number in range(200)]  # noqa: TID251 - gathered below
        doomed = random.sample(tasks, 100)
        while doomed:
            await asyncio.sleep(random.choice((0, 0, 0.0005)))
            for task in doomed[:10]:
                task.cancel()
            del doomed[:10]
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, BaseException):
                assert isinstance(result, asyncio.CancelledError)
            else:
                assert [b"%d" % (result[0] % 64)] == result[1]


async def test_a_server_that_does_not_answer_is_unavailable_in_time(backend):
    """A hanging server costs a request the timeout, and never an answer."""
    await backend.store.fetch(["x"])
    with backend.frozen():
        started = time.monotonic()
        with pytest.raises(StoreUnavailable):
            await backend.store.fetch(["x"])
        assert time.monotonic() - started < 4.5
    await until(lambda: answers(backend.store))


async def test_late_answers_belong_to_nobody(backend):
    """An answer that came after its timeout is not taken for that of the next look-up."""
    await backend.store.put("late", b"late")
    await backend.store.put("next", b"next")
    with backend.frozen():
        results = await asyncio.gather(
            *(backend.store.fetch(["late"]) for _ in range(20)), return_exceptions=True
        )
    assert all(isinstance(result, StoreUnavailable) for result in results)
    await until(lambda: answers(backend.store))
    for _ in range(40):
        assert [b"next"] == await backend.store.fetch(["next"])


async def test_every_operation_says_unavailable_when_the_server_is_gone(backend, monkeypatch):
    """An outage is never an empty store."""
    nowhere = (
        replace(backend.address, socket_path=backend.address.socket_path + "x")
        if backend.address.socket_path
        else replace(backend.address, port=1)
    )
    store = open_store(nowhere, timeout_s=0.5)
    script = Script("return 1")
    for operation in (
        lambda: store.fetch(["x"]),
        lambda: store.put("x", b""),
        lambda: store.delete("x"),
        lambda: store.run(script, []),
        lambda: anext(store.scan("x")),
        store.probe,
    ):
        with pytest.raises(StoreUnavailable):
            await operation()
    await store.close()


async def test_it_heals_by_itself_after_a_crash(backend):
    """When the server is back look-ups and writes go on, without a word from us."""
    await asyncio.gather(*(backend.store.fetch(["x"]) for _ in range(20)))
    await backend.crash_and_restart()
    await until(lambda: answers(backend.store))
    assert await backend.store.put("x", b"1")
    assert [b"1"] == await backend.store.fetch(["x"])


async def test_a_wrong_password_is_unavailable_and_not_told(backend):
    """A store that does not let us in is out of reach; the log does not learn the password."""
    store = open_store(replace(backend.address, password="guessed-wrong"), timeout_s=0.5)
    with pytest.raises(StoreUnavailable) as caught:
        await store.fetch(["x"])
    await store.close()
    shown = repr(store) + repr(backend.address) + str(caught.value) + repr(caught.value)
    assert not any(word in shown for word in ("guessed-wrong", backend.address.password))


async def test_close_is_final_and_may_be_repeated(backend):
    """Closing never raises, open or not, twice; nobody opens a connection behind it."""
    store = open_store(backend.address, timeout_s=5)
    await store.fetch(["x"])
    await store.close()
    await store.close()
    with pytest.raises(StoreUnavailable):
        await store.fetch(["x"])
    await store.close()
