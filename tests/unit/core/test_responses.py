"""What of an upstream's answer reaches the client."""

from __future__ import annotations

import pytest

from proxy.core.responses import ResponsePlan, private_cache_control

OPEN = ResponsePlan(is_guarded=False)
GUARDED = ResponsePlan(
    is_guarded=True,
    protected_cookies=frozenset({b"__Host-sid", b"login.state"}),
    identity_names={"X-Remote-User", "X-Forwarded-User"},
)
PRIVATE = (b"Cache-Control", b"private")


def named(*names):
    """Return headers called `names`."""
    return [(name.encode("latin-1"), b"v") for name in names]


def test_headers_pass_in_order_with_duplicates():
    """`Set-Cookie` too, and nothing is changed on an open route."""
    headers = [
        (b"Content-Type", b"text/html"),
        (b"Set-Cookie", b"a=1"),
        (b"Cache-Control", b"public, s-maxage=60"),
        (b"Set-Cookie", b"b=2; Path=/"),
        (b"X-Accel-Expires", b"60"),
        (b"set-cookie", b"a=3"),
        (b"Content-Encoding", b"br"),
        (b"Trailer", b"X-Checksum"),
    ]

    assert OPEN.apply(headers) == headers


def test_what_belongs_to_the_connection_is_removed():
    """Framing, hop-by-hop headers and what Connection nominates (RFC 9110 §7.6.1)."""
    headers = [
        *named("Transfer-Encoding", "Content-Length", "Keep-Alive", "Upgrade", "Proxy-Connection"),
        *named("Proxy-Authenticate", "TE", "X-Hop", "X-End"),
        (b"Connection", b"keep-alive, x-hop"),
    ]

    assert OPEN.apply(headers) == named("X-End")


def test_a_request_id_of_the_upstream_is_removed():
    """In every spelling and place: the gate's is the one that the log has."""
    headers = named("X-Request-Id", "x_request_id", "X-REQUEST-ID", "X-End")

    assert OPEN.apply(headers) == named("X-End")
    assert OPEN.trailers(headers) == OPEN.informational(headers) == named("X-End")


@pytest.mark.parametrize(
    "name",
    ["X-Auth-Subject", "x_auth_roles", "X-Auth-New", "X-Remote-User", "X.Remote.User", "a b", ""],
)
def test_h7_upstreams_set_no_identity_header(name):
    """In no spelling; nor what is no header name at all."""
    assert GUARDED.apply(named(name)) == [PRIVATE]


def test_h7_identity_headers_are_removed_on_open_routes_too():
    """Whoever stands before the gate may read them anywhere."""
    assert OPEN.apply(named("X-Auth-Subject")) == []


def test_h7_an_applications_own_name_passes_both_ways():
    """What `pass_headers` restores may be answered as well, in that spelling."""
    plan = ResponsePlan(is_guarded=False, passed=frozenset({b"x-auth-token"}))

    assert plan.apply(named("X-Auth-Token", "X_Auth_Token")) == named("X-Auth-Token")


@pytest.mark.parametrize(
    "value",
    [
        b"__Host-sid=evil; Path=/; Secure",
        b"  __Host-sid =evil",
        b"__Host-sid",
        b"=__Host-sid=evil",
        b" = __Host-sid=evil",
        b"==__Host-sid=evil",
        b"__Host-sid=; Max-Age=0",
        b"login.state=x",
        b"login%2Estate=x",
        b'"__Host-sid"=x',
        b"a=b, __Host-sid=evil",
    ],
)
def test_h7_upstreams_set_no_cookie_of_the_gates(value):
    """In no spelling that a browser sends back as that name."""
    assert GUARDED.apply([(b"Set-Cookie", value)]) == [PRIVATE]


@pytest.mark.parametrize(
    "value", [b"sid=1", b"__Host-sid2=1", b"a=__Host-sid", b"x__Host-sid=1", b"", b"; Path=/", b"="]
)
def test_h7_other_cookies_pass(value):
    """A name that only resembles is the application's."""
    assert GUARDED.apply([(b"Set-Cookie", value)]) == [(b"Set-Cookie", value), PRIVATE]


def test_h7_a_disguised_set_cookie_does_not_pass():
    """A server in between could fold it into the real one."""
    assert OPEN.apply([(b"Set_Cookie", b"__Host-sid=evil")]) == []


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"", b"private"),
        (b"public", b"private"),
        (b"public, max-age=60, s-maxage=600", b"max-age=60, private"),
        (b"PUBLIC ,S-MaxAge = 5,, no-cache", b"no-cache, private"),
        (b"no-store", b"no-store, private"),
        (b'private="set-cookie", max-age=1', b"max-age=1, private"),
        (b"private, max-age=0", b"max-age=0, private"),
        (b'no-cache="a, b", s-maxage="5"', b'no-cache="a, b", private'),
        (b'no-cache="a, PUBLIC"', b"no-store, private"),
        (b'x="a, s-maxage=600, b"', b"no-store, private"),
        (b'x="\\", public', b"no-store, private"),
        (b"public; max-age=60", b"no-store, private"),
        (b"max-age=60 public", b"no-store, private"),
        (b"=public", b"no-store, private"),
        (b"public\x00", b"no-store, private"),
        (b"\t", b"private"),
    ],
)
def test_h8_cache_control_becomes_private(value, expected):
    """`public` and `s-maxage` go; what cannot be parsed is not stored at all."""
    assert expected == private_cache_control([value])


