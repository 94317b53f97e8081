from __future__ import annotations

import pytest

from proxy.config.loader import parse_config
from proxy.core.credentials import unverified_issuer
from proxy.model import Authenticated
from proxy.services.schemes.stand_in import stand_ins

GATE = """\
secrets: {key: "0000000000000000000000000000000000000000000000000000000000000000"}
tokens: {issuer: https://shop.example.com, audience: shop}
upstreams: {app: {servers: ["http://127.0.0.1:1"]}}
schemes:
  web: {type: session, format: native}
  old: {type: session, format: json, cookie: sid, prefix: "s:", identity: {subject: user}}
  api: {type: jwt, keys: {local: true}, from: [basic]}
  idp: {type: jwt, issuer: https://id.example.com/, audience: [a], keys: {jwks_url: "https://id.example.com/k"}}
routes: [{match: {path: "/**"}, auth: web, upstream: app}]
tests: [{request: GET /, as: {scheme: NAME, roles: [a], claims: {t: 1, sub: other}}, expect: 200}]
"""


@pytest.mark.parametrize(
    ("name", "origin", "issuer", "is_native", "is_ambient"),
    [
        ("web", "https://shop.example.com", None, True, True),
        ("old", "old", None, False, True),
        ("api", "https://shop.example.com", "https://shop.example.com", True, True),
        ("idp", "https://id.example.com/", "https://id.example.com/", False, False),
    ],
)
async def test_a_stand_in_is_like_its_scheme(tmp_path, name, origin, issuer, is_native, is_ambient):
    """Places, issuer and origin are those of the scheme that it stands for (K6)."""
    raw = GATE.replace("NAME", name).encode()
    config = parse_config(raw, file="f", base=tmp_path, environment={}).config
    schemes = stand_ins(config, config.tests[0].as_)
    scheme = schemes[name]
    found = scheme.find(None)
    outcome = await scheme.judge(found, 0.0)

    assert (issuer, is_native) == (scheme.issuer, scheme.is_native)
    assert isinstance(outcome, Authenticated)
    assert (origin, "somebody", ("a",), is_ambient) == (
        outcome.identity.origin,
        outcome.identity.subject,
        outcome.identity.roles,
        outcome.is_ambient,
    )
    assert (1, "somebody", ["a"]) == tuple(
        outcome.identity.claims[key] for key in ("t", "sub", "roles")
    )
    assert issuer == unverified_issuer(found.value)
    assert [None] * 3 == [schemes[other].find(None) for other in schemes if other != name]
