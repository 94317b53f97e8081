"""argon2id: what is right, and what costs what."""

from __future__ import annotations

import pytest

from proxy.adapters.hashing import COST, hasher, is_right


def test_a_new_hash_costs_what_is_said():
    """The parameters stand in the hash."""
    memory, passes, lanes = COST

    assert f"$m={memory},t={passes},p={lanes}$" in hasher().hash("x")


@pytest.mark.parametrize(
    "known", ["", "x", "$argon2id$v=19$m=64,t=1,p=1$", "$argon2id$v=19$m=64,t=1,p=1$YQ$YQ"]
)
def test_what_is_no_hash_is_behind_no_password(known):
    """It is wrong, and no error."""
    assert not is_right(known, b"x")
