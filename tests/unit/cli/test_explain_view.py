from __future__ import annotations

import json
from pathlib import Path

from proxy.cli.explain_view import describe_match, lines, say_explanation

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "explain.json").read_text())


def told(found, problem=None):
    return [(label, text) for label, text, _ in lines("the file", found, problem)]


def test_a_refusal_is_told_in_the_order_of_the_request():
    """Request, route and why, schemes, checks, decision, and what the client hears."""
    assert [
        ("request", "GET https://shop.example.com/admin/a from 192.0.2.1"),
        ("configuration", "the file"),
        ("route", "admin: any method */admin/**; auth: api, web"),
        (
            "because",
            (
                "of the routes without a host, because no route names this one,"
                " no more specific path matches"
            ),
        ),
        (
            "not",
            (
                "all: any method */**; matches too, but is more general: segment 1 is ** there and"
                " admin in the route that wins"
            ),
        ),
        ("scheme api", "absent: the request carries none for it"),
        (
            "scheme web",
            "authenticated by cookie __Host-sid: ada of https://shop.example.com; roles user",
        ),
        ("cross-site", "passed"),
        ("require", "refused: role_missing; has user, the route wants one of the roles admin"),
        ("decision", "403 role_missing (has user, the route wants one of the roles admin)"),
        ("a client is told", "You do not have a role that opens this."),
    ] == told(GOLDEN)


def test_an_outage_is_told_before_the_decision():
    """The store is named as the reason."""
    assert ("store", "no answer") in told(GOLDEN, "no answer")


def test_what_people_see_cannot_move_the_cursor(capsys):
    """A name from a store or a URL is escaped; a pipe has no colours and no folds."""
    found = json.loads(json.dumps(GOLDEN))
    found["request"]["target"] = "/\x1b[2J" + "a" * 300
    say_explanation("the file", found, None)
    shown = capsys.readouterr().out

    assert "\x1b" not in shown
    assert "a" * 300 in shown


def test_a_match_is_one_word_after_the_other():
    """As the gate's start says it."""
    match = {"methods": ["GET", "POST"], "host": "a.test", "path": "/b/**"}

    assert "GET,POST a.test/b/**" == describe_match(match)


def test_what_is_only_reported_says_both(capsys):
    """That the request passes, until when, and what it would be told otherwise."""
    found = json.loads(json.dumps(GOLDEN))
    found["route"]["mode"] = {"report": {"until": "2027-01-31"}}
    found["reported"] = {"status": 403, "code": "role_missing", "detail": "has user"}
    found["answer"] = None
    say_explanation("the file", found, None)
    shown = capsys.readouterr().out

    assert "report until the end of 2027-01-31 (UTC)" in shown
    assert "let through, in report mode" in shown
    assert "it would be 403 role_missing (has user)" in shown
