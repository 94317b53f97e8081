from __future__ import annotations

import pytest

from proxy.core import paths
from proxy.core.paths import (
    BadTarget,
    Readings,
    Target,
    check_path,
    decode_path,
    fold,
    is_foldable,
    is_plain,
    parse_target,
    readings,
)


@pytest.mark.parametrize(
    ("raw", "path", "query"),
    [
        (b"/", b"/", None),
        (b"/?", b"/", b""),
        (b"/a?b=c", b"/a", b"b=c"),
        (b"/a?b?c", b"/a", b"b?c"),
        (b"/a?next=/../%00&x=\xc3\xa9", b"/a", b"next=/../%00&x=\xc3\xa9"),
        (b"//host/a", b"//host/a", None),
        (b"/a/%2e%2E/b", b"/a/%2e%2E/b", None),
    ],
)
def test_origin_form_is_taken_apart_and_not_decoded(raw, path, query):
    """P1: path and query are the bytes that came; only the path is looked at."""
    assert Target("origin", None, path, query) == parse_target(raw, "GET")


@pytest.mark.parametrize(
    ("raw", "authority", "path", "query"),
    [
        (b"http://a.example", b"a.example", b"/", None),
        (b"http://a.example/", b"a.example", b"/", None),
        (b"HTTPS://A.example:8443/b?c", b"A.example:8443", b"/b", b"c"),
        (b"http://a.example?x", b"a.example", b"/", b"x"),
        (b"http://[::1]:80/x", b"[::1]:80", b"/x", None),
        (b"http://a.example//b", b"a.example", b"//b", None),
    ],
)
def test_p3_absolute_form_becomes_origin_form(raw, authority, path, query):
    """P3: the authority is kept for the comparison with Host, the rest is a path and a query."""
    assert Target("absolute", authority, path, query) == parse_target(raw, "GET")


def test_p3_the_asterisk_form_is_for_options_only():
    """P2, P3: `OPTIONS *`, also in absolute-form (RFC 9112 §3.2.4); with another method it is 400."""
    assert Target("asterisk", None, b"*", None) == parse_target(b"*", "OPTIONS")
    assert Target("asterisk", b"a", b"*", None) == parse_target(b"http://a", "OPTIONS")
    assert parse_target(b"http://a/", "OPTIONS").form == "absolute"
    assert parse_target(b"http://a?x", "OPTIONS").form == "absolute"
    with pytest.raises(BadTarget) as caught:
        parse_target(b"*", "GET")
    assert caught.value.code == "bad_request"


@pytest.mark.parametrize(
    "raw",
    [
        *(
            b"",
            b"a",
            b"*x",
            b"**",
            b"a.example:443",
            b"?x",
            b"#",
            b"\\",
            b" /",
            b"%2f",
            b"./a",
            b"../a",
        ),
        *(
            b"http:",
            b"http:/",
            b"http://",
            b"http:///a",
            b"http://?x",
            b"http:a",
            b"ftp://a/",
            b"ws://a/",
        ),
        *(
            b"http://user@a/",
            b"http://a@b",
            b"http://u:p@a/",
            b"file:///etc/passwd",
            b"h://a",
        ),
        *(
            b"/a?b#c",
            b"/a?b c",
            b"/a?b\x00",
            b"/a?\r\nx",
            b"/a?\x7f",
            b"http://a/b?c#d",
            b"javascript:1",
        ),
    ],
)
def test_p3_what_is_no_target_is_a_bad_request(raw):
    """P3 (field.md §3 #4 #5): other forms, other schemes, names of users and raw `#` are 400."""
    for method in ("GET", "OPTIONS"):
        with pytest.raises(BadTarget) as caught:
            parse_target(raw, method)
        assert caught.value.code == "bad_request"


def test_p2_the_path_of_an_absolute_form_is_checked_too():
    """P2: what no path may contain is refused in every form of a target."""
    with pytest.raises(BadTarget) as caught:
        parse_target(b"http://a/%00", "GET")
    assert caught.value.code == "path_ambiguous"
    assert caught.value.status == 400
    assert "%00" not in caught.value.detail


@pytest.mark.parametrize(
    ("path", "is_one"),
    [
        (b"/", True),
        (b"/a.b/c-d_e~f/", True),
        (b"/.well-known/x", True),
        (b"/...", True),
        (b"/a/..b", True),
        (b"/a:b@c$d", True),
        (b"/a/.", False),
        (b"/./a", False),
        (b"/a/../b", False),
        (b"/a//b", False),
        (b"/a;b", False),
        (b"/a\\b", False),
        (b"/a%20b", False),
        (b"/a b", False),
        (b"/\xc3\xa9", False),
        (b"/a#", False),
        (b"/a\x00", False),
        (b"a", False),
        (b"", False),
    ],
)
def test_plain_paths_have_one_reading(path, is_one):
    """The fast way out is taken only where every server reads the same."""
    assert is_one == is_plain(path)
    if is_one:
        assert Readings(frozenset(), (path,)) == readings(path)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/", ()),
        (b"/a", (b"a",)),
        (b"/a/", (b"a",)),
        (b"/a//", (b"a", b"")),
        (b"/%61%64min", (b"admin",)),
        (b"/a%2Fb/c", (b"a\0b", b"c")),
        (b"/a%252Fb", (b"a%2Fb",)),
        (b"/caf%c3%a9", ("caf\u00e9".encode(),)),
        (b"/%2e%2E/a", (b"..", b"a")),
        (b"/a+b", (b"a+b",)),
    ],
)
def test_p1_matching_is_on_the_path_decoded_once(path, expected):
    """P1: split at the raw slashes, then each segment decoded once."""
    assert expected == decode_path(path)


