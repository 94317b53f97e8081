"""The gate's own cookies: names and attributes, and where a password may travel."""

from __future__ import annotations

import pytest

from proxy.core.own_cookies import OwnCookie, host_name, is_insecure, is_plain_local
from proxy.model import ClientInfo


def client(scheme, host):
    return ClientInfo("192.0.2.1", scheme, host, None, is_trusted_peer=False)


HTTPS = client("https", "shop.example.com")
LOCAL = client("http", "localhost:8080")


@pytest.mark.parametrize(
    ("scheme", "host", "public_url", "is_bad"),
    [
        ("https", "shop.example.com", None, False),
        ("http", "shop.example.com", None, True),
        (None, "shop.example.com", None, True),
        ("http", "localhost:8080", None, False),
        ("http", "127.0.0.1", None, False),
        ("http", "[::1]:8080", None, False),
        ("http", "localhost.evil.example", None, True),
        ("http", "127.0.0.1.evil.example", None, True),
        ("http", "shop.example.com", "https://shop.example.com", False),
        ("https", "shop.example.com", "http://shop.example.com", True),
        ("http", "10.0.0.1", "http://localhost:8080", False),
    ],
)
def test_s5_a_password_travels_by_https_or_stays_here(scheme, host, public_url, is_bad):
    """S5: the origin is `public_url`, else what the nearest trusted hop says."""
    assert is_bad == is_insecure(client(scheme, host), public_url)


def test_s1_a_cookie_is_for_its_host_alone():
    """S1: with its prefix, Secure, HttpOnly and SameSite, for the whole host."""
    cookie = OwnCookie("__Host-sid")

    assert (b"Set-Cookie", b"__Host-sid=v; Path=/; Secure; HttpOnly; SameSite=Lax") == cookie.set(
        "v", HTTPS
    )
    assert cookie.set("v", HTTPS, max_age_s=60.5)[1].endswith(b"; Max-Age=60")
    assert [b"__Host-sid=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0"] == [
        value for _, value in cookie.expire(HTTPS)
    ]


def test_s5_on_plain_localhost_it_has_neither_prefix_nor_secure():
    """S5: browsers would not keep it there."""
    assert (b"Set-Cookie", b"sid=v; Path=/; HttpOnly; SameSite=Lax") == OwnCookie("__Host-sid").set(
        "v", LOCAL
    )
    assert "sid" == OwnCookie("__Secure-sid").bare
    assert is_plain_local(LOCAL)
    assert not is_plain_local(client("https", "localhost"))


def test_several_hosts_share_a_cookie_below_their_domain_only():
    """A host that is not below the domain gets a cookie of its own."""
    cookie = OwnCookie("__Secure-sid", "example.com")

    assert cookie.set("v", HTTPS)[1].endswith(b"; Domain=example.com")
    assert 2 == len(cookie.expire(HTTPS))
    for other in ("example.org", "notexample.com"):
        assert b"Domain" not in cookie.set("v", client("https", other))[1]
    assert b"Domain" not in OwnCookie("__Host-x", "example.com").set("v", HTTPS)[1]


@pytest.mark.parametrize(
    ("host", "name"),
    [("a:80", "a"), ("a", "a"), ("[::1]:80", "::1"), ("[::1]", "::1"), ("", "")],
)
def test_a_host_without_its_port(host, name):
    """Names and addresses alike."""
    assert name == host_name(host)
