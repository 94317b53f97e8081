"""No kind of token is accepted in the place of another (K4, field.md §3 #23)."""

from __future__ import annotations

import asyncio

import pytest

from proxy.adapters.secrets import SecretBox
from proxy.core.jose import ASSERTION_TYP, TokenVerifier
from proxy.core.keyring import KeyRing, Rotation, make_key
from proxy.core.keyset import KeySet
from proxy.core.revocation import RevocationKeys
from proxy.errors import TokenInvalid
from proxy.model import Identity
from proxy.services.signing import SigningKeys
from proxy.services.tokens import AssertionMinter, TokenIssuer
from tests.memory_store import MemoryStore
from tests.token_workshop import NOW, jwk, token

GATE = "https://shop.example.com"
PROVIDER = "https://id.example.com/"
ANN = Identity(origin=PROVIDER, subject="ann", scheme="api")
LOGOUT = {"http://schemas.openid.net/event/backchannel-logout": {}}


def signing(purpose):
    """Return signing keys that are loaded, with a store of their own."""
    return asyncio.run(
        SigningKeys.load(
            MemoryStore(),
            SecretBox([bytes(32)]),
            prefix="p:",
            purpose=purpose,
            algorithm="EdDSA",
            now=NOW,
        )
    )


TOKEN_KEYS = signing("token")
ASSERTION_KEYS = signing("assertion")
EVERY_KEY = KeySet.from_jwks(
    {
        "keys": [
            jwk("RSA", kid="provider"),
            *TOKEN_KEYS.public_jwks()["keys"],
            *ASSERTION_KEYS.public_jwks()["keys"],
        ]
    },
    algorithms=["RS256", "EdDSA"],
)
"""Worse than any configuration: every scheme below trusts every key there is."""


def provider_token(typ, **changes):
    """Return a token of the provider."""
    said = {"iss": PROVIDER, "aud": "shop-api"} | changes
    return token(header={"kid": "provider", "typ": typ}, **said)


def local_token():
    """Return an access token of the gate's own issuer."""
    issuer = TokenIssuer(
        issuer=GATE,
        audience="shop",
        lifetime_s=600,
        max_lifetime_s=900,
        signer=TOKEN_KEYS,
        store=MemoryStore(),
        revoked=RevocationKeys("p:"),
    )
    return asyncio.run(issuer.mint("ann", now=NOW)).token.encode()


def assertion(*, as_bearer):
    """Return what the gate tells an upstream."""
    minter = AssertionMinter(base=GATE, signer=ASSERTION_KEYS)
    return minter.mint(ANN, "orders", NOW, as_bearer=as_bearer).encode()


def signed_by_gate(keys, typ, **changes):
    """Return claims that the gate never signs, signed by the gate: a mistake somewhere else."""
    said = {"iss": GATE, "sub": "ann", "aud": "shop", "iat": int(NOW), "exp": int(NOW) + 60}
    return keys.sign(said | changes, typ, NOW).encode()


KINDS = {
    "provider access": provider_token("at+jwt"),
    "provider access, plain": provider_token("JWT"),
    "provider id token": provider_token("JWT", aud="browser-client", nonce="n"),
    "provider logout token": provider_token("logout+jwt", events=LOGOUT),
    "provider logout token, old": provider_token("JWT", events=LOGOUT),
    "provider proof": provider_token("dpop+jwt", htm="GET"),
    "provider event": provider_token("secevent+jwt"),
    "local access": local_token(),
    "local, plain": signed_by_gate(TOKEN_KEYS, "JWT"),
    "local, logout": signed_by_gate(TOKEN_KEYS, "logout+jwt"),
    "assertion": assertion(as_bearer=False),
    "assertion as bearer": assertion(as_bearer=True),
    "assertion of the issuer": signed_by_gate(ASSERTION_KEYS, ASSERTION_TYP),
}

SCHEMES = {
    "provider": TokenVerifier(
        issuer=PROVIDER, audiences=frozenset({"shop-api"}), algorithms=["RS256", "EdDSA"]
    ),
    "local": TokenVerifier(
        issuer=GATE, audiences=frozenset({"shop"}), algorithms=["EdDSA"], is_local=True
    ),
    "provider, any audience": TokenVerifier(
        issuer=PROVIDER, audiences=None, algorithms=["RS256", "EdDSA"]
    ),
    "another gate's, of our issuer": TokenVerifier(
        issuer=GATE, audiences=None, algorithms=["RS256", "EdDSA"]
    ),
}

OPENS = {
    ("provider", "provider access"),
    ("provider", "provider access, plain"),
    ("local", "local access"),
    ("provider, any audience", "provider access"),
    ("provider, any audience", "provider access, plain"),
    # Only where somebody wrote `audience: any` is an id token as good as an access token.
    ("provider, any audience", "provider id token"),
    ("another gate's, of our issuer", "local access"),
    ("another gate's, of our issuer", "local, plain"),
}


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("kind", KINDS)
def test_k4_each_scheme_opens_to_its_own_kind(scheme, kind):
    """The whole matrix, with every scheme trusting every key."""
    try:
        SCHEMES[scheme].verify(KINDS[kind], EVERY_KEY, NOW)
        is_open = True
    except TokenInvalid:
        is_open = False

    assert ((scheme, kind) in OPENS) is is_open


def test_k4_no_scheme_can_be_made_for_assertions():
    """A scheme for the issuer of assertions is refused when it is made, in any gate."""
    for issuer in (f"{GATE}/assertion", "https://other.example.com/assertion", "/assertion"):
        with pytest.raises(ValueError, match="assertion"):
            TokenVerifier(issuer=issuer, audiences=None, algorithms=["EdDSA"])


def test_k4_assertions_have_keys_of_their_own():
    """No key of one purpose is one of the other's."""
    tokens, assertions = TOKEN_KEYS.current(), ASSERTION_KEYS.current()

    assert tokens.thumbprints.isdisjoint(assertions.thumbprints)
    for kind in ("assertion", "assertion as bearer"):
        with pytest.raises(TokenInvalid):
            SCHEMES["local"].verify(KINDS[kind], tokens, NOW)


def test_k4_a_refresh_or_session_secret_is_no_token():
    """Opaque secrets of other kinds do not parse as tokens."""
    for opaque in (b"0" * 43, b"a" * 64, b"YWJj.ZGVm", b"v1.local.xyz"):
        for scheme in SCHEMES.values():
            with pytest.raises(TokenInvalid):
                scheme.verify(opaque, EVERY_KEY, NOW)


def test_k4_a_key_ring_never_mixes_algorithms():
    """A key signs by its own algorithm only, whatever else is in the ring."""
    rotation = Rotation(period_s=1000, token_life_s=100)
    ring = KeyRing()
    for algorithm in ("EdDSA", "ES256"):
        ring = ring.with_key(make_key(algorithm, now=NOW, signs_from=NOW), rotation)

    assert ["EdDSA", "ES256"] == [
        ring.signing_key(algorithm, NOW).algorithm for algorithm in ("EdDSA", "ES256")
    ]
    assert ring.signing_key("RS256", NOW) is None
