"""Request heads: framing is written here alone, and nothing can split them."""

from __future__ import annotations

import pytest

from proxy.adapters.upstreams.request import RequestHead

HOST = (b"Host", b"shop")


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (RequestHead("GET", b"/a?b=%2F", [HOST]), b"GET /a?b=%2F HTTP/1.1\r\nHost: shop\r\n\r\n"),
        (
            RequestHead("POST", b"/", [HOST], body=5),
            b"POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 5\r\n\r\n",
        ),
        (
            RequestHead("POST", b"/", [HOST]),
            b"POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            RequestHead("DELETE", b"/", [HOST], body="chunked"),
            b"DELETE / HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        (
            RequestHead("GET", b"/", [HOST], upgrade=b"websocket"),
            b"GET / HTTP/1.1\r\nHost: shop\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        ),
        (
            RequestHead("GET", b"/", [HOST], takes_trailers=True),
            b"GET / HTTP/1.1\r\nHost: shop\r\nTE: trailers\r\nConnection: TE\r\n\r\n",
        ),
        (
            RequestHead("PUT", b"/", [HOST], body=1, expects_continue=True),
            b"PUT / HTTP/1.1\r\nHost: shop\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n",
        ),
    ],
)
def test_a_head_is_written(head, expected):
    """Headers go as they are, framing follows."""
    assert expected == head.encode()


@pytest.mark.parametrize(
    "head",
    [
        RequestHead("GET", b"/ HTTP/1.1\r\nX: y\r\n\r\nGET /", [HOST]),
        RequestHead("GET", b"/a b", [HOST]),
        RequestHead("GET", b"/\n", [HOST]),
        RequestHead("GET /x", b"/", [HOST]),
        RequestHead("GET", b"/", [HOST, (b"X", b"a\r\nY: b")]),
        RequestHead("GET", b"/", [HOST, (b"X", b"a\nY: b")]),
        RequestHead("GET", b"/", [HOST, (b"X", b"a\rY: b")]),
        RequestHead("GET", b"/", [HOST, (b"X\r\nY", b"a")]),
        RequestHead("GET", b"/", [HOST, (b"X", b"a\0")]),
        RequestHead("GET", b"/", [HOST, (b"Content-Length", b"5")]),
        RequestHead("GET", b"/", [HOST, (b"transfer-encoding", b"chunked")]),
        RequestHead("GET", b"/", [HOST, (b"Connection", b"close")]),
        RequestHead("GET", b"/", [HOST, (b"Upgrade", b"h2c")]),
        RequestHead("GET", b"/", [HOST], upgrade=b"websocket\r\nX: y"),
        RequestHead("GET", b"/", [HOST], upgrade=b"websocket", body=3),
    ],
)
def test_f1_a_head_cannot_be_split_or_framed_by_its_parts(head):
    """A caller's mistake ends here, not in a second request (field.md §3 #39)."""
    with pytest.raises(ValueError, match=r"smuggled|without a body"):
        head.encode()


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (RequestHead("GET", b"/", []), True),
        (RequestHead("DELETE", b"/", []), True),
        (RequestHead("PUT", b"/", [], body=0), True),
        (RequestHead("PUT", b"/", [], body=1), False),
        (RequestHead("GET", b"/", [], body="chunked"), False),
        (RequestHead("POST", b"/", []), False),
        (RequestHead("PATCH", b"/", []), False),
        (RequestHead("GET", b"/", [], upgrade=b"websocket"), False),
    ],
)
def test_f3_only_idempotent_requests_without_body_are_repeatable(head, expected):
    """Everything else is sent once."""
    assert expected == head.is_repeatable
