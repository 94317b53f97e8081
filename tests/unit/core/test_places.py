"""Places that are held for a while."""

from __future__ import annotations

import contextlib

import pytest

from proxy.core.places import NoPlace, Places

FREE = {"a": 9}


def hold(stack, places, sources, times=1):
    """Take places until the end of `stack`."""
    for _ in range(times):
        stack.enter_context(places.held(sources))


def test_each_source_has_its_part_and_leaves_the_rest():
    """Whoever holds all of theirs is refused, and nobody else is; a place given back is one again."""
    places = Places(10)
    with contextlib.ExitStack() as stack:
        hold(stack, places, {"net 1": 2, "op": 5}, 2)
        with pytest.raises(NoPlace), places.held({"net 1": 2, "op": 5}):
            pass
        hold(stack, places, {"net 2": 2, "op": 5})
    with places.held({"net 1": 2, "op": 5}):
        assert 2 == len(places)


def test_all_together_have_no_more_than_there_are():
    """Many sources with a place each come to an end too, and leave nothing behind."""
    places = Places(3)
    with contextlib.ExitStack() as stack:
        for number in range(3):
            hold(stack, places, {str(number): 1})
        with pytest.raises(NoPlace), places.held(FREE):
            pass
    assert 0 == len(places)


def test_a_place_is_given_back_however_the_work_ends():
    """What fails or is cancelled holds nothing any more."""
    places = Places(1)
    for _ in range(3):
        with pytest.raises(KeyError), places.held(FREE):
            raise KeyError
    assert 0 == len(places)
