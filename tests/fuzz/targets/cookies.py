"""Cookie headers: what the gate finds, what is left after a removal, and how one is expired.

Input: the values of Cookie headers, one a line; the last line is the path of the request.
"""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from proxy.core.cookies import (
    MAX_EXPIRE_BYTES,
    Duplicate,
    expire_headers,
    find_cookie,
    parse_cookies,
    remove_cookies,
)
from proxy.core.formats import json as foreign

NAMES = frozenset([b"sid", b"__Host-sid", b"api.token"])
EDGE = bytes(range(0x21)) + b'"'
"""What servers trim of a value; a value of nothing else is nobody's session."""
ATTRIBUTES = {b"Path", b"Domain", b"Max-Age", b"Secure", b"HttpOnly"}

WORDS = (
    *(b"sid", b"__Host-sid", b"api.token", b"api_token", b"%73id", b"s%69d", b"sid[]", b"sid["),
    *(b"=", b"; ", b";", b",", b'"', b" ", b"\t", b"\n", b"%00", b"%20", b"+", b"\x0b", b"\xa0"),
    *(b"sid=A", b"sid=B", b"; sid=B", b'x="1; sid=B"', b"$Version=1", b"Path=/", b"/a/b", b"\xff"),
)


def one_input(data: bytes) -> None:
    """Read one request's cookies."""
    *values, path = data.split(b"\n")
    pairs = parse_cookies(values)
    left = remove_cookies(values, NAMES)
    kept = parse_cookies([] if left is None else [left])
    for name in NAMES:
        for folding in ("exact", "php"):
            found = find_cookie(pairs, name, folding=folding)
            assert found is None or isinstance(found, bytes | Duplicate)
            assert find_cookie(kept, name, folding=folding) is None
            if isinstance(found, Duplicate):
                _check_expired(found.names, path)
            elif found is not None:
                _check_alone(values, name, found)
                assert foreign.session_id(found, has_prefix=True) != ""
    if left is not None:
        assert remove_cookies([left], NAMES) == left
    before = list(pairs)
    for pair in kept:
        assert pair in before, "a removal invents nothing"
        del before[: before.index(pair) + 1]


def _check_alone(values: list[bytes], name: bytes, found: bytes) -> None:
    """Ask the two plainest readers, first wins and last wins, who the gate's visitor is."""
    seen = [
        chunk.partition(b"=")[2].strip()
        for value in values
        for chunk in value.split(b";")
        if chunk.partition(b"=")[0].strip() == name
    ]
    wanted = unquote_to_bytes(found).strip(EDGE)
    for value in seen:
        assert unquote_to_bytes(value).strip(EDGE) == wanted


def _check_expired(names: tuple[bytes, ...], path: bytes) -> None:
    headers = expire_headers(names, "a.shop.example:8080", path)
    assert sum(len(name) + len(value) + 4 for name, value in headers) <= MAX_EXPIRE_BYTES
    for _, value in headers:
        assert not set(value) & {0, 10, 13}
        assert {part.partition(b"=")[0] for part in value.split(b"; ")[1:]} <= ATTRIBUTES
