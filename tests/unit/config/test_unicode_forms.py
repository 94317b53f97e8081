"""Normal forms, and what nobody can make of them."""

from __future__ import annotations

import sys
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.unicode_forms import LONGEST_RUN, normalized
from proxy.config.user_models import MAX_NAME, normal_name
from proxy.core.paths import fold, readings

ACUTE, TILDE, TIBETAN, KATAKANA = "\u0301", "\u0334", "\u0f73", "\uff9e"


@pytest.mark.parametrize("pair", [ACUTE + TILDE, TIBETAN + TIBETAN, KATAKANA + ACUTE])
def test_s8_no_text_takes_the_square_of_its_length(pair):
    """S8: a name, and a path, of nothing but marks costs no more than any other, however they stand."""
    first, last = sorted(pair, key=unicodedata.combining, reverse=True)
    for text in ("a" + pair * 16_000, "a" + first * 16_000 + last * 16_000):
        begun = time.process_time()
        normalized("NFC", text)
        normalized("NFKC", text)
        normal_name(text)
        fold(text[:2700].encode())
        assert readings(b"/" + text[:2700].encode())
        assert time.process_time() - begun < 0.25


def test_what_begins_with_a_mark_is_one_when_it_is_taken_apart():
    """On this the search for long runs rests: where there is a letter in it, the letter comes first."""
    for code in range(sys.maxunicode + 1):
        apart = unicodedata.normalize("NFKD", chr(code))
        if unicodedata.combining(apart[0]):
            assert all(map(unicodedata.combining, apart))
            assert code >= 0x300


@given(st.text(max_size=200))
def test_a_text_is_normal_or_as_it_was(text):
    """Nothing else comes out, and what does is stable."""
    for form in ("NFC", "NFKC"):
        found = normalized(form, text)
        assert found in (text, unicodedata.normalize(form, text))
        assert found == normalized(form, found)


@pytest.mark.parametrize(
    "text",
    ["e" + ACUTE * LONGEST_RUN, "한국어 " * 99, "한" * 99, ("a" + ACUTE + "\u0323") * 99, "ﬁ" * 99],
)
def test_what_people_write_is_put_into_its_form(text):
    """Long texts of scripts without spaces, and letters with two marks, are nothing odd."""
    for form in ("NFC", "NFKC"):
        assert unicodedata.normalize(form, text) == normalized(form, text)


def test_a_name_longer_than_any_is_left_alone():
    """Nobody is called so; it is compared as it came."""
    long = "e" + ACUTE
    assert "é" * MAX_NAME == normal_name(long * MAX_NAME)
    assert long * 3 * MAX_NAME == normal_name(long * 3 * MAX_NAME)
