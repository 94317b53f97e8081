from __future__ import annotations

from hashlib import sha256

import pytest

from proxy.core.revocation import (
    ADOPTED_S,
    MARKERS,
    Believed,
    History,
    RevocationKeys,
    canonical_array,
    digest,
    is_revoked,
    marker_life_s,
    revoked_since,
)

ISSUER = "https://id.example.com/"
NOTHING = (None, None, None, None)


def values_with(marker, value):
    """Return what the store holds when one marker of six is there."""
    values = [None] * len(MARKERS)
    values[MARKERS.index(marker)] = value
    return values


def test_one_text_is_hashed_as_it_is():
    """H of one text is the SHA-256 of its UTF-8 bytes."""
    assert sha256("Zoë".encode()).hexdigest() == digest("Zoë")


def test_several_texts_are_hashed_as_an_array():
    """H of several texts is the SHA-256 of their RFC 8785 array, so that none can bleed over."""
    assert sha256(b'["a","b"]').hexdigest() == digest("a", "b")
    assert digest("a", "b,c") != digest("a,b", "c")
    assert digest('a","b') != digest("a", "b")


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ('quote" back\\', rb'["quote\" back\\"]'),
        ("\b\t\n\f\r", rb'["\b\t\n\f\r"]'),
        ("\x00\x1f\x0b", rb'["\u0000\u001f\u000b"]'),
        ("\x7f/é€😀\u2028", '["\x7f/é€😀\u2028"]'.encode()),
    ],
)
def test_arrays_are_written_as_rfc_8785_says(text, written):
    """Only what must be escaped is, and in the short form where there is one (§3.2.2.2)."""
    assert written == canonical_array([text])


def test_a_lone_surrogate_is_an_odd_name_and_no_error():
    """A hostile claim has a digest of its own like every other."""
    assert digest("\ud800") != digest("\ud801")
    assert digest("\ud800", "x") != digest("\ud801", "x")


def test_keys_are_named_as_the_reference_says():
    """Names are those of reference.md §4, with one hash tag for Cluster."""
    keys = RevocationKeys("latchgate:")

    assert keys.epoch == "latchgate:{revoked}:epoch"
    assert keys.count == "latchgate:{revoked}:count"
    assert keys.all == "latchgate:{revoked}:all"
    assert keys.for_issuer("i") == f"latchgate:{{revoked}}:iss:{digest('i')}"
    assert keys.for_subject("i", "s") == f"latchgate:{{revoked}}:sub:{digest('i', 's')}"
    assert keys.for_jti("i", "j") == f"latchgate:{{revoked}}:jti:{digest('i', 'j')}"
    assert keys.for_session("i", "s") == f"latchgate:{{revoked}}:sid:{digest('i', 's')}"


def test_a_token_asks_for_everything_that_can_revoke_it():
    """All, its issuer, itself, its subject, its session, and the name it is mapped to."""
    keys = RevocationKeys("p:")
    claims = {"sub": "alice", "sid": "s1"}

    assert keys.for_token(ISSUER, {"sub": "alice"}, "j1") == (
        keys.all,
        keys.for_issuer(ISSUER),
        keys.for_jti(ISSUER, "j1"),
        keys.for_subject(ISSUER, "alice"),
    )
    assert keys.for_token(ISSUER, claims, "j1", "a@x.example") == (
        keys.all,
        keys.for_issuer(ISSUER),
        keys.for_jti(ISSUER, "j1"),
        keys.for_subject(ISSUER, "alice"),
        keys.for_session(ISSUER, "s1"),
        keys.for_subject(ISSUER, "a@x.example"),
    )


def test_a_place_without_a_name_asks_nothing_new():
    """A token without sub or sid keeps the order of the markers by asking for `all` again."""
    keys = RevocationKeys("p:")

    assert keys.for_token(ISSUER, {}, "j1")[3] == keys.all
    assert keys.for_token(ISSUER, {"sub": ["alice"], "sid": True}, "j1", "bob")[3:] == (
        keys.all,
        keys.all,
        keys.for_subject(ISSUER, "bob"),
    )


def test_a_numeric_subject_is_revoked_by_its_text():
    """K2 takes a numeric sub as text, so a revocation of "42" reaches it."""
    keys = RevocationKeys("p:")

    assert keys.for_token(ISSUER, {"sub": 42}, "j")[3] == keys.for_subject(ISSUER, "42")


def test_the_mapped_name_is_asked_once():
    """Where the identity's subject is the claim `sub`, there is no second key for it."""
    assert len(RevocationKeys("p:").for_token(ISSUER, {"sub": "alice"}, "j", "alice")) == 4


@pytest.mark.parametrize("marker", ["all", "iss", "sub", "subject"])
@pytest.mark.parametrize(
    ("iat", "is_refused"),
    [(1000, True), (1001, True), (1031, True), (1031.5, False), (1032, False)],
)
def test_r3_a_revocation_refuses_what_was_issued_before_it(marker, iat, is_refused):
    """R3: a revocation at 1000.2 with 30 s of leeway refuses iat up to 1031."""
    expected = marker if is_refused else None

    assert expected == is_revoked(values_with(marker, b"1000.2"), iat, 30)


