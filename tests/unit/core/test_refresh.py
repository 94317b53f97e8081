"""What a presented refresh token means (S7, S9)."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from proxy.core.refresh import (
    MARK,
    MAX_REPEATS,
    Family,
    Holder,
    Presented,
    new_family,
    read_token,
    successor,
)

NOW = 1_800_000_000.0
ANN = Holder(
    "ann",
    email="ann@example.com",
    name="Ann Ü",
    roles=("admin",),
    scopes=("read", "write"),
    claims={"tenant": "acme"},
    auth_time=int(NOW) - 60,
    amr=("pwd", "otp"),
)
FIRST = new_family()
SECOND = successor(FIRST)
FAMILY = Family(
    holder=ANN,
    client="spa",
    begun_at=int(NOW),
    expires_at=int(NOW) + 1000,
    current=FIRST.digest,
)
ROTATED = FAMILY.rotated(SECOND.digest, NOW + 1)


def meaning(family, token, *, now=NOW + 2, client="spa", jkt=None, grace_s=10.0):
    return family.meaning(Presented(token.digest, client, jkt), now=now, grace_s=grace_s)


def test_a_token_is_opaque_and_names_its_family():
    """256 random bits behind a handle; the family's name tells nothing of either."""
    assert FIRST.text.startswith(MARK)
    assert len(MARK) + 64 == len(FIRST.text)
    assert FIRST.family == SECOND.family
    assert FIRST.text != SECOND.text
    assert FIRST.family not in FIRST.text
    assert new_family().family != FIRST.family
    assert read_token(FIRST.text) == FIRST
    assert FIRST.text not in repr(FIRST)


@pytest.mark.parametrize(
    "text",
    [
        *("", MARK, "a.b.c", FIRST.text[1:], FIRST.text + "A", FIRST.text[:-1], FIRST.text + "="),
        *(f"{MARK}{'A' * 63}", f"{MARK}{'A' * 63}ü", f"{MARK}{'+' * 64}", FIRST.text.upper()),
    ],
    ids=range(11),  # the texts are random, and every process must call its cases alike
)
def test_what_is_no_refresh_token_is_not_read_as_one(text):
    """Each token has one spelling, and nothing else has any."""
    assert read_token(text) is None


def test_s9_only_the_current_token_rotates():
    """S9: the one that was told last is good; the one before it gets its answer again."""
    assert meaning(FAMILY, FIRST) == "current"
    assert meaning(ROTATED, SECOND) == "current"
    assert meaning(ROTATED, FIRST) == "repeat"


def test_s9_the_grace_ends_with_its_time():
    """S9: from `reuse_grace` on a spent token is a stolen one."""
    assert meaning(ROTATED, FIRST, now=NOW + 10.9) == "repeat"
    assert meaning(ROTATED, FIRST, now=NOW + 11) == "reused"
    assert meaning(ROTATED, FIRST, grace_s=0.0) == "reused"


def test_s9_the_grace_ends_when_the_successor_is_used():
    """S9: whoever used it has had the answer, so that nobody needs it again."""
    third = successor(SECOND)
    again = ROTATED.rotated(third.digest, NOW + 2)

    assert meaning(again, FIRST) == "reused"
    assert meaning(again, SECOND) == "repeat"


def test_s9_an_answer_is_told_again_ten_times():
    """S9: tabs of one browser, not a loop."""
    family = ROTATED
    for _ in range(MAX_REPEATS):
        assert meaning(family, FIRST) == "repeat"
        family = family.repeated()

    assert meaning(family, FIRST) == "reused"
    assert meaning(family.rotated(FIRST.digest, NOW + 3), SECOND) == "repeat"


@pytest.mark.parametrize("token", [FIRST, SECOND])
def test_s9_another_client_or_key_is_a_thief(token):
    """S9: a token in other hands than those that it was told to ends the family, spent or not."""
    bound = replace(ROTATED, jkt="key")

    assert meaning(ROTATED, token, client="other") == "reused"
    assert meaning(ROTATED, token, jkt="key") != "reused"
    assert meaning(bound, token) == "reused"
    assert meaning(bound, token, jkt="other") == "reused"
    assert meaning(bound, token, jkt="key") != "reused"


def test_s9_a_strangers_secret_is_a_thief():
    """S9: whoever knows the handle had a token of the family once."""
    assert meaning(ROTATED, successor(FIRST)) == "reused"


def test_a_family_has_an_absolute_end():
    """No use moves it."""
    assert meaning(ROTATED, SECOND, now=NOW + 999.9) == "current"
    assert meaning(ROTATED, SECOND, now=NOW + 1000) == "over"
    assert ROTATED.expires_at == FAMILY.expires_at


def test_s7_a_use_copies_who_it_is():
    """S7: `auth_time` and `amr` stay those of the login."""
    assert ROTATED.holder == ANN


def test_a_record_says_what_the_family_is():
    """What is written is read again; no token can be made of it (S10)."""
    for family in (
        FAMILY,
        ROTATED,
        replace(ROTATED, jkt="key"),
        replace(FAMILY, holder=Holder("a")),
    ):
        assert Family.decode(family.encode()) == family
    assert FIRST.text.encode() not in ROTATED.encode()
    assert SECOND.text.encode() not in ROTATED.encode()


@pytest.mark.parametrize(
    "change",
    [{"v": 2}, {"current": None}, {"roles": [1]}, {"expires_at": "x"}, {"amr": ...}, {"jkt": 1}],
)
def test_another_record_is_refused(change):
    """What a later version or another hand has written is not guessed at."""
    members = {k: v for k, v in (json.loads(FAMILY.encode()) | change).items() if v is not ...}

    with pytest.raises(ValueError, match="record"):
        Family.decode(json.dumps(members).encode())


def test_s7_a_code_is_wanted_by_the_rule():
    """S7: at each use, from another place, or so long after the last real factor."""
    family = replace(FAMILY, place="here")
    wants = family.wants_code

    assert [False, True] == [wants(rule, "there", NOW) for rule in ("never", "always")]
    assert [False, True, True] == [wants("new_client", at, NOW) for at in ("here", "there", None)]
    assert [False, True] == [wants(120.0, "here", NOW + after) for after in (59, 60)]
    nameless = replace(family, holder=Holder("ann"))
    assert [False, True] == [
        nameless.wants_code(120.0, "here", NOW + after) for after in (119, 120)
    ]


def test_s7_a_code_is_a_real_factor():
    """S7: its time and way are those of the login from then on."""
    proved = FAMILY.proved_code(NOW + 5.5)

    assert (int(NOW) + 5, ("pwd", "otp", "mfa")) == (proved.holder.auth_time, proved.holder.amr)
    assert ("otp",) == replace(FAMILY, holder=Holder("a")).proved_code(NOW).holder.amr
