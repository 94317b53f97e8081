from __future__ import annotations

import pytest

from proxy.core.hosts import MAX_NAME_LENGTH, Host, parse_host
from proxy.core.paths import BadTarget


@pytest.mark.parametrize(
    ("value", "name", "port"),
    [
        (b"shop.example.com", "shop.example.com", None),
        (b"SHOP.Example.COM", "shop.example.com", None),
        (b"shop.example.com.", "shop.example.com", None),
        (b"shop.example.com.:8080", "shop.example.com", 8080),
        (b"shop.example.com:443", "shop.example.com", 443),
        (b"shop.example.com:", "shop.example.com", None),
        (b"localhost:0080", "localhost", 80),
        (b"my_service:9001", "my_service", 9001),
        (b"xn--bcher-kva.example", "xn--bcher-kva.example", None),
        (b"127.0.0.1:65535", "127.0.0.1", 65535),
        (b"[::1]", "[::1]", None),
        (b"[0:0:0:0:0:0:0:1]:80", "[::1]", 80),
        (b"[2001:DB8::00A]", "[2001:db8::a]", None),
        (b"[::ffff:192.0.2.1]", "[::ffff:c000:201]", None),
    ],
)
def test_p3_a_host_has_one_spelling(value, name, port):
    """P3 (field.md §3 #34): case, final dot, port and IPv6 spelling make no difference."""
    host = parse_host(value)

    assert host.port == port
    if name.startswith("[::ffff"):  # newer Pythons write the last 32 bits as an IPv4 address
        assert host.name in (name, "[::ffff:192.0.2.1]")
    else:
        assert Host(name, port) == host


@pytest.mark.parametrize(
    "value",
    [
        *(
            b"",
            b".",
            b"..",
            b":80",
            b".example",
            b"a..b",
            b"example..",
            b"a:b",
            b"a:80:80",
            b"a:-1",
        ),
        *(
            b"a:65536",
            b"a:999999",
            b"a: 80",
            b" a",
            b"a ",
            b"a\t",
            b"a\n",
            b"a\x00",
            b"a,b",
            b"a;b",
        ),
        *(
            b"user@a",
            b"a/b",
            b"a\\b",
            b"a?b",
            b"a#b",
            b"a%2eb",
            b"ex%61mple.com",
            b"a*b",
            b"*.a",
            b"'a'",
        ),
        *(
            b"[::1",
            b"::1",
            b"::1]",
            b"[]",
            b"[::1]x",
            b"[::1]]",
            b"[fe80::1%25eth0]",
            b"[fe80::1%eth0]",
        ),
        *(
            b"[v1.x]",
            b"[127.0.0.1]",
            b"[1::2::3]",
            b"[:]",
            b"b\xc3\xbccher.example",
            b"a\xe3\x80\x82b",
        ),
        *(b"http://a", b"a=b", b"(a)", b"a&b", b"a+b", b'"a"', b"<a>", b"[::1].", b"a:\xd9\xa1"),
        b"a" * (MAX_NAME_LENGTH + 1),
    ],
)
def test_p3_what_is_no_host_is_refused(value):
    """P3: only a name, an address and a port are a host; nothing is decoded or repaired."""
    with pytest.raises(BadTarget) as caught:
        parse_host(value)

    assert caught.value.code == "host_invalid"
    assert caught.value.status == 400


def test_the_longest_name_is_a_host():
    """A name as long as DNS allows passes, and so does its final dot."""
    name = "a." * 126 + "b"

    assert Host(name, None) == parse_host(name.encode()) == parse_host(name.encode() + b".")
