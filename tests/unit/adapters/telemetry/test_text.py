from __future__ import annotations

import time

import pytest

from proxy.adapters.telemetry.text import clean, clean_path, clip, escape, redact, redact_opaque

TOKEN = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJlLXRoYXQtaXMtbG9uZw"


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain /a%20b ä", "plain /a%20b ä"),
        ("a\nb\r\t", "a\\x0ab\\x0d\\x09"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\x9b31m", "\\x9b31m"),
        ("a\u202eb\u2066", "a\\u202eb\\u2066"),
        ("\u2028 \u200b", "\\u2028 \\u200b"),
        ("\udc80", "\\udc80"),
        ("\U000e0041", "\\U000e0041"),
        ("\\n", "\\\\n"),
    ],
)
def test_s15_control_and_bidi_characters_are_escaped(raw, shown):
    """S15: nothing that moves a cursor or reorders a line reaches the log, and nothing collides."""
    assert shown == escape(raw)
    assert escape(raw).isprintable()


def test_s15_a_path_is_logged_without_its_query_and_without_tokens():
    """S15: a query never reaches the log, nor a token that an application puts into the path."""
    assert "/a" == clean_path("/a?token=secret")
    assert "/reset/[hidden]" == clean_path(f"/reset/{TOKEN}")


@pytest.mark.parametrize(
    "text",
    [
        f"bad token {TOKEN}",
        "Authorization: Basic dXNlcjpzZWNyZXQ=",
        "bearer c2VjcmV0LXNlY3JldA",
        "Cookie: sid=c2VjcmV0",
        "b'Set-Cookie': b'sid=c2VjcmV0'",
        "redis://user:c2VjcmV0@host/0",
        "https://id.example.com/jwks?key=c2VjcmV0",
    ],
)
def test_s15_what_looks_like_a_credential_is_hidden(text):
    """S15: a credential that slips into a message does not reach the log."""
    shown = redact(text)
    assert "[hidden]" in shown
    assert "c2VjcmV0" not in shown
    assert "dXNlcj" not in shown
    assert "eyJ" not in shown


def test_s15_foreign_messages_lose_every_long_opaque_run():
    """S15: a session id that an exception quotes has no form, but it is long and has digits."""
    shown = redact_opaque("KeyError: 'vK3xQ9pLmZ0aB7cD5eF1gH2iJ4kL6mN8'")
    assert "KeyError: '[hidden]'" == shown
    assert "connection_lost_before_it_began" == redact_opaque("connection_lost_before_it_began")


def test_long_text_is_clipped_with_a_mark():
    """A value stays within its bound, and one sees that something is missing."""
    assert "abc…" == clip("abcdef", 4)
    assert "abcd" == clip("abcd", 4)


@pytest.mark.parametrize("unit", ["eyJ", "eyJa.", "://", "a" * 30, "a+://", "cookie ", "-eyJ"])
def test_hostile_text_costs_little(unit):
    """No text makes the expressions slow: each is bounded by the clip and has no nested choice."""
    text = unit * 20_000
    begin = time.perf_counter()
    clean(text)
    clean_path(text)
    redact_opaque(clip(text))
    assert time.perf_counter() - begin < 0.5