@pytest.mark.parametrize("marker", ["jti", "sid"])
def test_r3_a_token_or_session_is_over_for_good(marker):
    """R3: one token or one session stays refused whatever iat it claims."""
    assert marker == is_revoked(values_with(marker, b"1000"), 5000, 0)


def test_nothing_in_the_store_revokes_nothing():
    """A token that no marker speaks of is good."""
    assert is_revoked(NOTHING, 1000, 0) is None


@pytest.mark.parametrize(
    "value", [b"", b"soon", b"nan", b"inf", b"-inf", b"1" * 33, b"\xff", b"1_000x", b"0x10"]
)
def test_r3_a_marker_that_is_no_time_refuses(value):
    """R3: a deny-list that cannot be read means no."""
    assert is_revoked(values_with("sub", value), 4e9, 0) == "sub"


@pytest.mark.parametrize("iat", [None, True, "1790000000", [], float("nan")])
def test_r3_a_token_that_does_not_say_when_is_refused_by_any_marker(iat):
    """R3: without a number in iat nothing shows that the token came later."""
    assert is_revoked(values_with("all", b"1000"), iat, 0) == "all"


def test_r3_too_few_answers_refuse():
    """R3: a store that did not answer for every key has not said that the token is good."""
    assert is_revoked((), 1000, 0) == "all"
    assert is_revoked((None, None, None), 1000, 0) == "all"


def test_r3_markers_outlive_every_token_they_refuse():
    """R3: a marker lives max_lifetime and two leeways."""
    assert marker_life_s(86400, 30) == 86460


@pytest.mark.parametrize(
    ("all_at", "is_believed"),
    [(None, False), (b"99.9", False), (b"x", False), (b"100.0", True), (b"107.5", True)],
)
def test_r4_another_history_is_believed_when_everything_was_revoked_since(all_at, is_believed):
    """R4: a deny-list begun anew says nothing of what was revoked before."""
    history = History()
    assert history.is_believed(b"ours", None, now=90.0, mono=0.0)
    assert history.is_believed(b"ours", None, now=100.0, mono=10.0)
    assert is_believed == history.is_believed(b"other", all_at, now=108.0, mono=18.0)


def test_r4_another_history_is_believed_when_the_supervisor_has_seen_to_it():
    """R4: it looks each second; whatever differs from host to host, no worker waits for ever."""
    history = History()
    assert history.is_believed(b"ours", None, now=100.0, mono=0.0)
    assert not history.is_believed(b"other", None, now=101.0, mono=1.0)
    assert not history.is_believed(b"third", None, now=103.0, mono=3.0)
    assert not history.is_believed(b"third", None, now=105.9, mono=2.9 + ADOPTED_S)
    assert history.is_believed(b"third", None, now=106.0, mono=3.0 + ADOPTED_S)
    assert not history.is_believed(b"ours", None, now=107.0, mono=4.0 + ADOPTED_S)


def test_r4_a_history_that_was_told_is_the_first_one_seen():
    """R4: whoever sees a token for the first time does not believe whatever epoch is there then."""
    history = History()
    history.begin(Believed(b"ours", 100.0))
    assert not history.is_believed(b"other", b"99.0", now=200.0, mono=0.0)
    assert history.is_believed(b"ours", None, now=201.0, mono=1.0)


def test_a_loss_that_is_accepted_keeps_nobody_waiting():
    """`on_loss: accept`: nobody revokes everything, so nobody waits for it."""
    history = History(is_strict=False)
    assert history.is_believed(b"ours", None, now=100.0, mono=0.0)
    assert history.is_believed(b"other", None, now=101.0, mono=1.0)


@pytest.mark.parametrize("marker", ["all", "iss", "sub", "subject"])
def test_r6_a_revocation_since_the_beginning_counts(marker):
    """R6: at or after the moment; one before it was for somebody else's tokens."""
    for revoked_at, expected in ((b"100.0", marker), (b"100.5", marker), (b"99.9", None)):
        assert expected == revoked_since(values_with(marker, revoked_at), 100.0)
    assert marker == revoked_since(values_with(marker, b"not a time"), 100.0)


@pytest.mark.parametrize("marker", ["jti", "sid"])
def test_r6_what_names_one_thing_counts_for_good(marker):
    """R6: a family that was ended is over, whenever it is said to have begun."""
    assert marker == revoked_since(values_with(marker, b"1.0"), 100.0)


def test_r6_a_short_answer_is_no_answer():
    """R6: what cannot be read is taken for a revocation."""
    assert revoked_since(NOTHING, 100.0) is None
    assert "all" == revoked_since(NOTHING[:3], 100.0)
