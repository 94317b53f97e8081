"""What an endpoint of the gate's own reads of a request."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.edge.portal import Refused, Visit
from proxy.model import ClientInfo, Peer, RequestView

FORM = b"application/x-www-form-urlencoded"
CLIENT = ClientInfo("192.0.2.1", "https", "a.test", 443, is_trusted_peer=False)


def visit(body=b"", kind=FORM, query=None, headers=()):
    lines = ((b"Content-Type", kind), *headers)
    view = RequestView("POST", b"/_auth/x", lines, Peer(None, None, is_unix=True, is_tls=False))
    return Visit(view, CLIENT, "id", ("_auth", "x"), query, body, 0.0)


def test_a_form_is_read():
    """Names and values are decoded once, as HTML forms encode them."""
    assert {"a": "1 2", "b": "", "c": "é+"} == visit(b"a=1+2&b=&c=%C3%A9%2B").form()


@pytest.mark.parametrize(
    "body", [b"a=1&a=2", b"a", b"a=%ff", b"a=\xc3\xa9", b"a=%00", b"a=%1b[0m", b"&".join([b"a=1"] * 65)]
)  # fmt: skip
def test_a_form_that_could_mean_two_things_is_refused(body):
    """Doubled names, other charsets and control characters are 400, never a guess."""
    with pytest.raises(Refused) as refused:
        visit(body).form()
    assert "bad_request" == refused.value.code


@pytest.mark.parametrize(
    ("body", "kind"),
    [(b"a=1", b"text/plain"), (b'{"a": 1}', b"application/json"), (b"a=1", b"")],
)
def test_what_does_not_say_that_it_is_a_form_is_none(body, kind):
    """A browser can send text/plain across sites; it is never read as a form or as JSON."""
    with pytest.raises(Refused):
        visit(body, kind).form()


def test_two_content_types_are_refused():
    """Nobody can tell which of the two another server would believe."""
    with pytest.raises(Refused):
        visit(b"a=1", headers=[(b"content-type", b"text/plain")]).form()


@pytest.mark.parametrize("body", [b"", b"[]", b'"a"', b'{"a": 1, "a": 2}', b"{", b"\xff"])
def test_json_is_one_object_without_doubled_names(body):
    """Anything else is 400."""
    with pytest.raises(Refused):
        visit(body, b"application/json; charset=utf-8").json()


def test_input_is_a_form_or_json_of_texts():
    """Programs and browsers may send the same fields; numbers and lists are no texts."""
    assert {"a": "b"} == visit(b"a=b").input()
    assert {"a": "b"} == visit(b'{"a": "b"}', b"application/json").input()
    with pytest.raises(Refused):
        visit(b'{"a": 1}', b"application/json").input()


@given(st.binary(max_size=200), st.sampled_from([FORM, b"application/json", b"x"]))
def test_any_body_is_read_or_refused(body, kind):
    """Nothing but `Refused` comes out, and what is read is texts."""
    try:
        fields = visit(body, kind).input()
    except Refused:
        return
    assert all(isinstance(value, str) for value in fields.values())
