"""The PROXY protocol, version 2: who is behind the proxy, or a refusal."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.proxy_protocol import FRONT, MAX_LENGTH, SIGNATURE, announced, source

V4 = ip_address("192.0.2.1").packed + ip_address("192.0.2.9").packed
V6 = ip_address("2001:db8::1").packed + ip_address("2001:db8::9").packed
PORTS = b"\x12\x67\x01\xbb"


def header(rest=V4 + PORTS, command=0x21, family=0x11, length=None):
    """Return a header."""
    size = len(rest) if length is None else length
    return SIGNATURE + bytes((command, family)) + size.to_bytes(2, "big") + rest


def read(raw):
    """Return the source of a whole header, and how many bytes are its own."""
    length = announced(raw[:FRONT])
    return source(raw[:FRONT], raw[FRONT : FRONT + length]), FRONT + length


def test_the_client_is_the_source():
    """Over IPv4 and IPv6, whatever stands behind the addresses."""
    tlv = b"\x04\x00\x02ab"
    assert read(header()) == (("192.0.2.1", 4711), 28)
    assert read(header(V4 + PORTS + tlv)) == (("192.0.2.1", 4711), 33)
    assert read(header(V6 + PORTS, family=0x21)) == (("2001:db8::1", 4711), 52)


def test_a_proxy_may_speak_for_itself():
    """LOCAL has no client, whatever addresses it carries."""
    assert read(header(b"", 0x20, 0x00)) == (None, 16)
    assert read(header(command=0x20)) == (None, 28)


@pytest.mark.parametrize(
    "raw",
    [
        b"PROXY TCP4 192.0.2.1 192.0.2.9 4711 443\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        SIGNATURE,
        header(command=0x11),
        header(command=0x31),
        header(command=0x22),
        header(family=0x12),
        header(family=0x00),
        header(family=0x31, rest=b"x" * 216),
        header(V4 + PORTS[:2]),
        header(V6[:20] + PORTS, family=0x21),
        header(V4 + PORTS, family=0x21),
        header(length=MAX_LENGTH + 1),
        header(length=0xFFFF, command=0x20),
        header().replace(b"QUIT", b"QUIt"),
    ],
)
def test_whatever_leaves_the_client_open_is_refused(raw):
    """Version 1, no header, other versions, commands, families, datagrams; what is too short or long."""
    with pytest.raises(ValueError, match=r"."):
        announced(raw[:FRONT])


@given(st.ip_addresses(), st.integers(0, 65535), st.binary(max_size=300))
def test_every_address_is_read_as_it_was_written(address, port, more):
    """And no byte of what follows counts."""
    family = 0x11 if address.version == 4 else 0x21
    rest = address.packed * 2 + port.to_bytes(2, "big") + b"\x01\xbb" + more

    assert read(header(rest, family=family))[0] == (str(address), port)


@given(st.binary(max_size=80).map(lambda rest: (SIGNATURE + rest)[:80]) | st.binary(max_size=40))
def test_whatever_comes_is_read_or_refused(raw):
    """No bytes end in anything but an address, LOCAL or a ValueError."""
    try:
        length = announced(raw[:FRONT])
    except ValueError:
        return

    assert length <= MAX_LENGTH
    found = source(raw[:FRONT], raw[FRONT:].ljust(length, b"\0")[:length])
    assert found is None or ip_address(found[0])
