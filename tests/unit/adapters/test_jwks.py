"""Addresses of key documents: which are asked, and where discovery looks (K3)."""

from __future__ import annotations

import pytest

from proxy.adapters.jwks import FetchFailed, Provider, discovery_urls, fetch_jwks, is_loopback


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost.example.com", False),
        ("127.0.0.1.example.com", False),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("example.com", False),
        ("", False),
        (None, False),
        ("2130706433", False),
        ("127.1", False),
    ],
)
def test_k3_loopback_is_this_machine_only(host, expected):
    """Names that merely look like it are somebody else."""
    assert expected is is_loopback(host)


@pytest.mark.parametrize(
    ("issuer", "expected"),
    [
        (
            "https://id.example.com",
            (
                "https://id.example.com/.well-known/openid-configuration",
                "https://id.example.com/.well-known/oauth-authorization-server",
            ),
        ),
        (
            "https://id.example.com/realms/a/",
            (
                "https://id.example.com/realms/a/.well-known/openid-configuration",
                "https://id.example.com/.well-known/oauth-authorization-server/realms/a",
            ),
        ),
    ],
)
def test_discovery_looks_where_the_standards_say(issuer, expected):
    """OpenID appends to the issuer's path, RFC 8414 inserts before it."""
    assert expected == discovery_urls(issuer)


@pytest.mark.parametrize(
    "url",
    [
        "http://id.example.com/jwks.json",
        "http://localhost.example.com/jwks.json",
        "ftp://127.0.0.1/jwks.json",
        "file:///etc/passwd",
        "data:application/json,{}",
        "//127.0.0.1/x",
        "/etc/keys.json",
        "",
    ],
)
async def test_k3_plain_http_and_other_schemes_are_never_asked(url):
    """Only https, or http on this machine: whoever is in between could replace the keys."""
    with pytest.raises(FetchFailed, match="https only"):
        await fetch_jwks(Provider("https://id.example.com", jwks_url=url), timeout_s=1)


async def test_k3_the_issuer_of_discovery_is_asked_over_https_too():
    """An issuer in plain http cannot be discovered."""
    with pytest.raises(FetchFailed, match="https only"):
        await fetch_jwks(Provider("http://id.example.com"), timeout_s=1)
