"""Whatever bytes arrive, the pure readers answer with one of their own answers."""

from __future__ import annotations

import json
from urllib.parse import parse_qsl, urlencode

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.core.cookies import (
    MAX_EXPIRE_BYTES,
    Duplicate,
    expire_headers,
    find_cookie,
    parse_cookies,
    remove_cookies,
)
from proxy.core.cors import CorsPolicy, is_preflight
from proxy.core.credentials import (
    authorization_scheme,
    basic_password,
    bearer_token,
    claimed_issuers,
    query_parameter,
    remove_query_parameter,
    unverified_issuer,
)
from proxy.core.cross_site import CrossSitePolicy
from proxy.core.formats import native
from proxy.core.formats.json import session_format
from proxy.core.formats.port import open_record
from proxy.core.mapping import compile_mapping
from proxy.core.revocation import digest, is_revoked
from proxy.core.rules import ClaimRule, compile_require
from proxy.core.strict_json import BadJson, loads
from proxy.model import Absent, ClientInfo, Identity, Peer, Refusal, RequestView

NAMES = frozenset([b"sid", b"__Host-sid", b"api.token"])
PIECES = st.sampled_from(
    [
        b"sid",
        b"__Host-sid",
        b"..Host-sid",
        b"api_token",
        b"%73id",
        b"=",
        b"=A",
        b"=B",
        b";",
        b"; ",
        b",",
        b" ",
        b'"',
        b"[",
        b"]",
        b"%",
        b"%00",
        b"+",
        b"x",
        b"\xff",
        b"\t",
    ]
)
COOKIES = st.lists(st.lists(PIECES, max_size=14).map(b"".join) | st.binary(max_size=40), max_size=3)
LINES = st.binary(max_size=60)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=12,
)
MEMBERS = st.sampled_from(
    ["v", "sub", "created_at", "expires_at", "auth_time", "amr", "ver", "email", "roles", "claims"]
)
RECORD = {
    "v": 1,
    "sub": "alice",
    "created_at": 1000,
    "expires_at": 9000,
    "auth_time": 1000,
    "amr": ["pwd"],
    "ver": 1,
    "roles": ["a"],
    "claims": {"tenant": "acme"},
}
READER = compile_mapping(subject="user.id", email="m", name="{n}-{o}", roles="r", scopes="s")


def open_native(record, seen=None):
    """Decode a native record at a fixed time."""
    return native.decode(
        record, seen, now=2000, idle_timeout=1800, lifetime=43200, scheme="web", origin="local"
    )


@given(COOKIES)
def test_s2_h6_cookies_are_read_and_removed_whatever_they_are(values):
    """S2, H6: after a removal no reading of any name is left, and removing again changes nothing."""
    pairs = parse_cookies(values)
    for name in NAMES:
        found = find_cookie(pairs, name, folding="php")
        assert found is None or isinstance(found, bytes | Duplicate)
    left = remove_cookies(values, NAMES)
    if left is not None:
        for name in NAMES:
            assert find_cookie(parse_cookies([left]), name, folding="php") is None
        assert left == remove_cookies([left], NAMES)


@given(COOKIES)
def test_h6_what_stays_was_there(values):
    """H6: a removal invents nothing: every pair that is left stood in the request, in this order."""
    left = remove_cookies(values, NAMES)
    before = parse_cookies(values)

    for pair in parse_cookies([] if left is None else [left]):
        assert pair in before
        before = before[before.index(pair) + 1 :]


@given(
    st.lists(st.binary(max_size=12), max_size=4),
    st.text(max_size=30),
    st.binary(max_size=60) | st.lists(st.sampled_from([b"/", b"a", b";", b"\r\n"])).map(b"".join),
)
def test_s2_expiring_writes_clean_lines(names, host, path):
    """S2: no byte of a name, host or path breaks out of its line or its attribute."""
    headers = expire_headers(names, host, path)

    assert sum(len(name) + len(value) + 4 for name, value in headers) <= MAX_EXPIRE_BYTES
    for _, value in headers:
        assert not set(value) & {0, 10, 13}
        attributes = [part.partition(b"=")[0] for part in value.split(b"; ")[1:]]
        assert set(attributes) <= {b"Path", b"Domain", b"Max-Age", b"Secure", b"HttpOnly"}


@given(LINES, st.sampled_from([b"", b"Bearer ", b"basic ", b"Basic\t"]))
def test_authorization_is_read_whatever_it_is(value, kind):
    """Odd values of Authorization are absent, or there and bad; reading them never fails."""
    line = kind + value
    readings = [bearer_token(line), basic_password(line)]

    assert len([reading for reading in readings if reading is not None]) <= 1
    assert authorization_scheme(line) is None or authorization_scheme(line).isascii()
    assert unverified_issuer(line) is None or isinstance(unverified_issuer(line), str)
    assert all(isinstance(issuer, str) for issuer in claimed_issuers(line))


