"""What a session is bound to, and which requests fit."""

from __future__ import annotations

import pytest

from proxy.core.binding import Binding, bind, block_of

FIREFOX = b"Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0"
NEWER = b"Mozilla/5.0 (X11; Linux x86_64; rv:131.0.2) Gecko/20100101 Firefox/131.0.2"
OTHER = b"Mozilla/5.0 (Macintosh; Intel Mac OS X) AppleWebKit/605 Safari/605"


@pytest.mark.parametrize(
    ("address", "bits", "block"),
    [
        ("192.0.2.77", 24, "192.0.2.0/24"),
        ("192.0.2.77", 32, "192.0.2.77/32"),
        ("::ffff:192.0.2.77", 24, "192.0.2.0/24"),
        ("2001:db8:1:2:3::4", 24, "2001:db8:1::/48"),
        ("fe80::1%eth0", 32, "fe80::/64"),
        ("nonsense", 24, None),
        (None, 24, None),
    ],
)
def test_a_block_of_addresses(address, bits, block):
    """IPv6 has twice the bits: a site there is what a block is here."""
    assert block == block_of(address, bits)


def test_a_neighbour_fits_and_a_stranger_does_not():
    """A session moves within its block, and nowhere else."""
    binding = bind("192.0.2.1", FIREFOX, bits=24, has_agent=True)

    assert None is binding.broken_by("192.0.2.200", FIREFOX)
    assert "another address block" == binding.broken_by("192.0.3.1", FIREFOX)
    assert "another address block" == binding.broken_by("2001:db8::1", FIREFOX)
    assert "another address block" == binding.broken_by(None, FIREFOX)


def test_an_update_of_the_browser_fits_and_another_browser_does_not():
    """Versions change under a session that is remembered; the browser itself does not."""
    binding = bind(None, FIREFOX, bits=None, has_agent=True)

    assert None is binding.broken_by(None, NEWER)
    assert "another browser" == binding.broken_by(None, OTHER)
    assert "another browser" == binding.broken_by(None, None)


@pytest.mark.parametrize("address", [None, "", "nonsense", "192.0.2.1:4711"])
def test_r1_what_begins_at_an_unknown_address_is_used_at_no_known_one(address):
    """R1, fail closed: it is no session for everywhere."""
    binding = bind(address, b"x", bits=24, has_agent=False)

    assert "another address block" == binding.broken_by("192.0.2.1", b"x")
    assert "another address block" == binding.broken_by("2001:db8::1", b"x")
    assert None is binding.broken_by(None, b"x")


def test_where_nothing_is_wanted_nothing_is_bound():
    """To no address where none is to be looked at, and with no browser either to nothing."""
    assert None is bind("192.0.2.1", b"x", bits=None, has_agent=False)
    assert None is bind(None, b"x", bits=None, has_agent=True).network


@pytest.mark.parametrize("network", ["", "192.0.2.0", "192.0.2.0/x", "192.0.2.0/99", "x/24"])
def test_a_network_that_is_none_holds_nobody(network):
    """A record may say anything; what it says wrongly lets nobody in."""
    assert "another address block" == Binding(network).broken_by("192.0.2.1", None)
