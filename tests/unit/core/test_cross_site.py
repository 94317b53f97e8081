from __future__ import annotations

import pytest

from proxy.core.cross_site import CrossSitePolicy
from proxy.model import ClientInfo, Peer, RequestView

PEER = Peer("127.0.0.1", 1, is_unix=False, is_tls=True)


def request(method="POST", **headers):
    """Return a request head with the headers given; `_` in a name is `-`, a list is several."""
    lines = [
        (name.replace("_", "-").title().encode(), value)
        for name, values in headers.items()
        for value in (values if isinstance(values, list) else [values])
    ]
    return RequestView(method=method, target=b"/", headers=tuple(lines), peer=PEER)


def client(host="shop.example", scheme="https", port=None, *, is_trusted=False):
    """Return what H5 makes of the client."""
    return ClientInfo("192.0.2.1", scheme, host, port, is_trusted)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_safe_methods_pass(method):
    """A request that changes nothing may come from anywhere."""
    view = request(method, origin=b"https://evil.example", sec_fetch_site=b"cross-site")

    assert CrossSitePolicy().allows(view, client())


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "PURGE", "get", "Head"])
def test_s3_every_other_method_is_unsafe(method):
    """S3: an unknown method, or a known one in another case, is not a safe one."""
    view = request(method, sec_fetch_site=b"cross-site")

    assert not CrossSitePolicy().allows(view, client())


def test_s3_an_upgrade_is_checked_whatever_its_method():
    """S3: a WebSocket from another site could speak with the user's session."""
    view = request("GET", upgrade=b"websocket", origin=b"https://evil.example")

    assert not CrossSitePolicy().allows(view, client())
    own = request("GET", upgrade=b"websocket", origin=b"https://shop.example")
    assert CrossSitePolicy().allows(own, client())


@pytest.mark.parametrize(
    ("site", "expected"),
    [
        (b"same-origin", True),
        (b"none", True),
        (b"same-site", False),
        (b"cross-site", False),
        (b"", False),
        (b"Same-Origin", False),
        (b"same-origin, cross-site", False),
        ([b"same-origin", b"cross-site"], False),
        ([b"same-origin", b"same-origin"], False),
        (b"\xff", False),
    ],
)
def test_s3_sec_fetch_site_decides_where_it_is_present(site, expected):
    """S3: the browser's own word counts, and only when it is said once and understood."""
    assert expected == CrossSitePolicy().allows(request(sec_fetch_site=site), client())


def test_s3_origin_may_be_null_beside_sec_fetch_site():
    """S3: a page without referrer sends Origin null to its own server."""
    assert CrossSitePolicy().allows(
        request(sec_fetch_site=b"same-origin", origin=b"null"), client()
    )
    assert not CrossSitePolicy().allows(request(origin=b"null"), client())


@pytest.mark.parametrize(
    ("origin", "who", "expected"),
    [
        (b"https://shop.example", client(), True),
        (b"https://shop.example", client("shop.example:443"), True),
        (b"http://shop.example", client(), False),
        (b"http://shop.example", client(scheme=None), True),
        (b"https://shop.example:8443", client(), False),
        (b"https://shop.example:8443", client("shop.example:8443"), True),
        (b"https://shop.example:8443", client(port=8443), False),
        (b"https://shop.example:8443", client(port=8443, is_trusted=True), True),
        (b"https://a.shop.example", client(), False),
        (b"https://shop.example.evil.example", client(), False),
        (b"https://evil.example", client(""), False),
        (b"", client(), False),
        (b"https://shop.example https://evil.example", client(), False),
        (b"https://shop.example/", client(), False),
    ],
)
def test_s3_without_sec_fetch_site_the_origin_is_compared(origin, who, expected):
    """S3: older browsers say Origin, which has to be the request's own."""
    assert expected == CrossSitePolicy().allows(request(origin=origin), who)


def test_s3_programs_without_either_header_pass():
    """S3: what is no browser sends neither, and carries no ambient credential by accident."""
    assert CrossSitePolicy().allows(request(), client())


def test_s3_the_public_url_is_own():
    """S3: behind a proxy that rewrites Host the configured origin counts."""
    policy = CrossSitePolicy(public_url="https://shop.example")

    assert policy.allows(request(origin=b"https://shop.example"), client("10.0.0.5:8080", "http"))
    assert not policy.allows(request(origin=b"https://evil.example"), client("10.0.0.5:8080"))


def test_same_site_adds_what_the_browser_calls_so():
    """S3: `same_site` needs the browser's word; names alone cannot tell a site."""
    policy = CrossSitePolicy("same_site")

    assert policy.allows(request(sec_fetch_site=b"same-site"), client())
    assert not policy.allows(request(sec_fetch_site=b"cross-site"), client())
    assert not policy.allows(request(origin=b"https://a.shop.example"), client())


def test_listed_origins_pass():
    """S3: a list adds its origins, and so do those of `cors` with credentials."""
    policy = CrossSitePolicy(
        origins=["https://app.example"], cors_origins=["https://cdn.example:8443"]
    )

    for origin in (b"https://app.example", b"https://cdn.example:8443"):
        assert policy.allows(request(origin=origin, sec_fetch_site=b"cross-site"), client())
        assert policy.allows(request(origin=origin), client())
    for origin in (b"http://app.example", b"https://app.example.evil", b"https://cdn.example"):
        assert not policy.allows(request(origin=origin, sec_fetch_site=b"same-site"), client())


def test_several_origins_are_refused():
    """S3: of two Origin headers nobody knows which one counts, also when both are listed."""
    policy = CrossSitePolicy(origins=["https://app.example"])
    view = request(origin=[b"https://app.example", b"https://app.example"])

    assert not policy.allows(view, client())


def test_allow_adds_all():
    """`cross_site: allow` is written out, and means it."""
    view = request(origin=[b"x", b"y"], sec_fetch_site=b"cross-site")

    assert CrossSitePolicy("allow").allows(view, client())


def test_the_refusal_says_why_and_quotes_nothing():
    """The log learns the reason; the request's words are not repeated."""
    refusal = CrossSitePolicy().check(request(origin=b"https://evil.example"), client())

    assert refusal is not None
    assert refusal.code == "cross_site"
    assert "evil" not in refusal.detail


@pytest.mark.parametrize("origin", ["null", "*", "app.example", "https://app.example/x"])
def test_a_configured_text_that_is_no_origin_is_a_mistake(origin):
    """`null` and `*` in a list would open to anybody."""
    with pytest.raises(ValueError, match="is not an origin"):
        CrossSitePolicy(origins=[origin])
