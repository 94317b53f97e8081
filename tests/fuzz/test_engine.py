"""The engine finds what is there to be found; without that its silence would mean nothing."""

from __future__ import annotations

import re

from tests.fuzz import engine


def test_the_same_seed_gives_the_same_inputs():
    """A finding can be made again."""
    makers = [engine.Mutator([b"GET / HTTP/1.1", b"x"], [b"word"], 7) for _ in range(2)]

    assert [makers[0].make() for _ in range(200)] == [makers[1].make() for _ in range(200)]


def test_inputs_differ_and_are_bounded():
    """Mutations neither repeat one input for ever nor grow without end."""
    maker = engine.Mutator([b"a" * engine.MAX_BYTES], [b"word" * 100], 1)
    made = [maker.make() for _ in range(300)]

    assert len(set(made)) > 200
    assert max(map(len, made)) <= engine.MAX_BYTES


def test_a_crash_is_found_and_the_run_goes_on():
    """Its shortest input is kept, once for each place in the code."""

    def one_input(data):
        if b"evil" in data:
            raise KeyError(data)

    account = engine.run(one_input, [b"good seed"], words=[b"evil"], inputs=3000)

    assert 3000 == account.inputs
    assert 1 == len(account.crashes)
    assert b"evil" in next(iter(account.crashes.values()))


def test_a_hang_is_found():
    """A loop without end and a pattern that backtracks without end are both interrupted."""

    def loop(_data):
        while True:
            pass

    def backtrack(_data):
        re.fullmatch(r"(a|aa)+b", "a" * 60)

    for one_input in (loop, backtrack):
        account = engine.run(one_input, [b"x"], inputs=1)

        assert ["Hang"] == [place.split()[0] for place in account.crashes]


def test_a_run_ends_in_time():
    """Seconds bound it where inputs do not."""
    account = engine.run(lambda _data: None, [b"x"], seconds=0.05)

    assert account.inputs > 0
    assert {} == account.crashes
