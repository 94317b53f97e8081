"""Tallies: added up, sent, and read."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.run.channel import ChannelError
from proxy.run.tally import add, from_json, nanoseconds, put, to_json

TALLIES = st.dictionaries(
    st.tuples(st.sampled_from("ab"), st.just(("x",))),
    st.lists(st.integers(0, 2**60), min_size=2, max_size=2),
)


def test_what_is_put_twice_is_added():
    """Number by number: so routes and schemes come together in one histogram."""
    tally = {}
    put(tally, "m", "a", values=[1, 2])
    put(tally, "m", "a", values=[10, 20])
    put(tally, "m", "b", values=[5, 5])
    assert {("m", ("a",)): [11, 22], ("m", ("b",)): [5, 5]} == tally


def test_of_some_metrics_the_highest_counts():
    """The age of a proof is that of the worker where it is oldest."""
    tally = {("age", ()): [3], ("n", ()): [3]}
    add(tally, {("age", ()): [2], ("n", ()): [2]}, highest=frozenset({"age"}))
    assert {("age", ()): [3], ("n", ()): [5]} == tally


def test_adding_changes_only_the_first():
    """The lists of a tally that somebody else holds stay what they are."""
    other = {("n", ()): [2]}
    total = {}
    add(total, other)
    add(total, other)
    assert ({("n", ()): [4]}, {("n", ()): [2]}) == (total, other)


@given(st.lists(TALLIES))
def test_the_order_of_adding_does_not_matter(tallies):
    """No rounding: a total that is added up in another order after a worker's end is the same."""
    forwards, backwards = {}, {}
    for tally in tallies:
        add(forwards, tally)
    for tally in reversed(tallies):
        add(backwards, tally)
    assert forwards == backwards


@given(TALLIES)
def test_a_tally_survives_the_channel(tally):
    """What is sent as JSON is read as what it was."""
    assert tally == from_json(json.loads(json.dumps(to_json(tally))))


@pytest.mark.parametrize("rows", [[1], [["m", [], ["x"]]], [["m", []]], [["m", 1, [1]]], ["mmm"]])
def test_what_is_no_tally_is_refused(rows):
    """The supervisor believes nothing that it does not understand."""
    with pytest.raises(ChannelError):
        from_json(rows)


def test_times_are_whole_nanoseconds():
    """Half a second is five hundred million of them."""
    assert 500_000_000 == nanoseconds(0.5)
