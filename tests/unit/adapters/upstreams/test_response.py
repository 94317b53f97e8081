"""Response heads: what is read, and what is refused although httptools would read it (F1)."""

from __future__ import annotations

import httptools
import pytest

from proxy.adapters.upstreams.response import MAX_HEAD, check_beginning, read_head
from proxy.errors import UpstreamInvalid

OK = b"HTTP/1.1 200 OK\r\n"

REFUSED = {
    "bare LF everywhere": b"HTTP/1.1 200 OK\nContent-Length: 2\n\n",
    "bare LF after a field": OK + b"A: b\nContent-Length: 2\r\n\r\n",
    "bare LF after the status line": b"HTTP/1.1 200 OK\nA: b\r\n\r\n",
    "bare CR in a value": OK + b"A: b\rContent-Length: 3\r\n\r\n",
    "obs-fold": OK + b"A: b\r\n c\r\n\r\n",
    "obs-fold before the first field": OK + b" A: b\r\n\r\n",
    "folded Transfer-Encoding": OK + b"Transfer-Encoding:\r\n chunked\r\n\r\n",
    "space before the colon": OK + b"Content-Length : 2\r\n\r\n",
    "tab before the colon": OK + b"Content-Length\t: 2\r\n\r\n",
    "no colon": OK + b"Foo\r\n\r\n",
    "no name": OK + b": x\r\n\r\n",
    "NUL in a value": OK + b"A: b\0c\r\n\r\n",
    "control character in a value": OK + b"A: b\x01c\r\n\r\n",
    "NUL in a name": OK + b"A\0: b\r\n\r\n",
    "non-ASCII in a name": OK + b"A\xe9: b\r\n\r\n",
    "length and coding": OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
    "coding and length": OK + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n",
    "two equal lengths": OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n",
    "two lengths": OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n",
    "list of lengths": OK + b"Content-Length: 2, 2\r\n\r\n",
    "signed length": OK + b"Content-Length: +2\r\n\r\n",
    "negative length": OK + b"Content-Length: -2\r\n\r\n",
    "empty length": OK + b"Content-Length:\r\n\r\n",
    "hexadecimal length": OK + b"Content-Length: 0x2\r\n\r\n",
    "length beyond 64 bits": OK + b"Content-Length: 18446744073709551616\r\n\r\n",
    "length of 19 digits": OK + b"Content-Length: 1000000000000000000\r\n\r\n",
    "another coding": OK + b"Transfer-Encoding: gzip\r\n\r\n",
    "two codings": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
    "chunked is not last": OK + b"Transfer-Encoding: chunked, gzip\r\n\r\n",
    "chunked with a parameter": OK + b"Transfer-Encoding: chunked;x\r\n\r\n",
    "almost chunked": OK + b"Transfer-Encoding: xchunked\r\n\r\n",
    "chunked twice": OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    "identity": OK + b"Transfer-Encoding: identity\r\n\r\n",
    "empty coding": OK + b"Transfer-Encoding:\r\n\r\n",
    "chunked in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "HTTP/0.9": b"HTTP/0.9 200 OK\r\n\r\n",
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\n\r\n",
    "HTTP/1.2": b"HTTP/1.2 200 OK\r\n\r\n",
    "lower case": b"http/1.1 200 OK\r\n\r\n",
    "RTSP": b"RTSP/1.0 200 OK\r\n\r\n",
    "ICE": b"ICE/1.0 200 OK\r\n\r\n",
    "status 000": b"HTTP/1.1 000 X\r\n\r\n",
    "status 099": b"HTTP/1.1 099 X\r\n\r\n",
    "status 600": b"HTTP/1.1 600 X\r\n\r\n",
    "status of four digits": b"HTTP/1.1 2000 X\r\n\r\n",
    "status of two digits": b"HTTP/1.1 20 X\r\n\r\n",
    "two spaces before the status": b"HTTP/1.1  200 OK\r\n\r\n",
    "control character in the reason": b"HTTP/1.1 200 O\x01K\r\n\r\n",
    "NUL in the reason": b"HTTP/1.1 200 O\0K\r\n\r\n",
    "empty line before": b"\r\n" + OK + b"\r\n",
    "junk before": b"x" + OK + b"\r\n",
    "1xx with a length": b"HTTP/1.1 103 X\r\nContent-Length: 2\r\n\r\n",
    "1xx with a coding": b"HTTP/1.1 100 X\r\nTransfer-Encoding: chunked\r\n\r\n",
    "101 with a length": b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: x\r\n"
    b"Content-Length: 2\r\n\r\n",
    "101 without Upgrade": b"HTTP/1.1 101 X\r\n\r\n",
    "too large": OK + b"A: " + b"x" * MAX_HEAD + b"\r\n\r\n",
}


