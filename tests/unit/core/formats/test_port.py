from __future__ import annotations

import json
import tracemalloc

import pytest

from proxy.core.formats.port import (
    MAX_RECORD_BYTES,
    Format,
    Reading,
    digest_of,
    identity_of,
    open_record,
    weight_of,
)
from proxy.core.formats.refusal import BadSession
from proxy.core.mapping import compile_mapping
from proxy.model import Absent, Identity

READER = compile_mapping(subject="sub", email=None, name=None, roles=None, scopes=None)


def refuse(_record, _rest):
    raise BadSession("not one of ours")


def form(read, **options):
    return Format("x", "x:", bytes.decode, read, **options)


@pytest.mark.parametrize(
    ("read", "record", "outcome"),
    [
        (lambda _record, _rest: Reading({"sub": "ada"}), b"r", "ada"),
        (lambda _record, rest: Reading({"sub": rest}), b"r", "abc"),
        (lambda _record, _rest: Reading({}), b"r", "the record names nobody"),
        (lambda _record, _rest: None, b"r", "no such session"),
        (lambda _record, _rest: Reading({"sub": "ada"}), None, "no such session"),
        (refuse, b"r", "record cannot be read: not one of ours"),
    ],
    ids=["named", "by its key", "anonymous", "ended", "missing", "refused"],
)
def test_a_record_is_an_identity_or_absent(read, record, outcome):
    """S12: only a record that names somebody is an identity; the reason is for the log."""
    told, _ = open_record(form(read), record, "abc", READER, scheme="x")
    assert outcome == (told.subject if isinstance(told, Identity) else told.detail)


def test_s12_a_huge_record_is_not_read():
    """S12: beyond the bound no reader sees it, in one string or in the fields of a hash."""
    for record in (b"x" * (MAX_RECORD_BYTES + 1), {"a": b"x" * MAX_RECORD_BYTES, "b": b"x"}):
        told, reading = open_record(form(pytest.fail), record, "abc", READER, scheme="x")
        assert isinstance(told, Absent)
        assert reading is None


@pytest.mark.parametrize("subject", [None, "", "  ", True, [], {"id": 1}, 1.5])
def test_s12_a_session_that_names_nobody_is_anonymous(subject):
    """S12: existing is not being somebody; only text and whole numbers name anybody."""
    assert isinstance(identity_of({"sub": subject}, READER, scheme="x"), Absent)


def test_equal_digests_mean_equal_parts():
    """What stands where counts, and that something is missing."""
    lists = [[b"ab", b"c"], [b"a", b"bc"], [b"abc"], [b"abc", None], [None, b"abc"], [b"abc", b""]]
    assert len(lists) == len({digest_of(parts) for parts in lists})
    assert digest_of([b"a", None]) == digest_of([b"a", None])


def test_weight_counts_what_occurs_twice_once():
    """A record that refers to itself, or to one part many times, has a finite weight."""
    shared = ["x" * 100]
    members = {"a": shared, "b": shared}
    for _ in range(64):
        members = {"a": members, "b": members}
    members["self"] = members
    assert 100 < weight_of(members) < 100_000
    assert weight_of({"a": list(range(1000))}) > 64_000


@pytest.mark.parametrize("letter", ["a", "é", "好", "😀"])
def test_s12_a_text_weighs_what_it_takes_in_memory(letter):
    """S12: whoever puts one emoji into a long text must not have four times the room."""
    raw = json.dumps({"sub": "ada", letter * 1000: [letter + "x" * 200_000 for _ in range(4)]})
    tracemalloc.start()
    try:
        members = json.loads(raw)
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert taken <= weight_of(members) < 1.1 * taken + 5000