@given(st.lists(st.tuples(st.sampled_from(["token", "tok", "a b", "é", ""]), st.text(max_size=5))))
def test_h6_the_query_loses_one_parameter_only(parameters):
    """H6: read by the standard library, the query is the old one without the credential."""
    left = remove_query_parameter(urlencode(parameters).encode(), "token")
    kept = [pair for pair in parameters if pair[0] != "token"]

    assert kept == parse_qsl((left or b"").decode(), keep_blank_values=True)


@given(st.lists(st.sampled_from([b"token", b"%74", b"oken", b"=", b"&", b";", b"[", b"+", b"x"])))
def test_h6_a_removed_query_credential_cannot_be_read(pieces):
    """H6: whatever the query, the parameter is gone and removing again changes nothing."""
    left = remove_query_parameter(b"".join(pieces), "token")

    assert query_parameter(left, "token") is None
    assert left == remove_query_parameter(left, "token")


def open_foreign(record):
    return open_record(session_format("s:"), record, "abc", READER, scheme="legacy")[0]


@given(st.binary(max_size=300) | JSON.map(lambda value: json.dumps(value).encode()))
def test_s12_any_bytes_are_an_identity_or_absent(record):
    """S12: whatever stands in the store, a decoder names somebody or says that it is absent."""
    for outcome in (open_native(record), open_foreign(record)):
        assert isinstance(outcome, Identity | Absent)
        if isinstance(outcome, Identity):
            assert outcome.subject.strip()


@given(MEMBERS, JSON, st.none() | st.binary(max_size=12))
def test_a_mutated_record_fits_or_is_absent(member, value, seen):
    """One member of any kind in a good record: an identity that can be written, or Absent."""
    outcome = open_native(json.dumps(RECORD | {member: value}).encode(), seen)

    assert isinstance(outcome, Identity | Absent)
    if isinstance(outcome, Identity):
        told = (outcome.subject, outcome.email or "", *outcome.roles, *outcome.amr)
        assert all(text.encode("utf-8") is not None for text in told)


@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=3))
def test_a_damaged_record_fits_or_is_absent(position, damage):
    """Bytes changed anywhere in a good record never raise."""
    record = json.dumps(RECORD).encode()
    at = position % len(record)

    assert isinstance(open_native(record[:at] + damage + record[at + 1 :]), Identity | Absent)


@given(JSON)
def test_what_is_accepted_can_be_written_again(value):
    """A document that passes is one that the standard library reads alike, and UTF-8 can carry."""
    raw = json.dumps(value).encode()
    try:
        read = loads(raw, max_bytes=1 << 20)
    except BadJson:
        return

    assert read == json.loads(raw)
    json.dumps(read, ensure_ascii=False, allow_nan=False).encode("utf-8")


@given(st.lists(st.tuples(st.text(), st.text()), min_size=2, max_size=2, unique=True))
def test_r3_different_names_have_different_digests(names):
    """R3: no two (issuer, name) pairs share a key of the deny-list."""
    assert digest(*names[0]) != digest(*names[1])


@given(
    st.lists(st.none() | st.binary(max_size=12), max_size=8),
    st.none() | st.integers() | st.floats() | st.text(max_size=3),
)
def test_r3_any_answer_of_the_store_is_understood(values, iat):
    """R3: whatever the markers say, the token is revoked by one of them or good."""
    assert is_revoked(values, iat, 30) in (None, "all", "iss", "jti", "sub", "sid", "subject")


@settings(max_examples=200)
@given(
    st.sampled_from(["GET", "POST", "OPTIONS", "\u00e9"]),
    st.lists(
        st.tuples(
            st.sampled_from(
                [
                    b"Origin",
                    b"Sec-Fetch-Site",
                    b"Upgrade",
                    b"Access-Control-Request-Method",
                    b"Access-Control-Request-Headers",
                ]
            ),
            LINES | st.sampled_from([b"same-origin", b"https://shop.example", b"null", b"PUT"]),
        ),
        max_size=5,
    ),
    st.text(max_size=20),
)
def test_s3_any_head_is_judged(method, headers, host):
    """S3: odd heads are refused or passed, and CORS answers are clean header lines."""
    view = RequestView(method, b"/", tuple(headers), Peer("192.0.2.1", 1, False, True))
    client = ClientInfo("192.0.2.1", None, host, None, is_trusted_peer=False)
    refusal = CrossSitePolicy().check(view, client)
    assert refusal is None or refusal.code == "cross_site"
    cors = CorsPolicy(["https://shop.example"], credentials=True)
    answer = [*cors.response(view.first(b"origin"))]
    if is_preflight(view) is not None:
        answer += cors.preflight(view)

    for _, value in answer:
        assert all(0x20 <= byte < 0x7F or byte == 0x09 for byte in value)


@given(JSON)
def test_require_understands_any_claim(value):
    """A claim of any kind meets a rule or does not; it never fails the request."""
    identity = Identity("local", "alice", "web", claims={"c": value, "d": {"e": value}})
    for path in ("c", "d.e", "c.x"):
        for is_all in (True, False):
            rules = {path: ClaimRule(("acme", 1, True), is_all=is_all)}
            refusal = compile_require(claims=rules)(identity)
            assert refusal is None or isinstance(refusal, Refusal)
