from __future__ import annotations

import json

import pytest

from proxy.core.formats.native import NativeSession, encode, read
from proxy.core.session_search import EVERY, MAX_TEXT, Search


def session(subject="alice", **members) -> NativeSession:
    """Make a session."""
    return NativeSession(subject=subject, created_at=1, expires_at=2, **members)


def test_everything_matches_a_search_for_nothing():
    """Without a question every session is an answer, also one that says nothing of its client."""
    assert EVERY.matches(session())
    assert EVERY.may_match(b"")
    assert EVERY.is_everything
    assert not Search(agent="x").is_everything


@pytest.mark.parametrize("subject", ["alic", "Alice", "alice ", "lice"])
def test_a_subject_is_matched_whole(subject):
    """Who is ended by name is exactly the one who was named."""
    assert Search(subject="alice").matches(session())
    assert not Search(subject=subject).matches(session())


@pytest.mark.parametrize(
    ("asked", "address", "expected"),
    [
        ("192.0.2.7", "192.0.2.7", True),
        ("192.0.2.7", "192.0.2.70", False),
        ("192.0.2.0/24", "192.0.2.70", True),
        ("192.0.2.1/24", "192.0.2.70", True),
        ("192.0.2.0/24", "192.0.3.1", False),
        ("2001:db8::/32", "2001:db8:0::1", True),
        ("2001:DB8::1", "2001:db8:0:0::1", True),
        ("::/0", "192.0.2.7", False),
        ("0.0.0.0/0", "nowhere", False),
        ("0.0.0.0/0", None, False),
    ],
)
def test_addresses_are_matched_as_addresses(asked, address, expected):
    """A network holds its addresses, however they are spelt; a text that is none is in no network."""
    assert expected == Search(address=asked).matches(session(address=address))


def test_a_part_of_the_agent_is_enough():
    """People look for Firefox, not for all that it says of itself."""
    found = session(agent="Mozilla/5.0 (X11) Firefox/140.0")

    assert Search(agent="firefox").matches(found)
    assert not Search(agent="chrome").matches(found)
    assert not Search(agent="x").matches(session())


def test_all_that_is_asked_must_hold():
    """Questions narrow each other down."""
    found = session(agent="curl", address="192.0.2.7")

    assert Search("alice", "192.0.2.7", "curl").matches(found)
    assert not Search("bob", "192.0.2.7", "curl").matches(found)


@pytest.mark.parametrize(
    "members",
    [
        {"address": "localhost"},
        {"address": ""},
        {"address": "10.0.0.0/33"},
        {"agent": ""},
        {"agent": "x" * (MAX_TEXT + 1)},
    ],
)
def test_what_can_match_nothing_is_a_mistake(members):
    """A mistyped network does not look like an empty list."""
    with pytest.raises(ValueError, match=next(iter(members))):
        Search(**members)


@pytest.mark.parametrize("subject", ["alice", "jürgen", 'a"b', "a\\b", "7", "\u202e", "tab\t"])
def test_a_record_that_is_passed_over_could_not_match(subject):
    """Looking at the bytes first changes no answer, however the record is written."""
    search = Search(subject=subject)
    for other in (subject, "somebody", "ALICE"):
        for record in (
            encode(session(other)),
            json.dumps({"v": 1, "sub": other, "created_at": 1, "expires_at": 2}).encode(),
        ):
            assert search.may_match(record) or not search.matches(read(record))


def test_a_number_is_found_by_its_digits():
    """A record may name its subject by a whole number."""
    record = b'{"v":1,"sub":-70,"created_at":1,"expires_at":2}'

    assert Search("-70").may_match(record)
    assert Search("-70").matches(read(record))
    assert not Search("71").may_match(record)
