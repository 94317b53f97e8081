"""What issues tokens, put together from a configuration."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from proxy.config.loader import parse_config
from proxy.services.issuing import (
    access_marker_life_s,
    compile_clients,
    has_token_endpoints,
    metadata,
)
from proxy.services.marker_lives import longest_marker_life_s, scheme_marker_life_s

APP = """\
upstreams: {app: {servers: ["http://127.0.0.1:1"]}}
schemes:
  api: {type: jwt, keys: {local: true}, max_lifetime: 1h}
  web: {type: session, format: native}
routes: [{match: {path: /**}, auth: [api, web], upstream: app}]
"""
CLIENTS = "clients: {spa: {public: true}}\n"


def load(text, issuer="https://shop.example.com", more=""):
    tokens = f"tokens: {{issuer: '{issuer}', audience: shop, refresh: 90d{more}}}\n"
    raw = (APP + tokens + text).encode()
    return parse_config(raw, file="f.yaml", base=Path("/base"), environment={}).config


def told(config):
    path, document = metadata(config)
    return path, json.loads(document)


def test_the_metadata_stands_where_the_issuer_says():
    """RFC 8414 §3.1: the well-known path, and the issuer's own behind it."""
    assert "/.well-known/oauth-authorization-server" == told(load(CLIENTS))[0]
    path, document = told(load(CLIENTS, "https://id.example.com/shop/"))

    assert "/.well-known/oauth-authorization-server/shop" == path
    assert "https://id.example.com/shop/" == document["issuer"]
    assert "https://id.example.com/_auth/token" == document["token_endpoint"]


def test_the_metadata_names_the_origin_that_people_see():
    """`server.public_url` is where the endpoints are, `login.path` below what."""
    text = (
        CLIENTS
        + "server: {public_url: https://www.example.com}\nlogin: {scheme: web, path: /gate}\n"
    )

    assert "https://www.example.com/gate/revoke" == told(load(text))[1]["revocation_endpoint"]


@pytest.mark.parametrize("issuer", ["shop", "urn:x:y", "https://a/?b", "https://a/#b", "https://["])
def test_an_issuer_that_is_no_url_has_no_metadata(issuer):
    """Nobody could find it."""
    assert metadata(load(CLIENTS, issuer)) is None


def test_without_clients_there_is_nothing_to_say():
    """A gate whose tokens come from commands has no endpoint for them; with `login:` sessions have."""
    assert metadata(load("")) is None
    assert not has_token_endpoints(load(""))
    assert has_token_endpoints(load("login: {scheme: web}\n"))
    assert has_token_endpoints(load(CLIENTS))


def test_r6_markers_outlive_every_refresh_family():
    """R6: a family that was revoked finds that at its next use, whenever that is."""
    without, with_clients = load(""), load(CLIENTS)
    scheme = with_clients.schemes["api"]

    assert scheme_marker_life_s(without, scheme) < 86_400
    assert scheme_marker_life_s(with_clients, scheme) >= 90 * 86_400
    assert longest_marker_life_s(with_clients) >= 90 * 86_400
    assert 3600 <= access_marker_life_s(with_clients) < 4000


def test_secrets_are_compiled_to_digests():
    """What the endpoints hold of a client is no secret."""
    secret = "s" * 32
    config = load(
        f"clients: {{a: {{secret: [{secret}, {secret}2], grants: client_credentials}}}}\n"
    )
    client = compile_clients(config)["a"]

    assert 2 == len(client.secrets)
    assert secret.encode() not in b"".join(client.secrets)
    assert {"client_credentials"} == client.grants
