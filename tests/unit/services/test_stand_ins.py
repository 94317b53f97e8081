"""What names that are not there cost."""

from __future__ import annotations

import collections
from dataclasses import replace

import pytest

from proxy.adapters.hashing import COST
from proxy.adapters.passwords import dummy_hash
from proxy.services.stand_ins import StandIns

CHEAP, DEAR = (8, 1, 1), (16, 1, 1)
NAMES = [f"name-{number}" for number in range(4000)]


def known(cheap, dear):
    """Make the hashes of a file, each with a salt of its own."""
    costs = [CHEAP] * cheap + [DEAR] * dear
    return [replace(dummy_hash(cost), salt=f"salt{n}") for n, cost in enumerate(costs)]


@pytest.mark.parametrize(("cheap", "dear"), [(1, 1), (1, 9), (30, 10)])
def test_s8_each_cost_is_as_frequent_among_names_that_are_not_there(cheap, dear):
    """S8: whoever measures a name learns what somebody's hash costs, and not whether there is somebody."""
    stand_ins = StandIns(known(cheap, dear))
    counted = collections.Counter(stand_ins.of(name).cost for name in NAMES)

    assert {CHEAP, DEAR} == counted.keys()
    assert cheap / (cheap + dear) == pytest.approx(counted[CHEAP] / len(NAMES), abs=0.04)


def test_s8_a_name_keeps_its_cost(monkeypatch):
    """S8: in every worker, and while the file changes: a cost that changes by itself is nobody's."""
    hashes = known(5, 5)
    before, elsewhere = StandIns(hashes), StandIns(reversed(hashes))
    later = StandIns([*hashes, replace(dummy_hash(DEAR), salt="salt99")])
    costs = [[each.of(name).cost for name in NAMES] for each in (before, elsewhere, later)]

    assert costs[0] == costs[1]
    moved = sum(a != b for a, b in zip(costs[0], costs[2], strict=True))
    assert moved < 0.1 * len(NAMES)


def test_a_file_without_people_costs_what_a_new_hash_does():
    """Nobody is told from nobody."""
    assert COST == StandIns([]).of("alice").cost
