from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from proxy.config.values import (
    BASE,
    Expanded,
    matching,
    not_empty,
    one_or_many,
    parse_count,
    parse_duration,
    parse_duration_or_zero,
    parse_flag,
    parse_path,
    parse_size,
    parse_text,
    unique,
)

FROM_FILE = SimpleNamespace(context={BASE: Path("/etc/gate")})
BY_HAND = SimpleNamespace(context=None)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("30s", 30.0),
        ("15m", 900.0),
        ("12h", 43_200.0),
        ("7d", 604_800.0),
        ("1.5s", 1.5),
    ],
)
def test_durations_become_seconds(text, seconds):
    """A duration is a number with its unit."""
    assert seconds == parse_duration(text, FROM_FILE)


@pytest.mark.parametrize(
    "value",
    [
        "30", 30, 30.0, True, "", "s", "-1s", "1 s", "1S", "1w", "0s", "1e3s", "\u0661s", "99999999999s",
        "999999999d", None, [], "1s\n", "1m30s",
    ],
)  # fmt: skip
def test_what_is_no_duration_is_refused(value):
    """A duration in a file has its unit and is longer than nothing."""
    with pytest.raises(ValueError, match=r"must be"):
        parse_duration(value, FROM_FILE)


def test_code_may_give_seconds_and_bytes():
    """A model that is built by hand takes what it holds."""
    assert parse_duration(2, BY_HAND) == 2.0
    assert parse_size(1024, BY_HAND) == 1024
    with pytest.raises(ValueError, match="duration"):
        parse_duration(True, BY_HAND)


def test_zero_is_a_duration_only_where_it_means_something():
    """A leeway may be nothing; a timeout may not."""
    assert parse_duration_or_zero("0s", FROM_FILE) == 0.0
    assert parse_duration_or_zero("2s", FROM_FILE) == 2.0
    with pytest.raises(ValueError, match="longer than nothing"):
        parse_duration("0s", FROM_FILE)


@pytest.mark.parametrize(
    ("text", "size"),
    [("512B", 512), ("64KiB", 65_536), ("10MiB", 10 * 2**20), ("1GiB", 2**30), ("2TiB", 2**41)],
)
def test_sizes_become_bytes(text, size):
    """A size is a whole number with its binary unit."""
    assert size == parse_size(text, FROM_FILE)


@pytest.mark.parametrize(
    "value",
    ["64", 64, "64KB", "64kib", "1.5MiB", "-1B", "0B", "", None, "999999999999TiB", "1 MiB", True],
)
def test_what_is_no_size_is_refused(value):
    """Decimal units, fractions and bare numbers are refused: people mean different things by them."""
    with pytest.raises(ValueError, match="must be"):
        parse_size(value, FROM_FILE)


def test_flags_are_booleans_only():
    """Neither `yes` nor "true" in quotes is a boolean; a variable may stand for one."""
    assert parse_flag(True) is True
    assert parse_flag(Expanded("true")) is True
    assert parse_flag(Expanded("false")) is False
    for value in ("yes", "on", "true", "False", 1, 0, None, Expanded("1"), Expanded("TRUE")):
        with pytest.raises(ValueError, match="must be true or false"):
            parse_flag(value)


def test_counts_are_whole_numbers_in_bounds():
    """Neither a boolean nor a number in quotes is a count; a variable may stand for one."""
    assert parse_count(7) == 7
    assert parse_count(Expanded("7")) == 7
    for value in (True, "7", 7.0, 0, -1, 2**31, None, Expanded("seven"), Expanded("9" * 5_000)):
        with pytest.raises(ValueError, match="must be"):
            parse_count(value)


@pytest.mark.parametrize(
    "value", ["", "a\nb", "a\x00", "\x7f", "\x85", "\u2028", "\ud800", 1, 1.5, True, None, [], {}]
)
def test_texts_are_visible(value):
    """A text is not empty and has no control characters, so that a log shows what it is."""
    with pytest.raises(ValueError, match="must"):
        parse_text(value)


def test_an_expanded_text_is_a_plain_one_afterwards():
    """The rest of the program sees ordinary texts only."""
    assert type(parse_text(Expanded("a"))) is str


def test_relative_paths_start_at_the_file():
    """A relative path means the same wherever the gate was started."""
    assert parse_path("tls/key.pem", FROM_FILE) == Path("/etc/gate/tls/key.pem")
    assert parse_path("/tls/key.pem", FROM_FILE) == Path("/tls/key.pem")
    assert parse_path(Path("x"), FROM_FILE) == Path("x")


def test_lists_are_checked_as_a_whole():
    """One item may stand for a list of one; nothing stands twice; empty is said."""
    assert one_or_many("a") == ["a"]
    assert one_or_many(["a"]) == ["a"]
    assert unique(["a", "b"]) == ["a", "b"]
    with pytest.raises(ValueError, match="item 3 repeats"):
        unique(["a", "b", "a"])
    with pytest.raises(ValueError, match="must not be empty"):
        not_empty([])


def test_a_pattern_matches_the_whole_text():
    """A parser made of a pattern looks at the whole text, a final line end included."""
    parse = matching(r"[a-z]+", "must be letters")

    assert parse("abc") == "abc"
    with pytest.raises(ValueError, match="must be letters"):
        parse("abc1")
