"""Where clients without TLS are sent: to the same host over https, or nowhere."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.models import Config
from proxy.core.paths import BadTarget
from proxy.model import Peer, RequestView
from proxy.services.redirect import HttpsRedirect

REDIRECT = HttpsRedirect(frozenset({"shop.test", "*.apps.test", "[::1]"}), 443)
PEER = Peer("192.0.2.1", 4711, is_unix=False, is_tls=False)


def asked(host=b"shop.test", target=b"/", method="GET", *, version=(1, 1), more=()):
    """Return a request."""
    hosts = () if host is None else ((b"Host", host),)
    return RequestView(method, target, (*hosts, *more), PEER, version)


@pytest.mark.parametrize(
    ("host", "target", "location"),
    [
        (b"shop.test", b"/a?b=c", b"https://shop.test/a?b=c"),
        (b"SHOP.Test.:8080", b"/", b"https://shop.test/"),
        (b"a.b.apps.test", b"/%2F..//x", b"https://a.b.apps.test/%2F..//x"),
        (b"[0:0::1]:80", b"/", b"https://[::1]/"),
        (b"shop.test", b"http://shop.test/a", b"https://shop.test/a"),
        (b"shop.test", b"//evil.test/a", b"https://shop.test//evil.test/a"),
        (b"shop.test", b"/\xc3\xa9?\xff", b"https://shop.test/%C3%A9?%FF"),
        (b"shop.test", b"/\\evil.test", b"https://shop.test/\\evil.test"),
    ],
)
def test_the_host_and_target_stay_what_they_are(host, target, location):
    """The port of plain HTTP is forgotten, and what no header may hold is written in escapes."""
    assert REDIRECT.location(asked(host, target)) == location


@pytest.mark.parametrize(
    ("host", "target", "code"),
    [
        (b"evil.test", b"/", "route_not_found"),
        (b"apps.test", b"/", "route_not_found"),
        (b"xapps.test", b"/", "route_not_found"),
        (b"shop.test.evil.test", b"/", "route_not_found"),
        (b"shop.test@evil.test", b"/", "host_invalid"),
        (b"shop.test/", b"/", "host_invalid"),
        (b"shop.test\r\nX: 1", b"/", "host_invalid"),
        (b"", b"/", "host_invalid"),
        (None, b"/", "host_invalid"),
        (b"shop.test", b"http://evil.test/", "host_invalid"),
        (b"shop.test", b"https://shop.test@evil.test/", "bad_request"),
        (b"shop.test", b"ftp://shop.test/", "bad_request"),
        (b"shop.test", b"shop.test:443", "bad_request"),
        (b"shop.test", b"/a\rb", "path_ambiguous"),
        (b"shop.test", b"/a?b\nc", "bad_request"),
        (b"shop.test", b"/%0d%0aSet-Cookie:%20a=b", "path_ambiguous"),
    ],
)
def test_p3_nobody_is_led_elsewhere(host, target, code):
    """An unknown or unclear Host, a second one in the target, or a line break leads nowhere."""
    with pytest.raises(BadTarget) as refused:
        REDIRECT.location(asked(host, target))

    assert refused.value.code == code


def test_two_hosts_or_none_lead_nowhere():
    """Neither a second Host header, nor HTTP/1.0 without one, nor the whole server."""
    for view in (
        asked(more=((b"host", b"evil.test"),)),
        asked(None, version=(1, 0)),
        asked(target=b"*", method="OPTIONS"),
    ):
        with pytest.raises(BadTarget):
            REDIRECT.location(view)


@given(
    st.lists(st.sampled_from([b"shop.test", b"evil.test", b":", b"@", b"/", b"\\", b".", b"#", b"[::1]", b"\t"]), max_size=5).map(b"".join) | st.binary(max_size=12),
    st.binary(max_size=20),
)  # fmt: skip
def test_whatever_is_asked_the_host_is_a_known_one(host, target):
    """No Host and no target makes a URL of another authority, nor a second line."""
    try:
        location = REDIRECT.location(asked(host, b"/" + target))
    except BadTarget:
        return

    url = urlsplit(location.decode("ascii"))
    assert url.scheme == "https"
    assert url.hostname in ("shop.test", "::1") or url.hostname.endswith(".apps.test")
    assert location.isascii()
    assert location.decode().isprintable()


def config(redirect=None, **more):
    """Return a configuration with routes of two hosts."""
    routes = [
        {"name": host, "match": {"host": host, "path": "/**"}, "auth": "none", "upstream": "app"}
        for host in ("a.test", "*.b.test")
    ]
    upstreams = {"app": {"servers": ["http://127.0.0.1:9"]}}
    return Config.model_validate(
        {"redirect": {"listen": "127.0.0.1:80", **(redirect or {})}, "routes": routes}
        | {"upstreams": upstreams, **more}
    )


def test_the_configuration_says_where_to():
    """Hosts are those of the routes and of public_url, which also knows the port."""
    own = HttpsRedirect.from_config(config(server={"public_url": "https://c.test:8443"}))
    for host in (b"a.test", b"x.b.test", b"c.test"):
        assert own.location(asked(host)) == b"https://%b:8443/" % host
    said = HttpsRedirect.from_config(config({"hosts": ["d.test"], "port": 444}))
    assert said.location(asked(b"d.test")) == b"https://d.test:444/"
    with pytest.raises(BadTarget):
        said.location(asked(b"a.test"))
