from __future__ import annotations

import pytest

from proxy.config.loader import parse_config
from proxy.config.request_line import parse_request_line
from proxy.model import Peer
from proxy.services.rehearsal import STRANGER, UNSIGNED, UnsignedMinter, request_view

GATE = """\
server: {%s}
upstreams: {app: {servers: ["http://127.0.0.1:1"]}}
routes:
  - {match: {path: "/a"}, auth: none, upstream: app}
"""
NAMED = "  - {match: {host: %s, path: /**}, auth: none, upstream: app}\n"


@pytest.fixture
def configured(tmp_path):
    def configure(server="", *hosts):
        text = GATE % server + "".join(NAMED % host for host in hosts)
        return parse_config(text.encode(), file="f", base=tmp_path, environment={}).config

    return configure


@pytest.mark.parametrize(
    ("server", "hosts", "expected"),
    [
        ("", (), b"localhost"),
        ("", ("shop.example.com",), b"shop.example.com"),
        ("", ("a.example.com", "b.example.com"), b"localhost"),
        ("", ('"*.example.com"',), b"localhost"),
        ('public_url: "https://p.example.com:8443"', ("a.example.com",), b"p.example.com:8443"),
    ],
)
def test_a_path_alone_is_asked_of_the_host_that_people_see(configured, server, hosts, expected):
    """`public_url`, else the only host that routes name, else one that none names."""
    view = request_view(configured(server, *hosts), parse_request_line("GET /a"))

    assert [expected] == view.values(b"host")


@pytest.mark.parametrize(
    ("server", "request_line", "is_tls"),
    [
        ("", "GET /a", False),
        ("", "GET https://a/a", True),
        ('public_url: "https://p.example.com"', "GET /a", True),
        ('public_url: "https://p.example.com"', "GET http://a/a", False),
    ],
)
def test_https_is_what_the_url_says_or_what_people_see(configured, server, request_line, is_tls):
    """The same-origin check depends on it."""
    view = request_view(configured(server), parse_request_line(request_line))

    assert is_tls == view.peer.is_tls
    assert STRANGER.address == view.peer.address


def test_a_host_header_counts_more_than_the_url(configured):
    """There is one Host, as on the wire."""
    view = request_view(
        configured(),
        parse_request_line("GET http://a/a?b"),
        [(b"host", b"c")],
        Peer(None, None, True, False),
    )

    assert ([b"c"], b"/a?b", False) == (view.values(b"host"), view.target, view.peer.is_tls)


def test_nothing_that_could_be_used_is_signed():
    """In the place of an assertion stand words."""
    assert UNSIGNED == UnsignedMinter().mint(None, "a", 0.0, as_bearer=True)
