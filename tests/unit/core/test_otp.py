from __future__ import annotations

from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest

from proxy.core import otp
from proxy.core.otp import OtpRecord

NOW = 1_800_000_015.0
"""In the middle of a step."""
RFC_SECRET = b"12345678901234567890"
RECORD = OtpRecord("ada", RFC_SECRET, since=NOW)


def code(offset_s=0.0):
    """Return what the app shows so many seconds from now."""
    return otp.code_at(RFC_SECRET, NOW + offset_s)


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (59, "287082"),
        (1111111109, "081804"),
        (1111111111, "050471"),
        (1234567890, "005924"),
        (2000000000, "279037"),
        (20000000000, "353130"),
    ],
)
def test_codes_are_those_of_the_rfc(at, expected):
    """The vectors of RFC 6238, appendix B, in the six digits that apps show."""
    assert expected == otp.code_at(RFC_SECRET, at)


@pytest.mark.parametrize(
    ("offset_s", "is_taken"), [(-60, False), (-30, True), (0, True), (30, True), (60, False)]
)
def test_a_code_is_good_within_one_step_of_its_time(offset_s, is_taken):
    """A clock may be off by a step in either direction, and no more."""
    assert is_taken is (otp.spend(RECORD, code(offset_s), NOW) is not None)


def test_s8_a_code_is_taken_once_and_none_before_it():
    """What somebody has looked at over a shoulder is worth nothing after its owner used it."""
    after = otp.spend(RECORD, code(), NOW)

    assert after is not None
    assert otp.spend(after, code(), NOW) is None
    assert otp.spend(after, code(-30), NOW) is None
    assert otp.spend(after, code(30), NOW) is not None


@pytest.mark.parametrize("written", ["{0} {1}", " {0}-{1} "])
def test_a_code_may_be_written_as_apps_show_it(written):
    """Apps put a space into the middle."""
    text = written.format(code()[:3], code()[3:])

    assert otp.spend(RECORD, text, NOW) is not None


@pytest.mark.parametrize(
    "text",
    ["", "0", "1234567", "\uff10" * 6, "12345\u0663", "\x00" * 6, "-" * 6, "a" * 1000, "abcd-efgh"],
)
def test_what_is_no_code_is_refused(text):
    """Other digits, other lengths and control characters are no code, and no error."""
    assert otp.spend(RECORD, text, NOW) is None


def test_a_recovery_code_is_taken_once():
    """Ten of them, each good once, also written in capitals and without dashes."""
    record, codes = otp.new_record("ada", NOW)
    assert len(set(codes)) == 10

    for number, one in enumerate(codes):
        text = one.upper().replace("-", " ") if number % 2 else one.replace("-", "")
        after = otp.spend(record, text, NOW)
        assert after is not None
        assert otp.spend(after, one, NOW) is None
        record = after

    assert record.recovery == ()


def test_digits_that_look_like_letters_are_read_as_these():
    """Base32 has no 0, 1 and 8, so that they can only be o, l and b."""
    record = replace(RECORD, recovery=(otp._recovery_hash("ada", "olbolbolbolbolbo"),))

    assert otp.spend(record, "018o-lb01-8olb-olb0", NOW) is not None


def test_a_recovery_code_of_somebody_else_is_refused():
    """The hash is of the person and the code."""
    record, codes = otp.new_record("ada", NOW)

    assert otp.spend(replace(record, subject="bob"), codes[0], NOW) is None


def test_s10_recovery_codes_are_kept_as_hashes():
    """No code stands in what is stored, in no spelling."""
    record, codes = otp.new_record("ada", NOW)
    stored = otp.encode(record).decode()

    assert not any(one in stored or one.replace("-", "") in stored for one in codes)


def test_new_recovery_codes_end_the_old():
    """The secret stays, and what it has used."""
    record, old = otp.new_record("ada", NOW)
    record = replace(record, used_step=7)
    after, new = otp.with_new_recovery(record)

    assert (after.secret, after.used_step) == (record.secret, 7)
    assert otp.spend(after, old[0], NOW) is None
    assert otp.spend(after, new[0], NOW) is not None


def test_an_app_is_told_who_and_where():
    """The address names site and account, and has the secret; nothing in them adds a parameter."""
    uri = otp.provisioning_uri(RECORD, account="ada&secret=x:y", issuer="Shop & Co")
    split = urlsplit(uri)

    assert ("otpauth", "totp") == (split.scheme, split.netloc)
    assert split.path == "/Shop%20%26%20Co:ada%26secret%3Dx%3Ay"
    assert parse_qs(split.query) == {"secret": [RECORD.base32], "issuer": ["Shop & Co"]}


def test_a_record_is_read_as_it_was_written():
    """Nothing is lost between two workers."""
    record, _ = otp.new_record("ada", NOW)

    assert record == otp.decode(otp.encode(record), "ada")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b"[]",
        otp.encode(RECORD).replace(b'"v":1', b'"v":2'),
        otp.encode(RECORD).replace(b"ada", b"bob"),
        otp.encode(RECORD).replace(b'"recovery":[]', b'"recovery":[1]'),
        otp.encode(RECORD).replace(b'"secret":"', b'"secret":"!'),
        otp.encode(RECORD).replace(b'"step":-1', b'"step":null'),
    ],
)
def test_what_is_no_record_of_this_person_is_refused(raw):
    """Another version, another person, members that are missing or of another kind."""
    with pytest.raises(otp.NoOtpRecord):
        otp.decode(raw, "ada")


def test_a_secret_is_not_shown_by_accident():
    """What is logged of a record is whose it is."""
    assert "12345678" not in repr(RECORD)
