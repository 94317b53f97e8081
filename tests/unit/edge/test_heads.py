"""Response heads as bytes."""

from __future__ import annotations

import pytest

from proxy.edge.heads import connection_header, may_have_body, own_response, response_head


def test_a_head_is_what_goes_on_the_wire():
    """Status line with the usual phrase or the server's own, fields in order, an empty line."""
    assert response_head(404, [(b"A", b"1"), (b"A", b"2")]) == (
        b"HTTP/1.1 404 Not Found\r\nA: 1\r\nA: 2\r\n\r\n"
    )
    assert response_head(299, [], reason=b"Odd") == b"HTTP/1.1 299 Odd\r\n\r\n"


@pytest.mark.parametrize(
    ("method", "status", "expected"),
    [("GET", 200, True), ("HEAD", 200, False), ("GET", 204, False), ("GET", 304, False)],
)
def test_which_answers_have_a_body(method, status, expected):
    """RFC 9110 §6.4.1."""
    assert may_have_body(method, status) is expected


def test_the_connection_header_says_only_what_is_not_the_default():
    """HTTP/1.1 keeps alive by default, HTTP/1.0 does not."""
    assert connection_header((1, 1), keeps_alive=True) == ()
    assert connection_header((1, 0), keeps_alive=True) == ((b"Connection", b"keep-alive"),)
    assert connection_header((1, 1), keeps_alive=False) == ((b"Connection", b"close"),)


def test_an_answer_to_head_has_the_length_and_no_body():
    """The head is the one that GET would get."""
    answer = own_response(200, [], b"abc", method="HEAD", version=(1, 1), keeps_alive=True)

    assert b"Content-Length: 3\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")
