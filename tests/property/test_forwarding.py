"""Forwarding headers that nobody thought of."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st

from proxy.core.forwarding import ForwardingPolicy, is_loop
from proxy.model import Peer, RequestView

NETWORK = ip_network("10.0.0.0/8")
POLICIES = [ForwardingPolicy([NETWORK]), ForwardingPolicy([NETWORK], "forwarded")]
ADDRESSES = st.one_of(
    st.ip_addresses().map(str),
    st.ip_addresses(v=4, network="10.0.0.0/8").map(str),
    st.ip_addresses(v=4, network="10.0.0.0/8").map(lambda address: f"::ffff:{address}"),
)
HOPS = st.one_of(
    ADDRESSES.map(str.encode),
    ADDRESSES.map(lambda a: f"[{a}]:80".encode()),
    st.sampled_from([b"unknown", b"", b"for=", b'"', b"1.2.3", b";", b"for=10.0.0.1;proto=https"]),
    st.binary(max_size=12),
)
LISTS = st.lists(HOPS, max_size=4).map(b", ".join)
NAMES = st.sampled_from(
    [
        b"X-Forwarded-For",
        b"X-Forwarded-Proto",
        b"X-Forwarded-Host",
        b"X-Forwarded-Port",
        b"X-Forwarded-Prefix",
        b"Forwarded",
        b"X-Request-Id",
        b"Host",
        b"Via",
    ]
)
REQUESTS = st.builds(
    lambda headers, address, tls: RequestView(
        "GET", b"/", tuple(headers), Peer(address, 1, is_unix=address is None, is_tls=tls)
    ),
    st.lists(st.tuples(NAMES, LISTS), max_size=6),
    st.one_of(st.none(), ADDRESSES, st.sampled_from(["10.0.0.1", "odd"])),
    st.booleans(),
)


@given(REQUESTS, st.sampled_from(POLICIES))
def test_h5_reading_and_writing_take_any_bytes(request, policy):
    """No header makes them raise, or makes them write what is not printable ASCII."""
    client = policy.read(request)
    policy.request_id(request, client)
    is_loop(request, "g")
    block = policy.write(request, client, gate_id="g", request_id="r", prefix=b"/api")

    for _, value in block:
        assert all(0x20 <= byte <= 0x7E for byte in value)
    assert len({name for name, _ in block}) == len(block)


@given(REQUESTS, st.sampled_from(POLICIES))
def test_h5_the_client_is_an_address_or_unknown(request, policy):
    """What counts as an address is one, in its one spelling, and begins what is written."""
    client = policy.read(request)
    block = dict(policy.write(request, client, gate_id="g", request_id="r"))
    first = block[b"X-Forwarded-For"].decode().split(", ")[0]

    if client.address is None:
        assert first == "unknown"
    else:
        assert str(ip_address(client.address)) == client.address
        assert first == client.address


@given(REQUESTS, st.sampled_from(POLICIES))
def test_h5_a_stranger_changes_nothing_by_forwarding_headers(request, policy):
    """Without its forwarding headers the same stranger is the same client."""
    client = policy.read(request)
    if client.is_trusted_peer:
        return
    plain = tuple(header for header in request.headers if header[0] == b"Host")
    bare = RequestView("GET", b"/", plain, request.peer)

    assert client == policy.read(bare)


@given(
    st.lists(st.ip_addresses(v=4, network="10.0.0.0/8"), max_size=5),
    st.ip_addresses().filter(lambda a: (getattr(a, "ipv4_mapped", None) or a) not in NETWORK),
    LISTS,
)
def test_h5_nothing_before_the_client_matters(hops, address, spoofed):
    """Behind any number of trusted hops, what the client itself sent does not count."""
    chain = b", ".join([spoofed, str(address).encode(), *(str(hop).encode() for hop in hops)])
    request = RequestView(
        "GET",
        b"/",
        ((b"X-Forwarded-For", chain),),
        Peer("10.0.0.1", 1, is_unix=False, is_tls=False),
    )

    assert POLICIES[0].read(request).address == str(
        getattr(address, "ipv4_mapped", None) or address
    )