@pytest.mark.parametrize(
    ("path", "forms", "others"),
    [
        (b"/%61", set(), set()),
        (b"/a%20b", set(), set()),
        (b"/a//b", {"double_slash"}, {b"/a/b"}),
        (b"//a/b", {"double_slash"}, {b"/a/b", b"/b"}),
        (b"///a", {"double_slash"}, {b"/a", b"/"}),
        (b"/a%2Fb", {"encoded_slash"}, {b"/a/b"}),
        (b"/a%2eb", {"encoded_dot"}, set()),
        (b"/a/./b", {"dot_segments"}, {b"/a/b"}),
        (b"/a/..", {"dot_segments"}, {b"/"}),
        (b"/../../a", {"dot_segments"}, {b"/a"}),
        (b"/a/%2e./b", {"dot_segments", "encoded_dot"}, {b"/b"}),
        (b"/a\\b", {"backslash"}, {b"/a/b"}),
        (b"/a%5cb", {"backslash"}, {b"/a/b"}),
        (b"/a;x=1/b", {"semicolon"}, {b"/a/b", b"/a"}),
        (b"/a%3Bx/b", {"semicolon"}, {b"/a/b", b"/a"}),
        (b"/a%3fb", set(), {b"/a"}),
        (b"/a%23b", set(), {b"/a"}),
        (b"/%2561", set(), {b"/a"}),
        (b"/a%252fb", {"double_encoding", "encoded_slash"}, {b"/a\0b", b"/a/b"}),
        (b"/a%252eb", {"double_encoding"}, {b"/a.b"}),
        (b"/a%25u002eb", {"double_encoding"}, {b"/a.b"}),
        (b"/a%25u002fb", {"double_encoding", "encoded_slash"}, {b"/a\0b", b"/a/b"}),
        (b"/\xc3\xa9", set(), {"/\u00c3\u00a9".encode()}),
        (b"/%e9", {"non_utf8"}, {"/\u00e9".encode(), b"/"}),
    ],
)
def test_p2_each_odd_form_has_its_readings(path, forms, others):
    """P2: slash decoded, dots resolved, slashes merged, `;…` cut, decoded again."""
    found = readings(path)

    assert forms == found.forms
    assert decode_path(path) == paths.segments(found.paths[0])
    assert others == set(found.paths[1:])


@pytest.mark.parametrize(
    ("path", "reading"),
    [
        (b"/public/..;/admin", b"/admin"),
        (b"/public%2f..%2fadmin", b"/admin"),
        (b"/public/%5c..%5c../admin", b"/admin"),
        (b"/public/%252e%252e/admin", b"/admin"),
        (b"/public/%25252e%25252e%25252fadmin", b"/admin"),
        (b"/a//../admin", b"/a/admin"),
        (b"/a//../admin", b"/admin"),
        (b"/x;/../admin", b"/admin"),
        (b"/\\evil/admin", b"/admin"),
        (b"/%2f%2fevil/admin", b"/admin"),
        (b"/admin%3b%2f..", b"/admin"),
        (b"/a;b%2f..%2f..%2fadmin", b"/admin"),
        (b"/admin%3Fx/../y", b"/admin"),
        (b"/public/..%23/admin", b"/"),
        (b"/x/%2e%2e/../admin", b"/x/admin"),
        (b"/x/%2e%2e/../admin", b"/admin"),
    ],
)
def test_p2_forms_are_read_in_every_order(path, reading):
    """P2 (field.md §3 #12 #15 #34): what one transformation uncovers the next one acts on."""
    assert reading in readings(path).paths


@pytest.mark.parametrize(
    ("path", "reading"),
    [
        (b"/admin.", b"/admin"),
        (b"/admin%20", b"/admin"),
        (b"/%20admin/x", b"/admin/x"),
        (b"/admin.%20./x", b"/admin/x"),
        (b"/public/..%20/admin", b"/admin"),
        (b"/public/...", b"/public/"),
        (b"/admin:$i30:$INDEX_ALLOCATION/x", b"/admin/x"),
        (b"/%EF%BD%81dmin", b"/admin"),
        (b"/a%EF%BC%8Fb", b"/a/b"),
        (b"/public/%EF%BC%8E%EF%BC%8E/admin", b"/admin"),
    ],
)
def test_p5_folding_servers_read_more(path, reading):
    """P5: dots, spaces and streams at a segment's end, and compatible forms, disappear."""
    assert reading not in readings(path).paths
    assert reading in readings(path, is_folded=True).paths


