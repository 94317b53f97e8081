from __future__ import annotations

import pytest

from proxy.core.described import DIALECTS, Misdescribed, describe
from proxy.model import Peer, RequestView

PROXY = Peer("10.0.0.2", 4711, is_unix=False, is_tls=False)
ORIGINAL = {
    "Host": "shop.test",
    "X-Original-Method": "POST",
    "X-Original-URI": "/a?b=1",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-For": "203.0.113.7",
}
FORWARDED = {
    "Host": "gate",
    "X-Forwarded-Method": "POST",
    "X-Forwarded-Uri": "/a?b=1",
    "X-Forwarded-Host": "shop.test",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-For": "203.0.113.7",
}
SPOKEN = {
    "nginx": ("GET", "/check", ORIGINAL),
    "haproxy": ("GET", "/check", ORIGINAL),
    "traefik": ("GET", "/check/shop", FORWARDED),
    "caddy": ("GET", "/check", FORWARDED),
    "envoy": (
        "POST",
        "/check/a?b=1",
        {"Host": "shop.test", "X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.7"},
    ),
}
CASES = [(name, header) for name, (_, _, said) in SPOKEN.items() for header in said]


def question(method, target, *headers, has_body=False):
    """Return a question as it comes from a proxy."""
    raw = tuple((name.encode(), value.encode()) for name, value in headers)
    return RequestView(method, target.encode(), raw, PROXY, has_body=has_body)


def asked(dialect, *more, without=(), target=None):
    """Return what a proxy asks about, with more headers of its client's or without some of its own."""
    method, place, said = SPOKEN[dialect]
    headers = [item for item in said.items() if item[0] not in without]
    return describe(question(method, target or place, *headers, *more), DIALECTS[dialect])


@pytest.mark.parametrize("dialect", SPOKEN)
def test_every_dialect_describes_the_same_request(dialect):
    """Method, target, host, scheme and address are the client's, whoever tells them."""
    found = asked(dialect, ("Cookie", "sid=1"), ("Accept", "text/html"))

    assert ("POST", b"/a?b=1") == (found.view.method, found.view.target)
    assert ((b"Host", b"shop.test"), (b"Cookie", b"sid=1"), (b"Accept", b"text/html")) == (
        found.view.headers
    )
    client = found.client
    assert ("203.0.113.7", "https", "shop.test", 443, False) == (
        client.address,
        client.scheme,
        client.host,
        client.port,
        client.is_trusted_peer,
    )
    assert not found.wants_answer


@pytest.mark.parametrize(
    ("dialect", "header"), [case for case in CASES if case != ("caddy", "Host")]
)
def test_s13_a_missing_header_is_a_refusal(dialect, header):
    """S13: Without any one part of the description nothing is decided."""
    if (dialect, header) in [("traefik", "Host"), ("caddy", "Host")]:
        pytest.skip("the host of the gate's own listener says nothing")

    with pytest.raises(Misdescribed):
        asked(dialect, without=[header])


@pytest.mark.parametrize(("dialect", "header"), CASES)
def test_s13_a_doubled_header_is_a_refusal(dialect, header):
    """S13: A client that adds a header of the description does not choose which one counts."""
    if (dialect, header) in [("traefik", "Host"), ("caddy", "Host")]:
        pytest.skip("the host of the gate's own listener says nothing")

    with pytest.raises(Misdescribed, match="more than once"):
        asked(dialect, (header, SPOKEN[dialect][2][header]))


@pytest.mark.parametrize(("dialect", "header"), CASES)
def test_s13_an_empty_header_is_a_refusal(dialect, header):
    """S13: An empty word describes nothing."""
    if (dialect, header) in [("traefik", "Host"), ("caddy", "Host")]:
        pytest.skip("the host of the gate's own listener says nothing")

    with pytest.raises(Misdescribed):
        asked(dialect, (header, ""), without=[header])


@pytest.mark.parametrize(("dialect", "header"), CASES)
def test_s13_another_spelling_is_a_refusal(dialect, header):
    """S13: What some server folds into a header of the description is not silently the client's own."""
    if header == "Host":
        pytest.skip("it has no other spelling")

    for mark in "_.":
        with pytest.raises(Misdescribed, match="another spelling"):
            asked(dialect, (header.replace("-", mark), "x"))


