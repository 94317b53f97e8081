from __future__ import annotations

import pytest

from proxy.core.cookies import (
    MAX_COOKIES,
    MAX_EXPIRE_BYTES,
    Duplicate,
    expire_headers,
    find_cookie,
    parse_cookies,
    remove_cookies,
)

SID = frozenset([b"sid"])


def expired(name, host, path):
    """Return the values of the Set-Cookie lines alone."""
    headers = expire_headers(name, host, path)
    assert all(header == b"Set-Cookie" for header, _ in headers)
    return [value for _, value in headers]


@pytest.mark.parametrize(
    ("values", "pairs"),
    [
        ([], []),
        ([b""], []),
        ([b" ; ;;"], []),
        ([b"a=1"], [(b"a", b"1")]),
        ([b"a=1;b=2;  c = 3 "], [(b"a", b"1"), (b"b", b"2"), (b"c", b"3")]),
        ([b"a=1", b"b=2"], [(b"a", b"1"), (b"b", b"2")]),
        ([b"a=b=c"], [(b"a", b"b=c")]),
        ([b'a="x y"; b=%41'], [(b"a", b'"x y"'), (b"b", b"%41")]),
        ([b"flag"], [(b"flag", b"")]),
        ([b"=x"], [(b"", b"x")]),
        ([b"a=1, b=2"], [(b"a", b"1, b=2")]),
        ([b"\xff=\x00"], [(b"\xff", b"\x00")]),
    ],
)
def test_cookies_are_read_raw(values, pairs):
    """Pairs end at semicolons over all headers; nothing is decoded or unquoted."""
    assert pairs == parse_cookies(values)


def test_a_cookie_is_found_by_its_exact_name():
    """Neighbours with similar names are other cookies."""
    pairs = parse_cookies([b"xsid=1; sid2=2; SID=3; sid=4; si=5; a=sid=6; b=xsid=7"])

    assert b"4" == find_cookie(pairs, b"sid")
    assert find_cookie(pairs, b"nosuch") is None


def test_an_odd_spelling_alone_is_no_credential():
    """Only the exact name opens anything."""
    for header in (b"%73id=A", b'"sid"=A', b"x sid=A", b"a=1,sid=A"):
        assert find_cookie(parse_cookies([header]), b"sid") is None


@pytest.mark.parametrize(
    "header", [b"sid=A; sid=A", b'sid=A; sid="A"', b"sid=A; sid=%41", b"sid=A; %73id= A"]
)
def test_s2_one_value_twice_is_one_cookie(header):
    """S2: what every server reads as the same value is no contradiction."""
    assert b"A" == find_cookie(parse_cookies([header]), b"sid")


def test_s2_names_to_expire_are_those_that_were_sent():
    """S2: the browser has to forget the cookie under the name that it uses."""
    pairs = parse_cookies([b"sid=A; %73id=B; cart=x, sid=C", b"sid=A"])

    assert Duplicate((b"sid", b"%73id", b"cart")) == find_cookie(pairs, b"sid")


def test_php_folds_names():
    """S2: with PHP behind the gate `.`, space and `[` are `_`, and an index makes it an array."""
    for other in (b"my.sid", b"my sid", b"my[sid", b"my_sid[]", b"my_sid[a][b]", b"my%2esid%00x"):
        pairs = parse_cookies([b"my_sid=A; " + other + b"=B"])

        assert Duplicate((b"my_sid", other)) == find_cookie(pairs, b"my_sid", folding="php")
    assert b"A" == find_cookie(parse_cookies([b"my_sid=A; my.sid=B"]), b"my_sid")
    assert b"A" == find_cookie(parse_cookies([b"my_sid=A; mysid=B"]), b"my_sid", folding="php")


def test_more_cookies_than_a_browser_keeps_are_not_read():
    """A flood of cookies is ambiguous, and none of it travels on."""
    flood = b"; ".join(b"c%d=1" % number for number in range(MAX_COOKIES)) + b"; sid=A"

    assert Duplicate((b"sid",)) == find_cookie(parse_cookies([flood]), b"sid")
    assert remove_cookies([flood], frozenset([b"other"])) is None


