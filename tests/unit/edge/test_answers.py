"""Problem documents: a stable code, and never a word of the request."""

from __future__ import annotations

import json

import pytest

from proxy.codes import CODES
from proxy.edge.answers import problem


@pytest.mark.parametrize("code", sorted(CODES))
def test_every_code_has_its_document(code):
    """RFC 9457: type, title, status, code and request id."""
    status, headers, body = problem(code, "abc")
    told = json.loads(body)

    assert (CODES[code].status, code, "abc", status) == (
        status,
        told["code"],
        told["request_id"],
        told["status"],
    )
    assert (b"Cache-Control", b"no-store") in headers
    assert (status in (429, 503)) == any(name == b"Retry-After" for name, _ in headers)


def test_headers_of_the_refusal_are_added_but_vary_stays_one():
    """The gate's Vary names everything already."""
    _, headers, _ = problem("cross_site", "x", [(b"Vary", b"Origin"), (b"Allow", b"GET")])

    assert sum(name == b"Vary" for name, _ in headers) == 1
    assert (b"Allow", b"GET") in headers
