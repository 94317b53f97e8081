from __future__ import annotations

import pytest

from proxy.core.cors import MAX_ECHO_BYTES, CorsPolicy, is_preflight
from proxy.model import Peer, RequestView

PEER = Peer("127.0.0.1", 1, is_unix=False, is_tls=True)
APP = b"https://app.example"


def preflight(origin=APP, method=b"PUT", headers=None, *, verb="OPTIONS"):
    """Return a preflight; `None` leaves a header out, a list repeats it."""
    lines = []
    for name, value in (
        (b"Origin", origin),
        (b"Access-Control-Request-Method", method),
        (b"Access-Control-Request-Headers", headers),
    ):
        values = value if isinstance(value, list) else [value]
        lines += [(name, each) for each in values if each is not None]
    return RequestView(method=verb, target=b"/", headers=tuple(lines), peer=PEER)


@pytest.mark.parametrize(
    ("view", "method"),
    [
        (preflight(), "PUT"),
        (preflight(method=b"x-odd"), "x-odd"),
        (preflight(verb="GET"), None),
        (preflight(verb="options"), None),
        (preflight(origin=None), None),
        (preflight(method=None), None),
        (preflight(method=b""), None),
        (preflight(method=b"GET POST"), None),
        (preflight(method=b"G\xc3\x8bT"), None),
        (preflight(method=b"A" * 65), None),
        (preflight(method=[b"GET", b"PUT"]), None),
        (preflight(origin=[APP, APP]), None),
    ],
)
def test_a_preflight_is_known_by_its_headers(view, method):
    """OPTIONS with one origin and one method; everything else is a request that needs its key."""
    assert method == is_preflight(view)


def test_a_preflight_of_a_listed_origin_is_answered():
    """The answer names origin, methods, headers and how long it holds."""
    policy = CorsPolicy(
        ["https://App.example:443/"], credentials=True, max_age=600, methods=["POST", "GET"]
    )

    assert policy.preflight(preflight(headers=b"authorization, x-a")) == (
        (b"Access-Control-Allow-Origin", APP),
        (b"Access-Control-Allow-Credentials", b"true"),
        (b"Access-Control-Allow-Methods", b"GET, POST"),
        (b"Access-Control-Allow-Headers", b"authorization, x-a"),
        (b"Access-Control-Max-Age", b"600"),
        (b"Vary", b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers"),
    )


@pytest.mark.parametrize(
    "origin",
    [
        b"https://evil.example",
        b"https://app.example.evil",
        b"http://app.example",
        b"https://app.example:444",
        b"HTTPS://APP.EXAMPLE",
        b"null",
        b"",
        b"\xff",
    ],
)
def test_another_origin_gets_nothing(origin):
    """A page of another origin is told nothing that its browser would let it through for."""
    policy = CorsPolicy(["https://app.example"], credentials=True)

    names = {name for name, _ in policy.preflight(preflight(origin=origin))}
    assert names == {b"Vary"}
    assert policy.response(origin) == ((b"Vary", b"Origin"),)


def test_a_route_for_every_method_allows_the_one_asked_for():
    """Without `methods` the route takes each; the preflight was matched by this one."""
    answer = dict(CorsPolicy(["https://app.example"]).preflight(preflight(method=b"PATCH")))

    assert answer[b"Access-Control-Allow-Methods"] == b"PATCH"
    assert b"Access-Control-Allow-Credentials" not in answer


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (b"x-a", b"x-a"),
        (b"x-a,x-b , x-c", b"x-a,x-b , x-c"),
        ([b"x-a", b"x-b"], b"x-a, x-b"),
        (None, None),
        (b"", None),
        (b"x-a,", None),
        (b"x a", None),
        (b"x-a;q=1", None),
        (b"x-\xff", None),
        (b"<script>", None),
        (b"a" * (MAX_ECHO_BYTES + 1), None),
    ],
)
def test_any_header_means_those_asked_for(headers, expected):
    """`headers: any` gives back header names and nothing that is not one."""
    answer = dict(CorsPolicy(["https://app.example"]).preflight(preflight(headers=headers)))

    assert expected == answer.get(b"Access-Control-Allow-Headers")


def test_listed_headers_are_those_of_the_file():
    """With a list the request's wishes do not matter."""
    policy = CorsPolicy(["https://app.example"], headers=["Authorization", "X-A"])

    answer = dict(policy.preflight(preflight(headers=b"x-evil")))
    assert answer[b"Access-Control-Allow-Headers"] == b"authorization, x-a"


def test_responses_name_the_origin_and_vary():
    """A response lets its own origin read, and caches keep origins apart."""
    policy = CorsPolicy(["https://app.example"], credentials=True)

    assert policy.response(APP) == (
        (b"Access-Control-Allow-Origin", APP),
        (b"Access-Control-Allow-Credentials", b"true"),
        (b"Vary", b"Origin"),
    )
    assert policy.response(None) == ((b"Vary", b"Origin"),)


def test_responses_name_what_a_page_may_read():
    """Browsers keep every other header of a response from a page of another origin (Fetch §3.2)."""
    policy = CorsPolicy(["https://app.example"], exposed=["WWW-Authenticate", "DPoP-Nonce"])
    named = (b"Access-Control-Expose-Headers", b"WWW-Authenticate, DPoP-Nonce")

    assert named in policy.response(APP)
    assert policy.response(b"https://evil.example") == ((b"Vary", b"Origin"),)
    assert named not in policy.preflight(preflight())


def test_s3_only_credentialed_origins_count_as_listed():
    """S3: an origin that may not send cookies may not use them either."""
    assert CorsPolicy(["https://a.example"]).credentialed_origins == ()
    policy = CorsPolicy(["https://a.example"], credentials=True)
    assert policy.credentialed_origins == ("https://a.example",)


@pytest.mark.parametrize("name", ["", "x a", "x:", "*", "x-\u00e9"])
def test_a_configured_header_that_is_none_is_a_mistake(name):
    """A bad name in `headers` is found at load."""
    with pytest.raises(ValueError, match="is not a header name"):
        CorsPolicy(["https://app.example"], headers=[name])


@pytest.mark.parametrize("origin", ["null", "*", "app.example"])
def test_a_configured_origin_that_is_none_is_a_mistake(origin):
    """`null` would let every sandboxed page in, and `*` everybody."""
    with pytest.raises(ValueError, match="is not an origin"):
        CorsPolicy([origin])
