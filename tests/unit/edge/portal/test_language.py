"""The languages of the gate's own pages."""

from __future__ import annotations

import re

import pytest

from proxy.edge.portal.language import (
    LANGUAGES,
    catalogue,
    other_language,
    pick_language,
    texts,
)


def test_every_message_is_there_in_every_language():
    """No page has a hole, and each language is given the same things to put in."""
    for name, said in catalogue().items():
        assert set(LANGUAGES) == set(said), name
        assert all(said.values()), name
        assert 1 == len({frozenset(re.findall(r"\{(\w+)\}", text)) for text in said.values()}), name
    assert "로그인" == texts("ko")["login_title"]


@pytest.mark.parametrize(
    ("wanted", "accepted", "language"),
    [
        (None, None, "en"),
        (None, b"ko", "ko"),
        (None, b"ko-KR,ko;q=0.9,en-US;q=0.8,en;q=0.7", "ko"),
        (None, b"en-US,en;q=0.9,ko;q=0.8", "en"),
        (None, b"de, ko;q=0.3", "ko"),
        (None, b"ko;q=0, en", "en"),
        (None, b"ko;q=0", "en"),
        (None, b"fr", "en"),
        (None, b"ko;q=2", "en"),
        (None, b"\xff\x00,,;;ko", "en"),
        (None, b"x," * 100 + b"ko", "en"),
        ("ko", b"en", "ko"),
        ("en", b"ko", "en"),
        ("xx", b"ko", "ko"),
        ("../ko", None, "en"),
    ],
)
def test_a_language_is_chosen(wanted, accepted, language):
    """What was chosen by hand, else the best of what the browser asks for, else English."""
    assert language == pick_language(wanted, accepted)


def test_a_page_offers_the_other_language():
    """From each one gets to the next."""
    assert ["ko", "en"] == [other_language(language) for language in LANGUAGES]
