"""The way in: the origin that the browser sees."""

from __future__ import annotations

import pytest

from proxy.model import ClientInfo
from proxy.services.entrance import Entrance, InsecureOrigin


def client(scheme, host, *, port=None, is_trusted=False):
    """Return a client that used this origin."""
    return ClientInfo("127.0.0.1", scheme, host, port, is_trusted_peer=is_trusted)


def entrance(public_url=None):
    """Return an entrance that makes no sessions."""
    return Entrance(None, None, cookie="__Host-sid", public_url=public_url, own_path="/_auth")


@pytest.mark.parametrize(
    ("who", "origin"),
    [
        (client("https", "shop.example.com"), "https://shop.example.com"),
        (client("https", "shop.example.com:8443"), "https://shop.example.com:8443"),
        (client("https", "[::1]"), "https://[::1]"),
        (client(None, "shop.example.com"), "https://shop.example.com"),
        (client("https", "a.example", port=8443, is_trusted=True), "https://a.example:8443"),
        (client("https", "a.example", port=443, is_trusted=True), "https://a.example"),
        (client("http", "127.0.0.1:8080"), "http://127.0.0.1:8080"),
        (client("http", "localhost:8080"), "http://localhost:8080"),
        (client("http", "[::1]:8080"), "http://[::1]:8080"),
    ],
)
def test_the_origin_is_the_one_that_the_browser_used(who, origin):
    """What is not known to be plain http is taken for https: cookies are Secure then."""
    assert origin == entrance().origin(who)


def test_the_public_url_wins():
    """Where the gate has one name, providers are told that."""
    gate = entrance("https://shop.example.com")

    assert "https://shop.example.com" == gate.origin(client("http", "10.0.0.1:8080"))


@pytest.mark.parametrize(
    "host", ["shop.example.com", "10.0.0.1", "localhost.example.com", "127.0.0.1.example.com"]
)
def test_plain_http_is_for_this_machine_only(host):
    """Anybody in between could take the session (security.md, S5)."""
    with pytest.raises(InsecureOrigin):
        entrance().origin(client("http", host))
    with pytest.raises(InsecureOrigin):
        entrance(f"http://{host}").origin(client("https", host))
