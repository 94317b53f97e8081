"""Who the client is, and what the upstream is told about the way here."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from proxy.core.forwarding import ForwardingPolicy, is_loop
from proxy.core.headers import FORWARDING_NAMES, HeaderRules
from proxy.model import Peer, RequestView

TRUSTED = (ip_network("10.0.0.0/8"), ip_network("2001:db8:1::/48"), "unix")
POLICY = ForwardingPolicy(TRUSTED)
RFC7239 = ForwardingPolicy(TRUSTED, "forwarded")
NOBODY = ForwardingPolicy()
READ_BESIDE = {b"host", b"via"}


def peer(address="10.0.0.1", *, tls=False):
    """Return a TCP peer, or one on a unix socket for `None`."""
    return Peer(address, 4711 if address else None, is_unix=address is None, is_tls=tls)


def view(*headers, source=None, host=b"shop.example.com", version=(1, 1)):
    """Return a request from `source` (default: a trusted peer)."""
    lines = ((b"Host", host),) if host is not None else ()
    return RequestView("GET", b"/", (*lines, *headers), source or peer(), version)


def chain(*values):
    """Return X-Forwarded-For lines."""
    return [(b"X-Forwarded-For", value) for value in values]


def written(request, policy=POLICY, prefix=None):
    """Return what is written for `request`, by name; every name once."""
    block = policy.write(
        request, policy.read(request), gate_id="gate-1", request_id="r", prefix=prefix
    )
    names = {name.decode(): value.decode() for name, value in block}
    assert len(names) == len(block)
    return names


SPOOFED = (
    (b"X-Forwarded-For", b"127.0.0.1"),
    (b"X-Forwarded-Proto", b"https"),
    (b"X-Forwarded-Host", b"evil.example"),
    (b"X-Forwarded-Port", b"443"),
    (b"X-Forwarded-Prefix", b"/evil"),
    (b"Forwarded", b"for=127.0.0.1;proto=https;host=evil.example"),
    (b"X-Request-Id", b"spoofed"),
)


@pytest.mark.parametrize("policy", [NOBODY, POLICY, RFC7239])
def test_h5_a_stranger_is_believed_nothing(policy):
    """Address, scheme and host are those of the connection (field.md §3 #2, #18, #40)."""
    request = view(*SPOOFED, source=peer("203.0.113.7"))
    client = policy.read(request)

    assert client.address == "203.0.113.7"
    assert client.scheme == "http"
    assert client.host == "shop.example.com"
    assert client.port == 80
    assert not client.is_trusted_peer
    assert client.prefix is None
    assert policy.request_id(request, client) is None


def test_h5_nobody_is_trusted_by_default():
    """Not even loopback (field.md §3 #2)."""
    assert not NOBODY.read(view(*SPOOFED, source=peer("127.0.0.1"))).is_trusted_peer
    assert not NOBODY.read(view(*SPOOFED, source=peer(None))).is_trusted_peer


def test_h5_nothing_of_a_strangers_is_written():
    """The upstream sees the gate's own view alone (field.md §3 #11)."""
    assert written(view(*SPOOFED, source=peer("203.0.113.7", tls=True))) == {
        "X-Forwarded-For": "203.0.113.7",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "shop.example.com",
        "X-Forwarded-Port": "443",
        "Forwarded": "for=203.0.113.7;host=shop.example.com;proto=https",
        "Via": "1.1 gate-1",
        "X-Request-Id": "r",
    }


@pytest.mark.parametrize(
    ("values", "address", "told"),
    [
        ([b"203.0.113.7"], "203.0.113.7", "203.0.113.7, 10.0.0.1"),
        ([b"1.1.1.1, 203.0.113.7"], "203.0.113.7", "203.0.113.7, 10.0.0.1"),
        ([b"1.1.1.1", b"203.0.113.7"], "203.0.113.7", "203.0.113.7, 10.0.0.1"),
        ([b"203.0.113.7, 10.9.9.9"], "203.0.113.7", "203.0.113.7, 10.9.9.9, 10.0.0.1"),
        ([b"203.0.113.7", b"10.9.9.9"], "203.0.113.7", "203.0.113.7, 10.9.9.9, 10.0.0.1"),
        ([b"203.0.113.7:4711"], "203.0.113.7", "203.0.113.7, 10.0.0.1"),
        ([b"[2001:db8::7]:4711"], "2001:db8::7", "2001:db8::7, 10.0.0.1"),
        ([b"2001:DB8:0::7"], "2001:db8::7", "2001:db8::7, 10.0.0.1"),
        ([b"::ffff:203.0.113.7"], "203.0.113.7", "203.0.113.7, 10.0.0.1"),
        ([b"203.0.113.7, ::ffff:10.9.9.9"], "203.0.113.7", "203.0.113.7, 10.9.9.9, 10.0.0.1"),
        ([b"10.2.2.2, 10.9.9.9"], "10.2.2.2", "10.2.2.2, 10.9.9.9, 10.0.0.1"),
    ],
)
def test_h5_the_client_is_the_right_most_address_that_is_not_trusted(values, address, told):
    """All lines count, and what the client says stands behind it is not repeated (#33)."""
    request = view(*chain(*values))

    assert POLICY.read(request).address == address
    assert written(request)["X-Forwarded-For"] == told


@pytest.mark.parametrize(
    "value",
    [
        b"a",
        b"",
        b"unknown",
        b"_hidden",
        b"203.0.113.7, ",
        b"203.0.113.7,,10.9.9.9",
        b"010.0.0.1",
        b"1.2.3",
        b"1.2.3.4.5",
        b"1.2.3.4 5.6.7.8",
        b"[203.0.113.7",
        b"fe80::1%eth0",
        b"203.0.113.7:",
        b"203.0.113.7:port",
        b"203.0.113.7\x00",
        b"\xff\xfe",
        b"203.0.113.7, 10.9.9.9, a, 10.9.9.8",
    ],
)
def test_h5_an_unparsable_client_is_unknown(value):
    """No rule is satisfied, and no application takes the next hop for the client (#21)."""
    request = view(*chain(value))

    assert POLICY.read(request).address is None
    assert written(request)["X-Forwarded-For"].split(", ")[0] == "unknown"
    assert written(request)["Forwarded"].startswith("for=unknown;")


def test_h5_a_chain_without_end_is_unknown():
    """Trusted hops are followed a bounded way back."""
    request = view(*chain(b"203.0.113.7, " + b", ".join([b"10.1.1.1"] * 40)))

    assert POLICY.read(request).address is None


def test_h5_scheme_host_and_port_come_from_the_nearest_hop_only():
    """Of a list the last member; what the client sent before it does not count."""
    client = POLICY.read(
        view(
            *chain(b"203.0.113.7"),
            (b"X-Forwarded-Proto", b"https, http"),
            (b"X-Forwarded-Host", b"evil.example"),
            (b"X-Forwarded-Host", b"evil.example, Shop.Example.com.:8443"),
            (b"X-Forwarded-Port", b"1, 8444"),
            (b"X-Forwarded-Prefix", b"/evil, /shop/"),
        )
    )

    assert client.scheme == "http"
    assert client.host == "shop.example.com:8443"
    assert client.port == 8444
    assert client.prefix == "/shop"


@pytest.mark.parametrize(
    ("value", "expected"),
    [(b"https", "https"), (b"HTTP", "http"), (b"wss", "https"), (b"ftp", None), (b"", None)],
)
def test_h5_a_scheme_is_one_of_two_or_unknown(value, expected):
    """WebSocket's names are the same origin's; anything else is not known (field.md §3 #18)."""
    assert POLICY.read(view((b"X-Forwarded-Proto", value))).scheme == expected


def test_h5_a_trusted_peer_that_does_not_say_has_an_unknown_scheme():
    """TLS between the proxy and the gate says nothing about the client's."""
    request = view(source=peer(tls=True))

    assert POLICY.read(request).scheme is None
    assert POLICY.read(request).port is None
    assert "X-Forwarded-Proto" not in written(request)
    assert "X-Forwarded-Port" not in written(request)


@pytest.mark.parametrize(
    "value", [b"evil.example/path", b"a b", b"user@evil.example", b"[::1", b"a:99999", b"\xff", b""]
)
def test_h5_a_forwarded_host_that_is_none_does_not_count(value):
    """The Host header stays (field.md §3 #40)."""
    assert POLICY.read(view((b"X-Forwarded-Host", value))).host == "shop.example.com"


@pytest.mark.parametrize("value", [b"0", b"65536", b"-1", b"80a", b"\xb2", b"", b"000443"])
def test_h5_a_forwarded_port_that_is_none_does_not_count(value):
    """The scheme's own port is taken."""
    client = POLICY.read(view((b"X-Forwarded-Proto", b"https"), (b"X-Forwarded-Port", value)))

    assert client.port == 443


@pytest.mark.parametrize(
    "value",
    [b"//evil.example", b"shop", b"/a/../b", b"/a?b", b"/a b", b"/", b"", b"/" + b"a" * 2000],
)
def test_h5_a_prefix_that_is_no_path_does_not_count(value):
    """Applications put it into links."""
    assert POLICY.read(view((b"X-Forwarded-Prefix", value))).prefix is None


def test_h5_a_trusted_peer_without_a_chain_is_the_client():
    """Nobody stands behind it."""
    for policy in (POLICY, RFC7239):
        client = policy.read(view())

        assert client.address == "10.0.0.1"
        assert client.is_trusted_peer
        assert client.forwarded_chain is None


def test_h5_unix_peers_have_no_address():
    """Trusted, their chain is read; not trusted, the client is unknown."""
    request = view(*chain(b"203.0.113.7"), source=peer(None))

    assert POLICY.read(request).address == "203.0.113.7"
    assert written(request)["X-Forwarded-For"] == "203.0.113.7"
    assert NOBODY.read(request).address is None
    assert NOBODY.read(request).scheme is None
    assert written(request, NOBODY)["X-Forwarded-For"] == "unknown"
    assert POLICY.read(view(source=peer(None))).address is None


def test_h5_a_mapped_peer_is_its_ipv4_address():
    """A listener on `[::]` sees IPv4 clients so."""
    assert POLICY.read(view(source=peer("::ffff:10.0.0.1"))).is_trusted_peer
    assert NOBODY.read(view(source=peer("::ffff:203.0.113.7"))).address == "203.0.113.7"


def test_h5_a_link_local_peer_loses_its_zone():
    """The zone is the gate's own business."""
    assert NOBODY.read(view(source=peer("fe80::1%eth0"))).address == "fe80::1"
    assert NOBODY.read(view(source=peer("not an address"))).address is None


@pytest.mark.parametrize(
    ("value", "address", "scheme", "host"),
    [
        (b"for=203.0.113.7;proto=https;host=a.example", "203.0.113.7", "https", "a.example"),
        (b'For="[2001:db8::7]:4711"; Proto=HTTPS', "2001:db8::7", "https", "shop.example.com"),
        (b"for=[2001:db8::7]", "2001:db8::7", None, "shop.example.com"),
        (b'for="203.0.113.7:80";host="a.example:8443"', "203.0.113.7", None, "a.example:8443"),
        (
            b"for=1.1.1.1;proto=http, for=203.0.113.7;proto=https",
            "203.0.113.7",
            "https",
            "shop.example.com",
        ),
        (b"for=203.0.113.7;proto=https, for=10.9.9.9", "203.0.113.7", None, "shop.example.com"),
        (b'for="203.0.\\113.7"', "203.0.113.7", None, "shop.example.com"),
        (b"for=_hidden;proto=https", None, "https", "shop.example.com"),
        (b"for=unknown", None, None, "shop.example.com"),
        (b"proto=https", None, "https", "shop.example.com"),
    ],
)
def test_h5_forwarded_is_read_where_it_is_the_family(value, address, scheme, host):
    """RFC 7239: each element is a hop, and the last is the nearest."""
    client = RFC7239.read(view((b"Forwarded", value)))

    assert (client.address, client.scheme, client.host) == (address, scheme, host)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"for",
        b"for=",
        b"for=1.1.1.1;",
        b"for=1.1.1.1,",
        b"for=1.1.1.1;for=203.0.113.7",
        b'for="203.0.113.7',
        b'for="1.1.1.1"x;proto=https',
        b"for=1.1.1.1 for=203.0.113.7",
        b'for="x, for="203.0.113.7";proto=https',
    ],
)
def test_h5_a_forwarded_that_is_not_its_grammar_says_nothing(value):
    """Whoever broke it could have hidden a hop: unknown, and no scheme (field.md §3 #21)."""
    client = RFC7239.read(view((b"Forwarded", value)))

    assert (client.address, client.scheme, client.host) == (None, None, "shop.example.com")


