"""Refusals: a stable code, a page or a document, and never a word of the request."""

from __future__ import annotations

import json

import pytest

from proxy.codes import CODES
from proxy.edge.answers import VARY, Answers, problem
from proxy.edge.pages import Pages
from proxy.model import Peer, RequestView

ANSWERS = Answers(Pages("Shop"))
PEER = Peer("127.0.0.1", 4, is_unix=False, is_tls=False)
LOAD = RequestView("GET", b"/x", ((b"Sec-Fetch-Mode", b"navigate"),), PEER)
FETCH = RequestView("GET", b"/x", ((b"Sec-Fetch-Mode", b"cors"),), PEER)


@pytest.mark.parametrize("code", sorted(CODES))
def test_every_code_has_its_document(code):
    """RFC 9457: type, title, status, code and request id."""
    status, headers, body = problem(code, "abc")
    info = CODES[code]

    assert {
        "type": f"urn:latchgate:problem:{code}",
        "title": info.title,
        "status": info.status,
        "code": code,
        "request_id": "abc",
    } == json.loads(body)
    assert info.status == status
    assert b"application/problem+json" == dict(headers)[b"Content-Type"]


@pytest.mark.parametrize("view", [LOAD, FETCH, None])
@pytest.mark.parametrize("code", sorted(CODES))
def test_every_refusal_has_the_headers_of_all(code, view):
    """Never stored, kept apart by what it depends on, with its id; 503 says when to come back."""
    status, headers, _ = ANSWERS.refuse(view, code, "abc")
    found = dict(headers)

    assert CODES[code].status == status
    assert (b"no-store", VARY, b"nosniff", b"abc") == (
        found[b"Cache-Control"],
        found[b"Vary"],
        found[b"X-Content-Type-Options"],
        found[b"X-Request-Id"],
    )
    assert (status in (429, 503)) == (b"Retry-After" in found)


def test_people_get_a_page_and_everybody_else_a_document():
    """One code, one status, two forms; what was no request gets the document."""
    page = ANSWERS.refuse(LOAD, "route_not_found", "abc")
    others = [ANSWERS.refuse(view, "route_not_found", "abc") for view in (FETCH, None)]

    assert page[2].startswith(b"<!DOCTYPE html>")
    assert b"no-referrer" == dict(page[1])[b"Referrer-Policy"]
    assert others == [problem("route_not_found", "abc")] * 2


@pytest.mark.parametrize("view", [LOAD, FETCH])
def test_headers_of_the_refusal_are_added_but_vary_stays_one(view):
    """Challenges, cookies that expire, Allow and CORS are kept; the gate's Vary names everything."""
    extra = [
        (b"Allow", b"GET"),
        (b"WWW-Authenticate", b'Bearer realm="api"'),
        (b"Set-Cookie", b"a=; Max-Age=0"),
        (b"Set-Cookie", b"b=; Max-Age=0"),
        (b"Access-Control-Allow-Origin", b"https://app.example.com"),
    ]
    _, headers, _ = ANSWERS.refuse(view, "cross_site", "x", [(b"Vary", b"Origin"), *extra])

    assert sum(name == b"Vary" for name, _ in headers) == 1
    assert extra == headers[-len(extra) :]
