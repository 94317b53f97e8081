"""What certificates say of their holders."""

from __future__ import annotations

import datetime as dt

import pytest
from cryptography.x509 import DNSName

from proxy.core.certificates import dns_names, expires_at
from tests.certificates import Authority


def test_the_hosts_of_a_certificate_are_those_of_its_san(tmp_path):
    """In lower case, each once; the CN is none of them (RFC 6125 §6.4.4)."""
    names = (DNSName("Shop.Test"), DNSName("*.shop.test"), DNSName("shop.test"))
    cert, _ = Authority(tmp_path).issue("a", "other.test", *names)

    assert dns_names(cert.read_bytes()) == ("shop.test", "*.shop.test")


def test_a_certificate_may_name_no_host(tmp_path):
    """Then nobody can ask for it."""
    cert, _ = Authority(tmp_path).issue("a", "shop.test")

    assert dns_names(cert.read_bytes()) == ()
    with pytest.raises(ValueError, match="PEM"):
        dns_names(b"nothing")


def test_a_chain_ends_with_the_first_of_its_certificates(tmp_path):
    """Clients refuse it from then on, whichever it is; what stands between them is passed by."""
    first, _ = Authority(tmp_path).issue("a", end=dt.datetime(2030, 1, 1))  # noqa: DTZ001 - as x509
    later, key = Authority(tmp_path).issue("b", end=dt.datetime(2031, 1, 1))  # noqa: DTZ001 - as x509
    chain = later.read_bytes() + key.read_bytes() + first.read_bytes()

    assert dt.datetime(2030, 1, 1, tzinfo=dt.UTC).timestamp() == expires_at(chain)
    with pytest.raises(ValueError, match="PEM"):
        expires_at(b"nothing")