def test_h5_an_open_quote_of_the_clients_does_not_swallow_the_proxys_word():
    """Two lines are one list, so what is open in the first breaks both."""
    lines = ((b"Forwarded", b'for="x'), (b"Forwarded", b'for=203.0.113.7;host="a"'))

    assert RFC7239.read(view(*lines)).address is None


def test_h5_only_one_family_is_read():
    """The other is anybody's: most proxies leave it as it came."""
    both = (*chain(b"203.0.113.7"), (b"Forwarded", b"for=198.51.100.1;proto=https"))

    assert POLICY.read(view(*both)).address == "203.0.113.7"
    assert POLICY.read(view(*both)).scheme is None
    assert RFC7239.read(view(*both, (b"X-Forwarded-Host", b"evil"))).address == "198.51.100.1"
    assert RFC7239.read(view(*both, (b"X-Forwarded-Host", b"evil"))).host == "shop.example.com"


def test_h5_both_families_are_written():
    """The client's element has host and scheme; hops follow."""
    names = written(
        view(
            *chain(b"2001:db8::7, 10.9.9.9"),
            (b"X-Forwarded-Proto", b"https"),
            (b"X-Forwarded-Host", b"shop.example.com:8443"),
        )
    )

    assert names["X-Forwarded-For"] == "2001:db8::7, 10.9.9.9, 10.0.0.1"
    assert names["X-Forwarded-Port"] == "8443"
    assert names["Forwarded"] == (
        'for="[2001:db8::7]";host="shop.example.com:8443";proto=https, for=10.9.9.9, for=10.0.0.1'
    )