@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED.keys())
def test_f1_what_is_ambiguous_is_refused(raw):
    """Anything that two parsers could read differently is not a head (field.md §3 #39)."""
    with pytest.raises(UpstreamInvalid):
        read_head(raw)


def test_a_head_is_read_as_it_came():
    """Names, values, order and duplicates stay; white space around values goes."""
    found = read_head(
        b"HTTP/1.1 404 Not here\xe9\r\nSet-Cookie: a=1\r\nset-cookie:b=2 \t\r\nX:\r\nY: \xff\r\n\r\n"
    )

    assert 404 == found.head.status
    assert b"Not here\xe9" == found.head.reason
    assert (1, 1) == found.head.version
    assert [(b"Set-Cookie", b"a=1"), (b"set-cookie", b"b=2"), (b"X", b""), (b"Y", b"\xff")] == (
        found.head.headers
    )
    assert (None, False, True) == (found.length, found.is_chunked, found.is_persistent)


@pytest.mark.parametrize("line", [b"HTTP/1.1 200 \r\n", b"HTTP/1.1 200\r\n"])
def test_a_reason_may_be_missing(line):
    """Node and others send none."""
    assert b"" == read_head(line + b"\r\n").head.reason


def test_framing_is_told():
    """Length and chunked are found in any spelling."""
    assert 27 == read_head(OK + b"content-LENGTH:  27 \r\n\r\n").length
    assert read_head(OK + b"transfer-encoding: Chunked\r\n\r\n").is_chunked


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (OK, True),
        (OK + b"Connection: keep-alive\r\n", True),
        (OK + b"Connection: Close\r\n", False),
        (OK + b"Connection: keep-alive, close\r\n", False),
        (OK + b"Connection: keep-alive\r\nConnection: close\r\n", False),
        (b"HTTP/1.0 200 OK\r\n", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n", False),
        (b"HTTP/1.1 204 No\r\n", True),
        (b"HTTP/1.1 204 No\r\nContent-Length: 0\r\n", True),
        (b"HTTP/1.1 204 No\r\nContent-Length: 2\r\n", False),
        (b"HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n", False),
    ],
)
def test_f2_only_plain_http_1_1_is_persistent(head, expected):
    """HTTP/1.0 never is, nor what says close, nor a 204 that announces a body."""
    assert expected == read_head(head + b"\r\n").is_persistent


@pytest.mark.parametrize(
    ("value", "expected"),
    [(b"timeout=5", 5.0), (b"max=10, timeout=7", 7.0), (b"Timeout = 3", 3.0), (b"max=3", None)],
)
def test_the_keep_alive_hint_is_read(value, expected):
    """Keep-Alive tells how long the server keeps the connection."""
    assert expected == read_head(OK + b"Keep-Alive: " + value + b"\r\n\r\n").keepalive_s


def test_an_upgrade_counts_only_where_connection_names_it():
    """An Upgrade header alone is an advertisement."""
    head = b"HTTP/1.1 101 S\r\nUpgrade: WebSocket\r\n"

    assert b"websocket" == read_head(head + b"Connection: x, Upgrade\r\n\r\n").upgrade
    assert read_head(OK + b"Upgrade: h2c\r\n\r\n").upgrade is None


@pytest.mark.parametrize("begun", [b"H", b"HTTP/1.", b"HTTP/1.1 200 OK\r\nA: b\r", OK + b"\r"])
def test_a_beginning_may_go_on(begun):
    """What may still become a head is waited for."""
    check_beginning(begun)


@pytest.mark.parametrize("begun", [b"X", b"\r\n", b"HTTP/2", b"HTTP/1.1 2\n", b"HTTP/1." * 9999])
def test_f1_a_hopeless_beginning_is_refused_at_once(begun):
    """What can never become a head is not waited for until the timeout."""
    with pytest.raises(UpstreamInvalid):
        check_beginning(begun)


@pytest.mark.parametrize(
    "raw",
    [
        b"RTSP/1.0 200 OK\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 099 X\r\n\r\n",
        b"HTTP/1.1 200 O\x01K\r\n\r\n",
        b"\r\n" + OK + b"\r\n",
        OK + b"Transfer-Encoding: xchunked\r\n\r\n",
        OK + b"Transfer-Encoding: chunked, gzip\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_httptools_alone_would_accept_it(raw):
    """The checks of our own are still needed with the httptools that is installed."""
    httptools.HttpResponseParser(object()).feed_data(raw)