@pytest.mark.parametrize(
    ("values", "left"),
    [
        ([], None),
        ([b""], None),
        ([b"a=1;b=%20;  c"], b"a=1;b=%20;  c"),
        ([b" a=1", b"sid=A", b"\tb=2"], b"a=1; b=2"),
        ([b"sid=A"], None),
        ([b"sid"], None),
        ([b"sid=A; a=1"], b"a=1"),
        ([b"a=1; sid=A"], b"a=1"),
        ([b"a=1; sid=A;  b=2 "], b"a=1;  b=2 "),
        ([b"a=1; sid=A; b=2; sid=B"], b"a=1; b=2"),
        ([b"a=1", b"sid=A", b"b=2"], b"a=1; b=2"),
        ([b"a=1", b"b=2"], b"a=1; b=2"),
        ([b"xsid=1; sid2=2; SID=3; a=sid"], b"xsid=1; sid2=2; SID=3; a=sid"),
        ([b"%73id=A; a=%31"], b"a=%31"),
        ([b'"sid"=A; sid =B; \xc2\xa0sid=C; a=1'], b"a=1"),
        ([b"x=1, sid=A; y=1 sid=A; a=1"], b"a=1"),
        ([b"sid[0]=A; sid[=B; a=1"], b"a=1"),
    ],
)
def test_h6_cookies_are_taken_out(values, left):
    """H6: the named cookie goes in every spelling; every other byte stays."""
    assert left == remove_cookies(values, SID)


def test_h6_folding_is_assumed_of_every_upstream():
    """H6: the gate does not know whether PHP is behind it, so PHP's spellings go too."""
    names = frozenset([b"__Host-sid", b"api.token"])

    assert b"a=1" == remove_cookies([b"..Host-sid=A; a=1; api_token=B; _[Host-sid=C"], names)


def test_s2_a_cookie_is_expired_for_host_parents_and_prefixes():
    """S2: a line for each domain and path from which the cookie may have come."""
    assert expired(b"sid", "a.shop.example:8080", b"/x/y?q=/z") == [
        b"sid=; Path=/; Max-Age=0",
        b"sid=; Path=/; Domain=a.shop.example; Max-Age=0",
        b"sid=; Path=/; Domain=shop.example; Max-Age=0",
        b"sid=; Path=/x; Max-Age=0",
        b"sid=; Path=/x; Domain=a.shop.example; Max-Age=0",
        b"sid=; Path=/x; Domain=shop.example; Max-Age=0",
        b"sid=; Path=/x/; Max-Age=0",
        b"sid=; Path=/x/; Domain=a.shop.example; Max-Age=0",
        b"sid=; Path=/x/; Domain=shop.example; Max-Age=0",
        b"sid=; Path=/x/y; Max-Age=0",
        b"sid=; Path=/x/y; Domain=a.shop.example; Max-Age=0",
        b"sid=; Path=/x/y; Domain=shop.example; Max-Age=0",
    ]


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1:80", "[::1]:80", "[::1]", "", "a b.example", "x;y.example"]
)
def test_a_host_without_parents_has_one_domain(host):
    """Addresses, single labels and what is no host get host-only lines."""
    assert expired(b"sid", host, b"/") == [b"sid=; Path=/; Max-Age=0"]


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        (b"__Host-sid", [b"__Host-sid=; Path=/; Max-Age=0; Secure; HttpOnly"]),
        (b"__host-sid", [b"__host-sid=; Path=/; Max-Age=0; Secure; HttpOnly"]),
        (
            b"__Secure-sid",
            [
                b"__Secure-sid=; Path=/; Max-Age=0; Secure; HttpOnly",
                b"__Secure-sid=; Path=/x; Max-Age=0; Secure; HttpOnly",
            ],
        ),
    ],
)
def test_prefixed_names_get_what_browsers_demand(name, lines):
    """`__Host-` never has a Domain or another path; all prefixes have Secure (RFC 6265bis)."""
    assert lines == expired(name, "localhost", b"/x")


@pytest.mark.parametrize(
    "path", [b"*", b"", b"x", b"?a", b"\xff/", b"/;a/b", b"/\r\nSet-Cookie: a=b/c"]
)
def test_odd_paths_expire_the_root(path):
    """A path that no Path attribute can hold ends the list; nothing of it is written."""
    assert expired(b"sid", "localhost", path) == [b"sid=; Path=/; Max-Age=0"]


@pytest.mark.parametrize("name", [b"", b"a\r\nb", b"a;b", b"a=b", b"a\x00"])
def test_names_that_no_browser_sends_are_not_written(name):
    """A name cannot smuggle a header or an attribute into the answer."""
    assert expire_headers(name, "localhost", b"/") == ()


def test_the_answer_stays_small():
    """However deep the path and however many the names, the lines fit into a head."""
    deep = b"/a" * 4000
    lines = expired([b"n%d" % number for number in range(100)], "a.b.c.d.e.f.example", deep)

    assert lines[0] == b"n0=; Path=/; Max-Age=0"
    assert sum(len(b"Set-Cookie: \r\n") + len(line) for line in lines) <= MAX_EXPIRE_BYTES