def test_what_is_written_can_be_read_by_the_next_gate():
    """A second gate that trusts the first sees the same client, in both families."""
    request = view(*chain(b"2001:db8::7"), (b"X-Forwarded-Proto", b"https"))
    first = POLICY.read(request)
    block = POLICY.write(request, first, gate_id="g", request_id="r")

    for policy in (POLICY, RFC7239):
        second = policy.read(view(*block, source=peer("10.0.0.2")))

        assert second.address == first.address
        assert second.host == first.host
    assert POLICY.read(view(*block)).scheme == "https"
    assert POLICY.request_id(view(*block), second) == "r"


def test_the_prefix_has_what_was_stripped_before_and_here():
    """Outer prefix first: the application's links go through both."""
    outer = (b"X-Forwarded-Prefix", b"/shop")

    assert written(view(outer), prefix=b"/api")["X-Forwarded-Prefix"] == "/shop/api"
    assert written(view(), prefix=b"/api")["X-Forwarded-Prefix"] == "/api"
    assert written(view(outer))["X-Forwarded-Prefix"] == "/shop"
    assert "X-Forwarded-Prefix" not in written(view())


@pytest.mark.parametrize("host", [None, b"", b"a b", b"a\r\nX: y", b"\xff", b"a,b"])
def test_a_host_that_is_none_is_not_repeated(host):
    """It is refused elsewhere; here it does not become a header."""
    names = written(view(host=host))

    assert "X-Forwarded-Host" not in names
    assert "host=" not in names["Forwarded"]


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        (b"Shop.Example.com.", "shop.example.com"),
        (b"a:8080", "a:8080"),
        (b"a:", "a"),
        (b"a:0", "a"),
        (b"[::1]:80", "[::1]:80"),
    ],
)
def test_the_host_is_written_in_one_spelling(host, expected):
    """Lower case, without final dot, the port kept."""
    assert written(view(host=host))["X-Forwarded-Host"] == expected