def test_a_decoded_path_tells_whether_folding_matters():
    """Nothing is read twice where folding adds nothing."""
    assert is_foldable(b"/a ")
    assert is_foldable(b"/a./b")
    assert is_foldable(b"/ a")
    assert is_foldable(b"/a:$b")
    assert is_foldable("/\u00e9".encode())
    assert not is_foldable(b"/A b/c.d/e:f")


@pytest.mark.parametrize(
    ("path", "reading"),
    [
        (b"/%c0%2e%c0%2e/a", b"/../a"),
        (b"/adm%ffin", b"/admin"),
        (b"/%C1dmin", "/\u00c1dmin".encode()),
        (b"/%80", "/\u20ac".encode()),
        (b"/%f5%bf%bf%bf", "/\ufffd".encode()),
        (b"/a%f0%9f%98", b"/a"),
    ],
)
def test_p2_other_charsets_are_other_readings(path, reading):
    """P2: bytes that are not UTF-8 are dropped, or taken for Latin-1, or decoded leniently."""
    found = readings(path)

    assert "non_utf8" in found.forms
    assert reading in found.paths


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b"Admin", b"aDMIN"),
        (b"admin.", b"admin"),
        (b" admin. .", b"admin"),
        ("\u017fecret".encode(), b"secret"),  # long s
        ("\u212aey".encode(), b"key"),  # Kelvin sign
        ("adm\u0131n".encode(), b"admin"),  # dotless i
        ("adm\u0130n".encode(), b"admin"),  # dotted capital I
        (b"STRASSE", "stra\u00dfe".encode()),
        ("\uff41dmin".encode(), b"admin"),
        ("admin\u00a0".encode(), b"admin"),
        ("e\u0301".encode(), "\u00c9".encode()),
    ],
)
def test_p5_spellings_that_some_server_takes_for_one_fold_alike(one, other):
    """P5: letters' case beyond ASCII too, compatible forms, dots and spaces at the end."""
    assert fold(one) == fold(other)


def test_p5_different_names_fold_differently():
    """P5: folding leaves a segment of dots or spaces alone, and bytes that are not UTF-8."""
    assert fold(b"...") == b"..."
    assert fold(b" ") == b" "
    assert fold(b"\xff") == b"\xff"
    assert len({fold(text) for text in (b"a", b"b", b"a.b", b"a b", b"\xff", b"\xfe")}) == 6


def test_p2_more_readings_than_anybody_needs_are_refused():
    """P2: the work that one path can make is bounded, in readings and in their length."""
    with pytest.raises(BadTarget, match="too many readings"):
        readings(b"//a;b%2f..\\%252e;%253b/%3f//%23/.;/%5c", is_folded=True)
    with pytest.raises(BadTarget, match="too many readings"):
        readings(b"/" + b"a//b\\c%2f" * 900)
    with pytest.raises(BadTarget, match="too many layers"):
        check_path(b"/%" + b"25" * 7 + b"41")


@pytest.mark.parametrize(
    "unit",
    [b"%e9%20.;/", b"%3b/%20./", b"%25c3%25a9/%20", b"%c3%28.;/", b"\xe9.;/", b"//", b"./", b"%20"],
)
def test_p2_a_long_path_is_read_only_so_far(unit):
    """P2: what has more readings than one is short, and its readings are together, too."""
    count = paths.MAX_ODD_PATH // len(unit) + 1
    for size in (count, 30_000 // len(unit)):
        with pytest.raises(BadTarget, match="too long"):
            readings(b"/" + unit * size, is_folded=True)
    for size in (count // 8, count // 2, count - 1):
        path = b"/" + unit * size
        try:
            found = readings(path[: paths.MAX_ODD_PATH], is_folded=True).paths
        except BadTarget:
            continue
        assert sum(map(len, found)) <= paths.MAX_READING_BYTES + 2 * len(path)


def test_p2_a_long_odd_path_is_refused_before_it_is_decoded():
    """P2: the target's parser looks no deeper; a plain path may be as long as a head."""
    with pytest.raises(BadTarget, match="too long"):
        parse_target(b"/" + b"%25" * 10_000, "GET")
    long = b"/" + b"plain/" * 5000

    assert parse_target(long, "GET").path == long
    assert readings(long).paths == (long,)


@pytest.mark.parametrize(
    "path", [b"/%00", b"/%2500", b"/%c2%80", b"/%25c2%2580", b"/%c0%af", b"/ ", b"/%"]
)
def test_p2_forbidden_characters_are_found_in_every_layer(path):
    """P2: controls and overlong UTF-8 are refused however deep they are hidden."""
    with pytest.raises(BadTarget) as caught:
        check_path(path)
    assert caught.value.code == "path_ambiguous"


def test_a_path_must_begin_with_a_slash():
    """What is not a path is not read as one."""
    with pytest.raises(BadTarget) as caught:
        check_path(b"a/b")
    assert caught.value.code == "bad_request"
