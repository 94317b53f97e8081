"""The bounded memory: entries, bytes, second chances, and the index of store keys."""

from __future__ import annotations

import pytest

from proxy.core.coherence import Scope, Source
from proxy.core.coherence.memory import ENTRY_BYTES, Entry, Memory


@pytest.fixture
def source():
    """Give a source that is tracking."""
    source = Source("store", max_staleness_s=2.0)
    source.tracked(0.0)
    return source


@pytest.fixture
def scope(source):
    """Give a scope of the source."""
    return source.scope()


def key(number):
    return ("web", 1, b"%d" % number)


def entry(number, scope, **options):
    options.setdefault("store_keys", (b"s%d" % number,))
    return Entry(key(number), number, scope, **options)


def test_it_is_bounded_in_entries(scope):
    """The oldest goes, and its place in the index with it."""
    causes = []
    memory = Memory(entries=3, size=10**6, on_evicted=causes.append)
    for number in range(5):
        memory.put(entry(number, scope))
    assert [None, None, 2, 3, 4] == [
        found.content if (found := memory.get(key(n))) else None for n in range(5)
    ]
    assert ["room", "room"] == causes
    assert {b"s2", b"s3", b"s4"} == set(memory._index[scope.source])


def test_it_is_bounded_in_bytes(scope):
    """A large entry pushes several small ones out; one that fits nowhere is not kept at all."""
    memory = Memory(entries=100, size=5 * ENTRY_BYTES)
    for number in range(5):
        memory.put(entry(number, scope))
    memory.put(entry(5, scope, size=2 * ENTRY_BYTES))
    assert 3 == len(memory)
    assert 5 * ENTRY_BYTES == memory.size
    memory.put(entry(6, scope, size=5 * ENTRY_BYTES))
    assert (3, None) == (len(memory), memory.get(key(6)))
    memory.put(entry(5, scope, size=9 * ENTRY_BYTES))
    assert memory.get(key(5)) is None, "what was there before is gone too"


def test_what_is_used_gets_a_second_chance(scope):
    """CLOCK: of two that are equally old the one that was used stays."""
    memory = Memory(entries=3, size=10**6)
    for number in range(3):
        memory.put(entry(number, scope))
    memory.get(key(0)).is_used = True
    memory.put(entry(3, scope))
    assert (None, 0) == (memory.get(key(1)), memory.get(key(0)).content)
    assert not memory.get(key(0)).is_used


def test_an_eviction_ends_though_everything_is_in_use(scope):
    """The hand takes a bounded number of steps."""
    memory = Memory(entries=1000, size=10**9)
    for number in range(1000):
        memory.put(entry(number, scope))
        memory.get(key(number)).is_used = True
    memory.put(entry(1000, scope))
    assert 1000 == len(memory)


def test_an_invalidation_forgets_whatever_depends_on_the_key(source, scope):
    """One entry or several share a key; entries of another store with such a key stay."""
    other = Source("other", max_staleness_s=2.0)
    memory = Memory(entries=10, size=10**6)
    memory.put(entry(1, scope, store_keys=(b"user", b"a")))
    memory.put(entry(2, scope, store_keys=(b"user", b"b")))
    memory.put(entry(3, scope, store_keys=(b"c",)))
    memory.put(entry(4, other.scope(), store_keys=(b"user",)))
    memory.invalidate(source, b"user")
    memory.invalidate(source, b"nothing")
    assert [False, False, True, True] == [memory.get(key(n)) is not None for n in range(1, 5)]
    assert {b"c"} == set(memory._index[source])
    assert 2 * ENTRY_BYTES == memory.size


def test_a_restorable_entry_is_put_aside(source, scope):
    """It stays in its bounds, but is dead, and no further key leads to it."""
    memory = Memory(entries=10, size=10**6)
    memory.put(entry(1, scope, store_keys=(b"a", b"b"), is_restorable=True))
    memory.invalidate(source, b"a")
    assert not memory.get(key(1)).is_live
    assert not memory._index[source]
    memory.put(entry(1, scope))
    assert memory.get(key(1)).is_live
    assert (1, ENTRY_BYTES) == (len(memory), memory.size)


def test_a_scope_that_moves_on_leaves_its_entries_dead(source, scope):
    """They are swept out by what is new, two at a time."""
    causes = []
    memory = Memory(entries=100, size=10**6, on_evicted=causes.append)
    for number in range(10):
        memory.put(entry(number, scope))
    source.invalidated(None)
    assert not memory.get(key(0)).is_live
    for number in range(10, 16):
        memory.put(entry(number, scope))
    assert 6 == len(memory)
    assert ["lost"] * 10 == causes


def test_without_a_store_an_entry_depends_on_nothing():
    """`revocation: none`: no source, no index, never dead."""
    memory = Memory(entries=10, size=10**6)
    memory.put(entry(1, Scope(None), store_keys=()))
    assert memory.get(key(1)).is_live
    memory.discard(key(1), "expired")
    memory.discard(key(1), "expired")
    assert (0, 0) == (len(memory), memory.size)