def test_via_names_the_version_that_came():
    """RFC 9110 §7.6.3: the received protocol."""
    assert written(view(version=(1, 0)))["Via"] == "1.0 gate-1"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"abc-123", "abc-123"),
        (b"x" * 128, "x" * 128),
        (b"x" * 129, None),
        (b"", None),
        (b"a b", None),
        (b"a\x1b[0m", None),
        (b"\xe2\x80\xae", None),
    ],
)
def test_a_trusted_peers_request_id_is_taken_when_it_is_sane(value, expected):
    """At most 128 visible ASCII characters (S15)."""
    request = view((b"X-Request-Id", value))

    assert POLICY.request_id(request, POLICY.read(request)) == expected


def test_two_request_ids_are_none():
    """Neither the first nor the last wins (field.md §3 #33)."""
    request = view((b"X-Request-Id", b"a"), (b"X-Request-Id", b"a"))

    assert POLICY.request_id(request, POLICY.read(request)) is None


class RecordingView(RequestView):
    """A request that remembers which headers were asked for."""

    asked: set[bytes]

    def values(self, name):
        """Remember `name`."""
        self.__dict__.setdefault("asked", set()).add(name)
        return super().values(name)


@pytest.mark.parametrize("policy", [POLICY, RFC7239, NOBODY])
def test_h2_every_header_that_is_read_is_in_the_table_of_those_removed(policy):
    """What is believed from one peer is taken from all others (field.md §3 #10, #11)."""
    request = RecordingView("GET", b"/", SPOOFED, peer())
    policy.write(request, policy.read(request), gate_id="g", request_id="r")
    policy.request_id(request, policy.read(request))
    is_loop(request, "g")

    assert request.asked <= FORWARDING_NAMES | READ_BESIDE
    for name in request.asked - READ_BESIDE:
        for spelling in (name, name.replace(b"-", b"_"), name.upper()):
            assert HeaderRules().strip([(spelling, b"x")], is_trusted=False) == []


