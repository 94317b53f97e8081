"""One cookie, two readers: the gate must see every cookie that a server behind it may see."""

from __future__ import annotations

import http.cookies
import re
from urllib.parse import unquote, unquote_plus

import pytest
from aiohttp.test_utils import make_mocked_request

from proxy.core.cookies import Duplicate, find_cookie, parse_cookies, remove_cookies

NAME = "sid"
GOOD, EVIL = "GOODGOODGOODGOOD", "EVILEVILEVILEVIL"


def first_wins(header):
    """Read as Express, Flask and Go do: the first of a name counts."""
    return pairs_of(header, keep="first").get(NAME)


def last_wins(header):
    """Read as Django and Starlette do: split at `;`, trim Unicode white space, the last counts."""
    return pairs_of(header, keep="last").get(NAME)


def decoding(header):
    """Read as Rack before CVE-2020-8184: names are percent-decoded too."""
    pairs = [chunk.partition("=") for chunk in header.split(";")]
    names = {}
    for name, _, value in pairs:
        names.setdefault(unquote_plus(name).strip(), unquote_plus(value).strip())
    return names.get(NAME)


def splitting_at_commas(header):
    """Read as old Rack and RFC 2109 servers do: a comma ends a pair as well."""
    names = {}
    for chunk in re.split("[;,] *", header):
        name, _, value = chunk.partition("=")
        names.setdefault(name.strip(), value.strip().strip('"'))
    return names.get(NAME)


def standard_library(header):
    """Read as http.cookies does, which ends a value at white space."""
    try:
        jar = http.cookies.SimpleCookie(header)
    except http.cookies.CookieError:
        return None
    return jar[NAME].value if NAME in jar else None


def php(header):
    """Read as PHP before 7.4.11: decode the name, cut at NUL and `[`, fold; the first counts."""
    names = {}
    for chunk in header.split(";"):
        name, _, value = chunk.partition("=")
        name = unquote(name.lstrip()).partition("\x00")[0].strip()
        name = re.sub(r"[. ]", "_", name[:1] + name[1:].partition("[")[0])
        names.setdefault(name, unquote(value.strip()))
    return names.get(NAME)


def aiohttp_reader(header):
    """Read as an aiohttp application does: its own parser, and the last of a name counts."""
    return make_mocked_request("GET", "/", headers={"Cookie": header}).cookies.get(NAME)


READERS = [
    first_wins,
    last_wins,
    decoding,
    splitting_at_commas,
    standard_library,
    aiohttp_reader,
    php,
]


def pairs_of(header, *, keep):
    """Split at semicolons; keep the first or the last of each name."""
    names = {}
    for chunk in header.split(";"):
        name, _, value = chunk.partition("=")
        name, value = name.strip(), value.strip().strip('"')
        if keep == "last" or name not in names:
            names[name] = value
    return names


PLANTED = [
    f"{NAME}={EVIL}",
    f"{NAME} ={EVIL}",
    f"{NAME}= {EVIL}",
    f'{NAME}="{EVIL}"',
    f"\t{NAME}\t={EVIL}",
    f"%73id={EVIL}",
    f"%73%69%64={EVIL}",
    f"s%69d={EVIL}",
    f"+{NAME}={EVIL}",
    f"%20{NAME}={EVIL}",
    f"{NAME}%20={EVIL}",
    f"{NAME}%00x={EVIL}",
    f"\u00a0{NAME}={EVIL}",
    f"{NAME}\u00a0={EVIL}",
    f"\x0b{NAME}={EVIL}",
    f"\x1f{NAME}={EVIL}",
    f"x {NAME}={EVIL}",
    f"x=1 {NAME}={EVIL}",
    f"x=1\t{NAME}={EVIL}",
    f"x=1,{NAME}={EVIL}",
    f"x=1, {NAME}={EVIL}",
    f"x=1 ,{NAME} = {EVIL}",
    f'x="1",{NAME}="{EVIL}"',
    f'x="1; {NAME}={EVIL}"',
    f"{NAME}=1,{NAME}={EVIL}",
    f"{NAME}[]={EVIL}",
    f"{NAME}[0]={EVIL}",
    f"%73id[a][b]={EVIL}",
]

SEEN_BY_PHP_ONLY = {planted for planted in PLANTED if "[" in planted}


@pytest.mark.parametrize("planted", PLANTED, ids=repr)
@pytest.mark.parametrize("is_first", [True, False], ids=["before", "after"])
def test_s2_a_planted_twin_is_noticed(planted, is_first):
    """S2: beside the victim's cookie, a twin in any spelling is a duplicate (field.md §3 #33)."""
    good = f"{NAME}={GOOD}"
    header = f"{planted}; {good}" if is_first else f"{good}; {planted}"
    pairs = parse_cookies([header.encode()])

    assert isinstance(find_cookie(pairs, NAME.encode(), folding="php"), Duplicate)
    if planted not in SEEN_BY_PHP_ONLY:
        assert isinstance(find_cookie(pairs, NAME.encode()), Duplicate)


@pytest.mark.parametrize("planted", PLANTED, ids=repr)
def test_s2_a_twin_in_a_second_header_is_noticed(planted):
    """S2: several Cookie headers are one jar, whatever a server makes of them."""
    values = [f"{NAME}={GOOD}".encode(), planted.encode()]

    for headers in (values, values[::-1]):
        found = find_cookie(parse_cookies(headers), NAME.encode(), folding="php")
        assert isinstance(found, Duplicate)


@pytest.mark.parametrize("planted", PLANTED, ids=repr)
@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__)
def test_s2_no_reader_sees_another_session_than_the_gate(planted, reader):
    """S2: where the gate accepts a header, a server reads the session that it verified, or none."""
    for header in (f"{NAME}={GOOD}; {planted}", f"{planted}; {NAME}={GOOD}", planted):
        found = find_cookie(parse_cookies([header.encode()]), NAME.encode(), folding="php")
        if isinstance(found, bytes):
            assert reader(header) is None or reader(header).strip('"') == found.decode().strip('"')


@pytest.mark.parametrize("planted", PLANTED, ids=repr)
@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__)
def test_h6_no_reader_finds_a_removed_cookie(planted, reader):
    """H6: after the removal no server can read the cookie in any spelling of it."""
    header = f"a=1; {planted}; {NAME}={GOOD}; {planted}; z=2".encode()
    left = remove_cookies([header], frozenset([NAME.encode()]))

    assert left is not None
    assert reader(left.decode("utf-8")) is None
    assert left.startswith(b"a=1;")
    assert left.endswith(b"; z=2")


def test_s2_other_cookies_are_left_in_peace():
    """S2: names and values that merely look alike neither refuse a request nor disappear."""
    header = (
        b'SID=1; xsid=2; sid2=3; my-sid=4; q=sid; u=a%20sid%3Db; j={"sid":1}; r="/?sid=1&b";'
        b" _ga=GA1.2.1; sid=GOODGOODGOODGOOD"
    )

    assert find_cookie(parse_cookies([header]), b"sid") == b"GOODGOODGOODGOOD"
    left = remove_cookies([header], frozenset([b"sid"]))
    assert left == header.removesuffix(b"; sid=GOODGOODGOODGOOD")
