"""From configuration to what the client needs."""

from __future__ import annotations

import ssl

import pytest

from proxy.adapters.upstreams import UpstreamSettings
from proxy.adapters.upstreams.settings import tls_context
from proxy.config.addresses import UpstreamServer
from proxy.config.upstream_models import (
    HashBalance,
    UpstreamConfig,
    UpstreamTimeouts,
    UpstreamTlsConfig,
)

PLAIN = UpstreamServer("http", "127.0.0.1", 9001)
SECURE = UpstreamServer("https", "127.0.0.1", 9443)


def test_defaults_are_those_of_the_reference():
    """Without a word: 2 s, 60 s, 60 s, 4 s, no bound for tunnels, by load, no TLS."""
    settings = UpstreamSettings.from_config("shop", UpstreamConfig(servers=[PLAIN]))

    assert UpstreamSettings("shop", (PLAIN,)) == settings
    assert (2.0, 60.0, 60.0, 4.0, None, False, None) == (
        settings.connect_s,
        settings.response_s,
        settings.idle_s,
        settings.keepalive_s,
        settings.tunnel_s,
        settings.is_hashed,
        settings.tls,
    )


def test_everything_that_is_configured_arrives(certificate):
    """Times, balance, TLS and the gate's own addresses."""
    own = frozenset({("127.0.0.1", 8080)})
    config = UpstreamConfig(
        servers=[PLAIN, SECURE],
        balance=HashBalance(hash="subject"),
        timeouts=UpstreamTimeouts(connect=1.0, response=2.0, idle=3.0, keepalive=5.0, tunnel=6.0),
        tls=UpstreamTlsConfig(ca=certificate[0], server_name="shop.example"),
    )
    settings = UpstreamSettings.from_config("shop", config, own)

    assert (1.0, 2.0, 3.0, 5.0, 6.0) == (
        settings.connect_s,
        settings.response_s,
        settings.idle_s,
        settings.keepalive_s,
        settings.tunnel_s,
    )
    assert settings.is_hashed
    assert "shop.example" == settings.server_name
    assert own == settings.own_addresses
    assert settings.tls is not None


def test_tls_verifies_the_server(certificate):
    """Certificate and name are checked, old versions refused; a client certificate may be shown."""
    context = tls_context(
        UpstreamTlsConfig(ca=certificate[0], cert=certificate[0], key=certificate[1])
    )

    assert ssl.CERT_REQUIRED is context.verify_mode
    assert context.check_hostname
    assert ssl.TLSVersion.TLSv1_2 <= context.minimum_version
    assert 1 == len(context.get_ca_certs())


def test_unusable_files_are_told_at_load(tmp_path):
    """Not at the first request."""
    (tmp_path / "ca.pem").write_text("nonsense")

    with pytest.raises(ssl.SSLError):
        tls_context(UpstreamTlsConfig(ca=tmp_path / "ca.pem"))
