from __future__ import annotations

import pytest

from proxy.cli import session_list


def make(gate, subject, count):
    """Make sessions; return their ids."""
    return {gate.json("session", "new", "--subject", subject)["id"] for _ in range(count)}


def test_pages_follow_each_other_to_the_end(gate):
    """With --limit a page names the place of the next one; together they are the whole list."""
    made = make(gate, "alice", 5) | make(gate, "bob", 2)
    found, options = [], []
    while True:
        page = gate.json("session", "list", "--limit", "3", *options)
        found += [item["id"] for item in page["sessions"]]
        if page["next"] is None:
            break
        options = ["--after", page["next"]]

    assert made == set(found)
    assert len(made) == len(found)


def test_a_person_is_told_how_to_see_more(gate):
    """The place stands on standard error, so that the table stays a table."""
    make(gate, "alice", 3)
    result = gate.run("session", "list", "--limit", "2", "--subject", "alice")

    assert 3 == len(result.stdout.splitlines())
    assert "more: --after " in result.stderr


def test_a_long_list_is_cut_for_people_and_whole_for_programs(gate, monkeypatch):
    """A terminal gets the newest and is told how many there are; a program gets all."""
    monkeypatch.setattr(session_list, "MAX_SHOWN", 2)
    made = make(gate, "alice", 5)
    result = gate.run("session", "list")

    assert made == {item["id"] for item in gate.json("session", "list")}
    assert 3 == len(result.stdout.splitlines())
    assert "the newest 2 of 5: search, or page with --limit" in result.stderr


def test_what_is_looked_for_narrows_the_list(gate):
    """A session that names no client is found by subject and by no address or agent."""
    make(gate, "alice", 1)

    assert 1 == len(gate.json("session", "list", "--subject", "alice"))
    assert [] == gate.json("session", "list", "--address", "0.0.0.0/0")
    assert [] == gate.json("session", "list", "--agent", "curl")


@pytest.mark.parametrize(
    "arguments", [["--address", "nowhere"], ["--agent", ""], ["--limit", "0"], ["--after", "x y"]]
)
def test_a_mistake_is_status_2(gate, arguments):
    """A mistyped network or place is said, and no empty list."""
    assert 2 == gate.run("session", "list", *arguments).exit_code