def test_h8_a_long_cache_control_is_rewritten_as_well():
    """It is only not remembered."""
    value = b", ".join(b"x%d=1" % number for number in range(200))

    assert private_cache_control([value + b", public"]) == value + b", private"


def test_h8_shared_caches_are_told_nothing_on_guarded_routes():
    """Their own headers go, and several lines of Cache-Control become one."""
    headers = [
        *named("Surrogate-Control", "CDN-Cache-Control", "X-Accel-Expires", "surrogate_control"),
        *named("Cloudflare-CDN-Cache-Control", "Expires"),
        (b"Cache-Control", b"public"),
        (b"cache-control", b"max-age=5, s-maxage=9"),
    ]

    assert GUARDED.apply(headers) == [*named("Expires"), (b"Cache-Control", b"max-age=5, private")]


def test_h8_a_line_that_breaks_the_list_breaks_it_for_all():
    """An open quote in one line does not hide the next: nothing is stored."""
    headers = [(b"Cache-Control", b'x="'), (b"Cache-Control", b'public, y="')]

    assert GUARDED.apply(headers) == [(b"Cache-Control", b"no-store, private")]


def test_h8_shared_leaves_them():
    """`cache: shared` is the route's own word."""
    plan = ResponsePlan(is_guarded=True, cache="shared")
    headers = [*named("Surrogate-Control", "X-Accel-Expires"), (b"Cache-Control", b"public")]

    assert plan.apply(headers) == headers


def test_cors_of_the_upstream_is_replaced():
    """Where the gate answers for `cors:`, Access-Control-* is its own, and Vary is added to."""
    plan = ResponsePlan(is_guarded=False, replaces_cors=True)
    upstream = [(b"Access-Control-Allow-Origin", b"*"), (b"Vary", b"Accept"), (b"X-A", b"1")]
    own = [(b"Access-Control-Allow-Origin", b"https://a.example"), (b"Vary", b"Origin")]

    assert plan.apply(upstream, own) == [(b"Vary", b"Accept"), (b"X-A", b"1"), *own]
    assert plan.apply(upstream) == [(b"Vary", b"Accept"), (b"X-A", b"1")]
    assert OPEN.apply(upstream) == upstream


def test_the_gates_own_headers_stand_alone():
    """Of the same name the upstream's goes, unless it is a list."""
    upstream = [(b"x-version", b"theirs"), (b"Set-Cookie", b"a=1")]
    own = [(b"X-Version", b"ours"), (b"Set-Cookie", b"b=2")]

    assert OPEN.apply(upstream, own) == [(b"Set-Cookie", b"a=1"), *own]
    assert OPEN.apply(upstream, own[1:]) == [*upstream, *own[1:]]


@pytest.mark.parametrize(
    "name",
    [
        "Set-Cookie",
        "Set_Cookie",
        "Content-Length",
        "Transfer_Encoding",
        "Connection",
        "Host",
        "Trailer",
        "Content-Encoding",
        "Content-Type",
        "Content-Range",
        "Location",
        "Via",
        "Forwarded",
        "X-Forwarded-For",
        "X-Forwarded-User",
        "X-Original-URL",
        "X-Real-IP",
        "Authorization",
        "WWW-Authenticate",
        "Cache-Control",
        "Vary",
        "Access-Control-Allow-Origin",
        "Sec-WebSocket-Accept",
        "X-Auth-Subject",
        "x_auth.subject",
        "X-Remote-User",
        "bad name",
    ],
)
@pytest.mark.parametrize("plan", [OPEN, GUARDED])
def test_f5_trailers_lose_what_could_be_merged_into_the_head(plan, name):
    """Cookies, framing, routing, identity: in every spelling (RFC 9110 §6.5.1)."""
    known = named(name)
    if name == "X-Remote-User" and plan is OPEN:
        assert plan.trailers(known) == known
    else:
        assert plan.trailers(known) == []


def test_f5_other_trailers_pass():
    """Checksums, timings, signatures, gRPC's status."""
    trailers = named("Server-Timing", "X-Checksum", "Grpc-Status", "Digest", "ETag", "Signature")

    assert GUARDED.trailers(trailers) == trailers


def test_an_informational_answer_brings_links_and_no_cookies():
    """A 103 is no place for cookies or caching, and gets none of the final answer's headers."""
    headers = [
        (b"Link", b"</a.css>; rel=preload"),
        (b"Set-Cookie", b"a=1"),
        (b"Connection", b"close"),
        (b"Cache-Control", b"public"),
        (b"X-Auth-Subject", b"x"),
    ]

    assert GUARDED.informational(headers) == headers[:1]


def test_routes_that_treat_names_alike_share_what_they_learned():
    """Ten thousand routes do not keep ten thousand memos, and each stays bounded."""
    one = ResponsePlan(is_guarded=True, identity_names=["X-A"])
    other = ResponsePlan(is_guarded=True, identity_names=["x_a"])
    for number in range(3000):
        one.apply([(b"X-N%d" % number, b"")])
    one.apply([(b"y" * 100, b"")])

    assert one._names is other._names
    assert len(one._names.memo) <= 1024
    assert b"y" * 100 not in one._names.memo
