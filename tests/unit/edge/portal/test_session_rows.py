from __future__ import annotations

import pytest

from proxy.core.formats.native import NativeSession
from proxy.edge.portal.language import LANGUAGES, texts
from proxy.edge.portal.session_rows import ago, document_of, row_of
from proxy.services.session_reading import ListedSession

NOW = 1_800_000_000.0


def listed(**members) -> ListedSession:
    """Make a session that was used five minutes ago."""
    session = NativeSession("ada", NOW - 86_400, NOW + 86_400, **members)
    return ListedSession("a" * 64, session, NOW - 300)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "just now"),
        (59, "just now"),
        (60, "1 min ago"),
        (3599, "59 min ago"),
        (3600, "1 h ago"),
        (47.9 * 3600, "47 h ago"),
        (48 * 3600, "2 d ago"),
        (400 * 86_400, "400 d ago"),
    ],
)
def test_how_long_ago_is_said_in_words(seconds, words):
    """Nobody has to know in which time zone a server is, nor where its clock stands."""
    assert words == ago(seconds, texts("en"))


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        ("Mozilla/5.0 (X11; Linux) Firefox/140.0", "Firefox on Linux"),
        ("curl/8", "curl"),
        ("Mozilla/5.0 (iPad)", "iPad"),
        (None, "Unknown device"),
    ],
)
def test_a_device_is_called_what_people_call_it(agent, words):
    """As much of it as is known."""
    assert words == row_of(listed(agent=agent), texts("en"), NOW, "").device


def test_a_row_marks_the_visitors_own_session():
    """On the page and in JSON, by its id."""
    for current, expected in (("a" * 64, True), ("b" * 64, False), ("", False)):
        assert expected == row_of(listed(), texts("en"), NOW, current).is_current
        assert expected == document_of(listed(), current)["is_current"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_word_of_a_row_is_there_in_every_language(language):
    """Nothing is left to be filled in."""
    row = row_of(listed(agent="Mozilla/5.0 (X11; Linux) Firefox/1"), texts(language), NOW, "")

    assert "{" not in f"{row.device}{row.first_seen}{row.last_seen}"
    assert "2027-01-14T08:00:00Z" == row.created_at


def test_a_time_that_no_calendar_has_breaks_no_page():
    """Any program may write a record; its times are numbers, and nothing more is known."""
    session = NativeSession("ada", 1e300, 1e301)
    row = row_of(ListedSession("a" * 64, session, 1e300), texts("en"), NOW, "")

    assert ("", "signed in just now") == (row.created_at, row.first_seen)


def test_a_session_of_the_stone_age_is_a_number_of_days():
    """A created_at far back is no error either."""
    session = NativeSession("ada", -1e15, 1e301)

    assert row_of(ListedSession("a" * 64, session, NOW), texts("en"), NOW, "").first_seen
