"""Nonces: known to whoever has the key, and to nobody else before their time (RFC 9449 §8)."""

from __future__ import annotations

import re

import pytest

from proxy.core.nonces import AHEAD_S, WINDOW_S, Nonces

KEY, OLD_KEY, FOREIGN = b"a" * 32, b"b" * 32, b"c" * 32
BEGIN = 15_000_000 * WINDOW_S
"""When some window begins."""
JUST = 0.001


@pytest.mark.parametrize(
    ("after", "worth"),
    [
        (-AHEAD_S - JUST, "bad"),
        (-AHEAD_S, "good"),
        (0, "good"),
        (WINDOW_S - JUST, "good"),
        (WINDOW_S, "ending"),
        (2 * WINDOW_S - JUST, "ending"),
        (2 * WINDOW_S, "bad"),
        (10 * WINDOW_S, "bad"),
        (-10 * WINDOW_S, "bad"),
    ],
)
def test_a_nonce_is_good_for_two_windows(after, worth):
    """From its own window on to the end of the next, and a little ahead for another gate's clock."""
    nonce = Nonces([KEY]).newest(BEGIN)

    assert Nonces([KEY]).judge(nonce, BEGIN + after) == worth


def test_a_nonce_lasts_for_its_window():
    """All who have the key say the same at the same time, and something else afterwards."""
    gates = [Nonces([KEY]), Nonces([KEY, OLD_KEY])]
    said = {gate.newest(BEGIN + after) for gate in gates for after in (0, WINDOW_S - JUST)}

    assert len(said) == 1
    assert {gates[0].newest(BEGIN + WINDOW_S), gates[0].newest(BEGIN - JUST)}.isdisjoint(said)


def test_a_nonce_is_of_the_characters_that_the_rfc_allows():
    """128 bits, which a header and a JSON text carry as they are (RFC 9449 §8.1)."""
    assert re.fullmatch(r"[A-Za-z0-9_-]{22}", Nonces([KEY]).newest(BEGIN))


def test_every_listed_key_is_good_while_one_takes_over():
    """Those of an older key are good as long as ever, and clients get the newer one's."""
    older = Nonces([OLD_KEY])
    both = Nonces([KEY, OLD_KEY])

    assert both.judge(older.newest(BEGIN), BEGIN) == "ending"
    assert both.judge(older.newest(BEGIN - WINDOW_S), BEGIN) == "ending"
    assert both.judge(older.newest(BEGIN - 2 * WINDOW_S), BEGIN) == "bad"
    assert older.judge(both.newest(BEGIN), BEGIN) == "bad"


@pytest.mark.parametrize(
    "nonce",
    [
        None,
        "",
        Nonces([FOREIGN]).newest(BEGIN),
        Nonces([KEY]).newest(BEGIN) + "=",
        Nonces([KEY]).newest(BEGIN)[:-1],
        Nonces([KEY]).newest(BEGIN) + "A" * 100_000,
        "\N{SNOWMAN}",
        "\ud800",
    ],
    ids=["none", "empty", "foreign", "padded", "short", "long", "snowman", "surrogate"],
)
def test_what_no_gate_has_given_is_bad(nonce):
    """A nonce is taken to the letter or not at all."""
    assert Nonces([KEY]).judge(nonce, BEGIN) == "bad"


def test_without_a_key_there_are_no_nonces():
    """A key that is forgotten is a mistake, not a nonce that everybody knows."""
    with pytest.raises(ValueError, match="key"):
        Nonces([])


def test_what_is_remembered_is_bounded():
    """A year of windows leaves a handful behind, and no key shows."""
    nonces = Nonces([KEY])
    for window in range(1000):
        nonces.judge("x", BEGIN + window * WINDOW_S)

    assert len(nonces._made) < 10
    assert repr(nonces) == "Nonces(1 keys)"