def test_h2_aliases_are_never_read():
    """`X_Forwarded_For` of a trusted peer is not its word (field.md §3 #10)."""
    aliases = [(name.replace(b"-", b"_"), value) for name, value in SPOOFED if b"-" in name]
    client = POLICY.read(view(*aliases))

    assert (client.address, client.scheme, client.host) == ("10.0.0.1", None, "shop.example.com")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], False),
        ([b"1.1 other"], False),
        ([b"1.1 gate-1"], True),
        ([b"1.0 fred, 1.1 GATE-1 (comment)"], True),
        ([b"1.1 fred", b"HTTP/1.1  gate-1"], True),
        ([b"1.1 x (open, 1.1 gate-1"], True),
        ([b"1.1 gate-12"], False),
        ([b"1.1 other (gate-1)"], False),
        ([b"gate-1"], False),
        ([b","], False),
    ],
)
def test_f7_a_via_with_this_gate_is_a_loop(values, expected):
    """The received-by of any element, whatever stands around it."""
    assert is_loop(view(*((b"Via", value) for value in values)), "gate-1") is expected


def test_f7_what_the_gate_writes_is_what_it_recognises():
    """A request that comes back is known, also behind other proxies."""
    assert is_loop(view((b"Via", b"1.1 a"), (b"Via", written(view())["Via"].encode())), "gate-1")


def test_memory_does_not_grow_with_clients_and_hosts():
    """Ten thousand of each leave bounded memos; long values are not kept at all."""
    policy = ForwardingPolicy()
    for number in range(10_000):
        request = view(
            host=b"h%d.example" % number, source=peer(f"198.51.{number % 256}.{number // 256}")
        )
        policy.write(request, policy.read(request), gate_id="g", request_id="r")
    long = view(host=b"a" * 200, source=peer("198.51.1.1"))
    policy.write(long, policy.read(long), gate_id="g", request_id="r")

    assert len(policy._peers) <= 4096
    assert len(policy._written) <= 4096
    assert not any("a" * 200 in map(str, key) for key in policy._written)
