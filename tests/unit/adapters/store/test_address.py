"""Addresses of stores: what a URL becomes, and what is never shown."""

from __future__ import annotations

import json

import pytest

from proxy.adapters.store import StoreAddress, StoreMisconfigured, address_of
from proxy.config.addresses import parse_store_url


def of(text: str) -> StoreAddress:
    """Return the address of a URL as the configuration reads it."""
    return address_of(parse_store_url(text, None))


def test_a_tcp_url():
    """Host, port, database and credentials arrive, percent-decoded."""
    expected = StoreAddress(
        host="db.example", port=6380, database=3, username="me", password="p@/:#"
    )
    assert expected == of("redis://me:p%40%2F%3A%23@db.example:6380/3")


def test_a_tcp_url_of_few_words():
    """What is left out has redis's defaults, and no TLS."""
    assert StoreAddress(host="::1", port=6379) == of("redis://[::1]")


def test_a_tls_url_with_its_files():
    """Rediss means TLS; the files of authority and client certificate go along."""
    address = of("rediss://h:1/0?ssl_ca_certs=/ca&ssl_certfile=/cert&ssl_keyfile=/key")
    expected = StoreAddress(
        host="h", port=1, is_tls=True, ca_file="/ca", cert_file="/cert", key_file="/key"
    )
    assert expected == address


def test_a_url_of_sentinels_or_of_a_cluster():
    """TLS, user and files are for all of them; Sentinels may have a user of their own."""
    address = of("rediss+sentinel://u:p@a,b:1/n/3?ssl_ca_certs=/ca&sentinel_password=s")
    expected = StoreAddress(
        port=0,
        database=3,
        username="u",
        password="p",
        is_tls=True,
        ca_file="/ca",
        sentinels=(("a", 26379), ("b", 1)),
        master_name="n",
        sentinel_password="s",
    )
    assert expected == address
    assert str(address) == "rediss+sentinel://a:26379,b:1/n/3"
    assert "'s'" not in repr(address)
    cluster = of("redis+cluster://u:p@a,[::1]:1")
    assert cluster.nodes == (("a", 6379), ("::1", 1))
    assert str(cluster) == "redis+cluster://a:6379,[::1]:1"


def test_a_unix_url():
    """A socket's path and its database arrive."""
    assert StoreAddress(socket_path="/run/r.sock", database=2) == of("unix:///run/r.sock?db=2")


def test_a_socket_path_has_at_most_107_bytes():
    """A longer path could not be connected to, so it is told at once; bytes count, not letters."""
    assert 107 == len(of("unix:///" + "a" * 106).socket_path)
    for path in ("a" * 107, "ü" * 54):
        with pytest.raises(StoreMisconfigured, match="107"):
            of("unix:///" + path)


def test_an_embedded_url_has_no_address_of_its_own():
    """Where an embedded store listens its supervisor decides."""
    with pytest.raises(ValueError, match="supervisor"):
        of("embedded:var/store")


def test_a_password_never_shows():
    """Neither `repr` nor `str` has it, nor the user's name in what logs show."""
    address = of("redis://someone:hush-hush@h:1/0")
    assert "hush" not in repr(address) + str(address)
    assert "redis://h:1/0" == str(address)
    assert "redis://[::1]:6379/0" == str(of("redis://:x@[::1]"))
    assert "rediss://h:6379/0" == str(of("rediss://h"))
    assert "unix:///s" == str(of("unix:///s"))


def test_an_embedded_address_travels_as_json():
    """Workers and commands read back what the supervisor wrote."""
    address = StoreAddress(socket_path="/s", username="u", password="p")
    assert address == StoreAddress.from_text(json.dumps(address.to_json()))


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "null", "{}"),
        '{"socket_path": "", "username": "u", "password": "p", "database": 0}',
        '{"socket_path": "/s", "username": "u", "password": null, "database": 0}',
        '{"socket_path": "/s", "username": 1, "password": "p", "database": 0}',
        '{"socket_path": "/s", "username": "u", "password": "p", "database": "0"}',
    ],
)
def test_what_is_no_address_is_a_value_error(text):
    """A damaged endpoint file is told from a good one."""
    with pytest.raises(ValueError):
        StoreAddress.from_text(text)
