"""Access tokens and assertions that the gate signs (K4, R3; RFC 9068)."""

from __future__ import annotations

import json

import pytest

from proxy.core.jose import ASSERTION_TYP
from proxy.core.revocation import RevocationKeys, is_revoked
from proxy.errors import StoreUnavailable
from proxy.model import Identity
from proxy.services.tokens import MAX_CACHED, RESERVED_CLAIMS, AssertionMinter, TokenIssuer
from tests.memory_store import MemoryStore
from tests.token_workshop import NOW

REVOKED = RevocationKeys("p:")
ANN = Identity(
    origin="https://id.example.com/",
    subject="ann",
    scheme="web",
    email="ann@example.com",
    name="Ann Ü",
    roles=("admin", "a b"),
    scopes=("read", "a b", 'x"y', "50%", ""),
    auth_time=NOW - 5.5,
    amr=("pwd", "otp"),
)


class PlainSigner:
    """Signs nothing: a token of it is its own type, time and claims."""

    def __init__(self):
        self.signed = []

    def sign(self, claims, typ, now):
        """Note what would be signed."""
        self.signed.append((claims, typ, now))
        return json.dumps([typ, claims])


class Bench:
    """An issuer with its collaborators at hand."""

    def __init__(self):
        self.store = MemoryStore()
        self.signer = PlainSigner()
        self.slept = []
        self.issuer = TokenIssuer(
            issuer="https://shop.example.com",
            audience="shop",
            lifetime_s=600,
            max_lifetime_s=86_400,
            signer=self.signer,
            store=self.store,
            revoked=REVOKED,
            sleep=self._sleep,
        )

    async def _sleep(self, seconds):
        self.slept.append(seconds)


@pytest.fixture
def bench():
    """Give an issuer, its store, signer and sleeps."""
    return Bench()


async def test_a_token_says_what_rfc_9068_asks_for(bench):
    """Issuer, subject, audience, client, times and a name; type at+jwt."""
    minted = await bench.issuer.mint(
        "ann",
        roles=["admin"],
        scopes=["read", "write"],
        claims={"tenant": "acme"},
        email="ann@example.com",
        name="Ann",
        now=NOW + 0.5,
    )
    ((claims, typ, now),) = bench.signer.signed

    assert ("at+jwt", NOW + 0.5) == (typ, now)
    assert {
        "iss": "https://shop.example.com",
        "sub": "ann",
        "aud": "shop",
        "client_id": "latchgate",
        "jti": minted.jti,
        "iat": int(NOW),
        "exp": int(NOW) + 600,
        "scope": "read write",
        "roles": ["admin"],
        "email": "ann@example.com",
        "email_verified": True,
        "name": "Ann",
        "tenant": "acme",
    } == claims
    assert (int(NOW) + 600, True) == (minted.expires_at, len(minted.jti) >= 22)
    assert [] == bench.slept


async def test_every_token_has_its_own_name_and_is_not_shown(bench):
    """Two tokens can be revoked one by one; neither appears in a log by accident."""
    first, second = [await bench.issuer.mint("ann", now=NOW) for _ in range(2)]

    assert first.jti != second.jti
    assert first.token not in repr(first)


@pytest.mark.parametrize("claim", sorted(RESERVED_CLAIMS))
async def test_claims_of_the_issuer_cannot_be_given(bench, claim):
    """Nobody mints a token with another issuer, end, proof or role list by `--claim`."""
    with pytest.raises(ValueError, match=claim):
        await bench.issuer.mint("ann", claims={claim: "x"}, now=NOW)


@pytest.mark.parametrize(
    "wrong",
    [
        {"subject": ""},
        {"scopes": ["a b"]},
        {"scopes": [""]},
        {"scopes": ['a"b']},
        {"scopes": ["a\\b"]},
        {"scopes": ["ü"]},
        {"scopes": ["a\nb"]},
        {"lifetime": 0},
        {"lifetime": -5},
        {"lifetime": 86_401},
        {"lifetime": float("nan")},
    ],
)
async def test_what_no_token_can_say_is_refused(bench, wrong):
    """An empty subject, scopes that read as two, lives that the scheme would not accept."""
    with pytest.raises(ValueError):
        await bench.issuer.mint(**({"subject": "ann", "now": NOW} | wrong))
    assert [] == bench.signer.signed


@pytest.mark.parametrize(
    "marker",
    [
        REVOKED.all,
        REVOKED.for_issuer("https://shop.example.com"),
        REVOKED.for_subject("https://shop.example.com", "ann"),
    ],
)
@pytest.mark.parametrize(
    ("revoked_at", "now", "issued_at"),
    [
        (NOW - 10, NOW, NOW),
        (NOW - 0.5, NOW, NOW + 1),
        (NOW, NOW, NOW + 1),
        (NOW, NOW + 0.9, NOW + 1),
        (NOW + 0.3, NOW + 0.5, NOW + 2),
        (NOW + 0.3, NOW + 1.0, NOW + 2),
        (NOW + 0.3, NOW + 2.0, NOW + 2),
    ],
)
async def test_r3_issuing_waits_the_second_of_a_revocation_out(
    bench, marker, revoked_at, now, issued_at
):
    """The new token is not refused by the revocation before it, and not dated ahead."""
    bench.store.values[marker] = str(revoked_at).encode()
    await bench.issuer.mint("ann", now=now)
    ((claims, _, _),) = bench.signer.signed

    assert issued_at == claims["iat"]
    assert ([pytest.approx(issued_at - now + 0.02)] if issued_at > now else []) == bench.slept
    keys = REVOKED.for_token(claims["iss"], claims, claims["jti"])
    assert is_revoked(await bench.store.fetch(keys), claims["iat"], 0) is None


