"""Balancing: by load, by hash, around servers that are down."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from random import Random

from proxy.core.balance import HashRing, least_busy

NOW = 1000.0


@dataclass(eq=False)
class Server:
    name: str
    busy: int = 0
    down_until: float = 0.0


def fleet(count):
    return [Server(f"http://10.0.0.{number}:80") for number in range(count)]


def ring_of(servers):
    return HashRing(servers, [server.name for server in servers])


def test_the_only_server_is_taken_even_when_it_is_down():
    """There is nothing better to try."""
    server = Server("a", busy=9, down_until=NOW + 1)

    assert server is least_busy([server], NOW)


def test_the_less_busy_of_two_is_taken():
    """Whatever the draw, one of two servers has less to do."""
    busy, free = Server("a", busy=2), Server("b", busy=1)
    draw = Random(1).random

    assert {free.name} == {least_busy([busy, free], NOW, draw).name for _ in range(100)}


def test_two_different_servers_are_compared_and_all_get_their_turn():
    """Equal load spreads evenly; the busiest of all never wins."""
    servers = fleet(4)
    servers[2].busy = 5
    draw = Random(2).random
    counts = Counter(least_busy(servers, NOW, draw).name for _ in range(3000))

    assert servers[2].name not in counts
    assert all(800 < counts[server.name] < 1200 for server in servers if server.busy == 0)


def test_a_server_that_is_down_is_left_out():
    """It is never busy: without that it would get everything."""
    servers = fleet(3)
    servers[0].down_until = NOW + 1
    servers[1].busy = servers[2].busy = 50
    draw = Random(3).random

    assert servers[0] not in [least_busy(servers, NOW, draw) for _ in range(200)]
    assert servers[0] in [least_busy(servers, NOW + 1, draw) for _ in range(200)]


def test_the_last_one_up_gets_everything():
    """One server up: it is taken whatever its load."""
    servers = fleet(3)
    servers[0].down_until = servers[1].down_until = NOW + 1
    servers[2].busy = 99
    draw = Random(4).random

    assert {servers[2].name} == {least_busy(servers, NOW, draw).name for _ in range(50)}


def test_when_all_are_down_somebody_is_tried():
    """A pool that is down heals by requests."""
    servers = fleet(3)
    for server in servers:
        server.down_until = NOW + 1
    draw = Random(5).random

    assert len({least_busy(servers, NOW, draw).name for _ in range(100)}) > 1


def test_equal_keys_meet_equal_servers_in_any_order_of_configuration():
    """The ring depends on names, not on positions or processes."""
    servers = fleet(5)
    first, second = ring_of(servers), ring_of(servers[::-1])
    keys = [b"user-%d" % number for number in range(200)]

    assert [first.pick(key, NOW) for key in keys] == [second.pick(key, NOW) for key in keys]


def test_keys_spread_over_all_servers():
    """No server gets more than about twice its share."""
    servers = fleet(4)
    ring = ring_of(servers)
    counts = Counter(ring.pick(b"%d" % number, NOW).name for number in range(4000))

    assert all(500 < counts[server.name] < 2000 for server in servers)


def test_a_server_that_is_down_moves_only_its_own_keys():
    """The others keep theirs, and it gets its own back."""
    servers = fleet(4)
    ring = ring_of(servers)
    keys = [b"%d" % number for number in range(500)]
    before = {key: ring.pick(key, NOW) for key in keys}
    servers[1].down_until = NOW + 5
    during = {key: ring.pick(key, NOW) for key in keys}

    assert servers[1] not in during.values()
    assert all(during[key] is before[key] for key in keys if before[key] is not servers[1])
    assert before == {key: ring.pick(key, NOW + 5) for key in keys}


def test_a_ring_without_a_server_up_answers_with_the_preferred_one():
    """Somebody must be tried."""
    servers = fleet(2)
    ring = ring_of(servers)
    before = ring.pick(b"k", NOW)
    for server in servers:
        server.down_until = NOW + 1

    assert before is ring.pick(b"k", NOW)