@pytest.mark.parametrize("dialect", SPOKEN)
def test_s13_a_second_family_is_a_refusal(dialect):
    """S13: Headers by which another proxy would describe the request were sent by a client."""
    own = {header.lower() for header in SPOKEN[dialect][2]}
    others = {*ORIGINAL, *FORWARDED} - {"Host"}
    tried = [header for header in sorted(others) if header.lower() not in own]

    assert tried
    for header in tried:
        with pytest.raises(Misdescribed, match="not of this dialect"):
            asked(dialect, (header, "GET"))


@pytest.mark.parametrize(
    ("dialect", "header", "value"),
    [
        ("nginx", "X-Original-URI", "http://shop.test/a"),
        ("nginx", "X-Original-URI", "a"),
        ("nginx", "X-Original-URI", "*"),
        ("nginx", "X-Original-Method", "GET /x"),
        ("nginx", "X-Forwarded-Proto", "ftp"),
        ("nginx", "X-Forwarded-For", "a"),
        ("nginx", "X-Forwarded-For", "203.0.113.7, unix:"),
        ("traefik", "X-Forwarded-Uri", "a"),
        ("caddy", "X-Forwarded-Proto", "https, https"),
        ("envoy", "X-Forwarded-For", "203.0.113.7,"),
    ],
)
def test_s13_what_cannot_be_read_is_a_refusal(dialect, header, value):
    """S13: A target that is no path, a method, scheme or address that is none: nothing is guessed."""
    with pytest.raises(Misdescribed):
        asked(dialect, (header, value), without=[header])


@pytest.mark.parametrize("dialect", SPOKEN)
def test_h5_the_client_is_the_last_address(dialect):
    """What stands before it was claimed by the client, or by somebody that the proxy believes."""
    found = asked(
        dialect, ("X-Forwarded-For", "192.0.2.1, 198.51.100.4"), without=["X-Forwarded-For"]
    )

    assert found.client.address == "198.51.100.4"


def test_a_body_is_no_question():
    """Nobody asks with a body: behind one another question could hide."""
    method, place, said = SPOKEN["nginx"]

    with pytest.raises(Misdescribed, match="body"):
        describe(question(method, place, *said.items(), has_body=True), DIALECTS["nginx"])


@pytest.mark.parametrize(
    "target", ["/checks", "/check/", "/check//x", "/answer/x", "/a", "/check?x"]
)
def test_s13_an_unknown_place_is_a_refusal(target):
    """S13: The path of a question is one of those that are written down."""
    with pytest.raises(Misdescribed, match="unknown path"):
        asked("nginx", target=target)


@pytest.mark.parametrize("target", ["/a", "/checks/a", "/check"])
def test_s13_envoy_asks_below_its_prefix(target):
    """S13: Without the prefix nobody can tell a question from a request."""
    with pytest.raises(Misdescribed, match="unknown path"):
        asked("envoy", target=target)


def test_a_proxy_can_say_where_it_will_send_the_request():
    """Upstream and prefix that it has settled are held against the route afterwards."""
    plain, tagged = asked("caddy"), asked("traefik", target="/check/shop/api/v1")

    assert (None, None) == (plain.upstream, plain.strip)
    assert ("shop", b"/api/v1") == (tagged.upstream, tagged.strip)
    assert ("shop", b"") == (asked("traefik").upstream, asked("traefik").strip)


@pytest.mark.parametrize("dialect", SPOKEN)
def test_s3_a_websocket_handshake_is_seen_by_its_key(dialect):
    """A proxy may keep `Upgrade` to itself; no handshake is without its key (RFC 6455 §4.1)."""
    hidden = asked(dialect, ("Sec-WebSocket-Key", "AAAA"))
    shown = asked(dialect, ("Sec-WebSocket-Key", "AAAA"), ("Upgrade", "websocket"))

    assert [b"websocket"] == hidden.view.values(b"upgrade") == shown.view.values(b"upgrade")


@pytest.mark.parametrize(
    "name", ["X-Latchgate-Decision", "x_latchgate.upstream", "X-Latchgate-Any"]
)
def test_s13_nobody_speaks_for_the_gate(name):
    """S13: What a client says in the gate's own words is left out, and noted."""
    found = asked("nginx", (name, "forward"))

    assert (name.encode(),) == found.claimed
    assert [b"Host"] == [header for header, _ in found.view.headers]