async def test_r3_somebody_elses_revocation_delays_nobody(bench):
    """Only markers that would refuse the token are waited for."""
    bench.store.values[REVOKED.for_subject("https://shop.example.com", "bob")] = b"9999999999"
    await bench.issuer.mint("ann", now=NOW)

    assert [] == bench.slept


@pytest.mark.parametrize("value", [b"not a time", b"nan", str(NOW + 60).encode()])
async def test_r3_a_marker_that_cannot_be_waited_out_is_an_outage(bench, value):
    """No token is issued that would be refused, or that should be."""
    bench.store.values[REVOKED.all] = value

    with pytest.raises(StoreUnavailable):
        await bench.issuer.mint("ann", now=NOW)
    assert [] == bench.signer.signed


async def test_r3_without_the_store_no_token_is_issued(bench):
    """Not knowing of revocations is not knowing of none."""
    bench.store.is_down = True

    with pytest.raises(StoreUnavailable):
        await bench.issuer.mint("ann", now=NOW)


def minter():
    """Return an assertion minter and its signer."""
    signer = PlainSigner()
    return AssertionMinter(base="https://shop.example.com/", signer=signer), signer


def test_k4_an_assertion_says_who_it_is_and_for_whom():
    """Own issuer, own type, the upstream's audience, and 60 s at most."""
    mint, signer = minter()
    mint.mint(ANN, "orders", NOW + 0.7, as_bearer=False)
    ((claims, typ, _),) = signer.signed

    assert ASSERTION_TYP == typ
    assert claims.pop("jti")
    assert {
        "iss": "https://shop.example.com/assertion",
        "aud": "orders",
        "sub": "ann",
        "origin": "https://id.example.com/",
        "scheme": "web",
        "iat": int(NOW),
        "exp": int(NOW) + 60,
        "email": "ann@example.com",
        "name": "Ann Ü",
        "roles": ["admin", "a b"],
        "scope": "read a%20b x%22y 50%25",
        "auth_time": int(NOW) - 6,
        "amr": ["pwd", "otp"],
    } == claims


def test_k4_as_a_bearer_the_type_is_jwt():
    """APIs that accept tokens only know that one; issuer, key and audience keep it apart."""
    mint, signer = minter()
    mint.mint(ANN, "orders", NOW, as_bearer=True)
    ((claims, typ, _),) = signer.signed

    assert ("JWT", "https://shop.example.com/assertion") == (typ, claims["iss"])


def test_absent_facts_are_not_asserted():
    """What the credential does not say is left out; lists are empty."""
    mint, signer = minter()
    mint.mint(Identity("o", "s", "web"), "orders", NOW, as_bearer=False)
    ((claims, _, _),) = signer.signed

    assert {"iss", "aud", "sub", "origin", "scheme", "iat", "exp", "jti", "roles", "scope"} == (
        claims.keys()
    )
    assert ([], "") == (claims["roles"], claims["scope"])


@pytest.mark.parametrize(("ends", "life"), [(600, 60), (60, 60), (59.9, 59), (10, 10), (0.5, 1)])
def test_an_assertion_does_not_outlive_its_credential(ends, life):
    """A session that ends in ten seconds makes assertions of ten seconds."""
    mint, signer = minter()
    mint.mint(Identity("o", "s", "web", expires_at=NOW + ends), "x", NOW, as_bearer=False)
    ((claims, _, _),) = signer.signed

    assert life == claims["exp"] - claims["iat"]


def test_r1_an_assertion_is_kept_for_half_its_life():
    """The same verdict and upstream get the same assertion, then a new one."""
    mint, signer = minter()
    times = (0, 15, 29.9, 30, 59, 60)
    tokens = [mint.mint(ANN, "orders", NOW + t, as_bearer=False) for t in times]

    assert [0, 0, 0, 1, 1, 2] == [list(dict.fromkeys(tokens)).index(t) for t in tokens]
    assert 3 == len(signer.signed)


def test_r1_an_assertion_is_kept_for_its_verdict_and_upstream_only():
    """Another upstream, form or verdict (also an equal one) has its own."""
    mint, signer = minter()
    twin = Identity(*[getattr(ANN, name) for name in ANN.__slots__])
    for identity in (ANN, twin):
        for audience in ("orders", "shop"):
            for as_bearer in (False, True):
                mint.mint(identity, audience, NOW, as_bearer=as_bearer)

    assert ANN == twin
    assert 8 == len(signer.signed)


def test_the_cache_of_assertions_is_bounded():
    """Many people do not fill the memory; the oldest go first."""
    mint, signer = minter()
    people = [Identity("o", str(number), "web") for number in range(MAX_CACHED + 10)]
    for identity in people:
        mint.mint(identity, "x", NOW, as_bearer=False)

    assert MAX_CACHED == len(mint._cache)
    count = len(signer.signed)
    mint.mint(people[-1], "x", NOW, as_bearer=False)
    assert count == len(signer.signed)
    mint.mint(people[0], "x", NOW, as_bearer=False)
    assert count + 1 == len(signer.signed)


def test_nobody_is_never_asserted():
    """An empty subject is a bug above, and fails closed here (H4)."""
    mint, _ = minter()

    with pytest.raises(ValueError):
        mint.mint(Identity("o", "", "web"), "x", NOW, as_bearer=True)
