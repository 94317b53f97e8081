"""Ids of requests."""

from __future__ import annotations

import re

import pytest

from proxy.services.request_ids import AT_A_TIME, RequestIds


def test_every_id_is_128_random_bits_and_nobody_else_s():
    """Over several refills no id comes twice."""
    ids = RequestIds()
    made = [ids() for _ in range(3 * AT_A_TIME)]

    assert len(made) == len(set(made))
    assert all(re.fullmatch(rb"[0-9a-f]{32}", one) for one in made)


def test_whoever_takes_without_looking_is_told_that_none_is_left():
    """`take` is for the hot path, which refills by calling."""
    ids = RequestIds()

    with pytest.raises(IndexError):
        ids.take()
