"""Answers of the gate's own endpoints."""

from __future__ import annotations

from proxy.edge.portal import Refused, json_reply, redirect


def test_every_answer_is_for_one_person_only():
    """Nothing between may keep it, and no other site learns where it came from."""
    names = dict(json_reply({"a": "é"}).lines())
    assert b"no-store" == names[b"Cache-Control"]
    assert b"no-referrer" == names[b"Referrer-Policy"]
    assert b"Cookie" in names[b"Vary"]


def test_an_endpoint_may_say_a_common_header_otherwise():
    """A header of its own takes the place of the common one."""
    lines = json_reply({}, headers=[(b"cache-control", b"private")]).lines()
    assert [b"private"] == [value for name, value in lines if name.lower() == b"cache-control"]


def test_a_redirect_is_followed_by_a_get():
    """303 (RFC 9110 §15.4.4): a form is never sent twice."""
    reply = redirect("/account?a=b", subject="ada")
    assert (303, b"/account?a=b", "ada") == (
        reply.status,
        dict(reply.headers)[b"Location"],
        reply.subject,
    )


def test_a_refusal_has_the_status_of_its_code():
    """The code alone says what the client sees; the detail is for the log."""
    assert 401 == Refused("session_unknown", "no such session").status
