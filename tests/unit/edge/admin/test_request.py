from __future__ import annotations

import asyncio
import time

import pytest

from proxy.edge.admin.request import BODY_BYTES, HEAD_BYTES, AdminRequest, read_request
from proxy.edge.portal.reply import Refused


async def read(raw: bytes) -> AdminRequest | None:
    """Read what a client sends until it leaves."""
    reader = asyncio.StreamReader(limit=HEAD_BYTES)
    reader.feed_data(raw)
    reader.feed_eof()
    return await read_request(reader)


async def test_a_request_is_read_whole():
    """Method, path, query, headers by lower-case name, and the body of its length."""
    request = await read(
        b"POST /sessions/revoke?a=b+c HTTP/1.1\r\nHost: localhost\r\nContent-Length: 7\r\n"
        b"CONTENT-TYPE: \tapplication/JSON; charset=utf-8 \r\n\r\n" + b'{"a":1}rest'
    )

    assert ("POST", "/sessions/revoke", {"a": "b c"}) == (
        request.method,
        request.path,
        request.parameters(),
    )
    assert b"localhost" == request.headers[b"host"]
    assert {"a": 1} == request.json()


async def test_who_sends_nothing_gets_nothing():
    """A probe that connects and leaves is no request."""
    assert await read(b"") is None


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"GET / HTTP/1.1\r\nHost: a", "bad_request"),
        (b"GET / HTTP/2.0\r\n\r\n", "bad_request"),
        (b"get / HTTP/1.1\r\n\r\n", "bad_request"),
        (b"GET http://a/ HTTP/1.1\r\n\r\n", "bad_request"),
        (b"GET  / HTTP/1.1\r\n\r\n", "bad_request"),
        (b"GET / HTTP/1.1\nHost: a\r\n\r\n", "bad_request"),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", "bad_request"),
        (b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", "bad_request"),
        (b"GET / HTTP/1.1\r\nA: b\x00\r\n\r\n", "bad_request"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n", "header_ambiguous"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "length_required"),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", "bad_request"),
        (b"POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\na", "bad_request"),
        (b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\na", "bad_request"),
        (b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (BODY_BYTES + 1), "body_too_large"),
        (b"GET / HTTP/1.1\r\nA: " + b"a" * HEAD_BYTES + b"\r\n\r\n", "headers_too_large"),
    ],
)
async def test_what_could_be_read_in_two_ways_is_refused(raw, code):
    """Programs need one plain form only; everything else is a mistake, or somebody's trick."""
    with pytest.raises(Refused) as caught:
        await read(raw)

    assert code == caught.value.code


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (b"text/plain", b"{}"),
        (b"application/x-www-form-urlencoded", b"all=true"),
        (b"", b"{}"),
        (b"application/json", b"[]"),
        (b"application/json", b'{"a":1,"a":2}'),
        (b"application/json", b"{"),
        (b"application/json", b""),
    ],
)
async def test_s11_only_json_is_taken(kind, body):
    """S11: what a form of another site can send is no request of the API."""
    request = AdminRequest("POST", "/", b"", {b"content-type": kind}, body)
    with pytest.raises(Refused, match="body"):
        request.json()


async def test_a_hostile_head_costs_no_time():
    """A line that almost fits is refused as quickly as one that does not."""
    raw = b"GET / HTTP/1.1\r\nA:" + b" " * (HEAD_BYTES - 100) + b"\x01\r\n\r\n"
    began = time.process_time()
    with pytest.raises(Refused):
        await read(raw)

    assert time.process_time() - began < 0.1
