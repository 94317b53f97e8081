"""When a signing key is made, published, used and forgotten: rotation without a gap."""

from __future__ import annotations

import json

import pytest

from proxy.core.keyring import KeyRing, Rotation, jwks_document, make_key
from proxy.core.keyset import KeySet
from tests.token_workshop import NOW

ROTATION = Rotation(period_s=1000, token_life_s=100, publish_s=50, slack_s=10)


def ring_at(times, algorithm="EdDSA"):
    """Return a ring that got a key at each of `times` after `NOW`."""
    ring = KeyRing()
    for time in times:
        signs_from = NOW + time + (ROTATION.publish_s if ring.keys else 0)
        ring = ring.with_key(make_key(algorithm, now=NOW + time, signs_from=signs_from), ROTATION)
    return ring


def test_an_empty_ring_needs_a_key_at_once():
    """Without a key nothing can be signed."""
    assert KeyRing().is_due("EdDSA", ROTATION, NOW)
    assert KeyRing().signing_key("EdDSA", NOW) is None


def test_a_key_signs_until_its_successor_has_been_seen():
    """The new key is published first; then it signs, and the old one stays for its tokens."""
    ring = ring_at([0, 1000])
    old, new = ring.keys

    assert (old, new) == (
        ring.signing_key("EdDSA", NOW + 1049),
        ring.signing_key("EdDSA", NOW + 1050),
    )
    assert (None, int(NOW) + 1050 + 110) == (new.ends_at, old.ends_at)
    assert 2 == len(ring.pruned("EdDSA", ROTATION, NOW + 1159).keys)
    assert (new,) == ring.pruned("EdDSA", ROTATION, NOW + 1160).keys


def test_a_key_is_due_after_its_period():
    """The age of the newest key counts, also before it signs."""
    ring = ring_at([0])

    assert [False, True] == [ring.is_due("EdDSA", ROTATION, NOW + t) for t in (999, 1000)]
    assert not ring_at([0, 1000]).is_due("EdDSA", ROTATION, NOW + 1001)


def test_a_lone_key_signs_before_its_time():
    """A host whose clock is slow can still sign with the key that another host made."""
    ring = ring_at([0])

    assert ring.keys[0] == ring.signing_key("EdDSA", NOW - 30)


def test_a_key_of_a_former_algorithm_ends_by_its_age():
    """It keeps verifying what it signed, and no longer than a successor would have let it."""
    ring = ring_at([0])
    grown = ring.with_key(make_key("ES256", now=NOW + 5, signs_from=NOW + 5), ROTATION)

    assert ring.keys[0] == grown.keys[0]
    assert 2 == len(grown.pruned("ES256", ROTATION, NOW + 1209).keys)
    assert ["ES256"] == [k.algorithm for k in grown.pruned("ES256", ROTATION, NOW + 1210).keys]
    assert 2 == len(grown.pruned("EdDSA", ROTATION, NOW + 1210).keys)


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256", "RS256"])
def test_a_record_holds_the_ring(algorithm):
    """What is encoded is decoded to the same keys, which sign the same."""
    ring = ring_at([0, 1000], algorithm)
    again = KeyRing.decode(ring.encode())

    assert ring == again
    assert [k.public_jwk() for k in ring.keys] == [k.public_jwk() for k in again.keys]


def test_what_is_published_has_nothing_private():
    """A JWK Set has the public members, a name, a use and an algorithm, and can be read."""
    keys = [make_key(name, now=NOW, signs_from=NOW) for name in ("EdDSA", "ES256", "RS256")]
    document = jwks_document(keys)

    for member in json.loads(document)["keys"]:
        assert {"kty", "kid", "use", "alg"} <= member.keys()
        assert member.keys().isdisjoint({"d", "p", "q", "dp", "dq", "qi", "k", "oth"})
    read = KeySet.from_jwks(document, algorithms=["EdDSA", "ES256", "RS256"])
    assert [key.kid for key in keys] == [key.kid for key in read]
    assert [key.kid for key in keys] == [key.thumbprint for key in read]


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2},
        {"keys": None},
        {"keys": [None]},
        {"keys": [{}]},
        {"alg": "RS256"},
        {"alg": "none"},
        {"pkcs8": "AAAA"},
        {"pkcs8": "!"},
        {"made_at": "1"},
        {"ends_at": "x"},
    ],
)
def test_a_record_that_does_not_fit_is_an_error(change):
    """What another version or a mistake wrote is refused without a word of it."""
    record = json.loads(ring_at([0]).encode())
    if change.keys() <= record.keys():
        record |= change
    else:
        record["keys"][0] |= change

    with pytest.raises(ValueError, match=r"record"):
        KeyRing.decode(json.dumps(record).encode())


def test_private_keys_are_not_shown():
    """The repr of a ring names keys and times only."""
    assert "private" not in repr(ring_at([0]))


def test_other_algorithms_are_not_made():
    """Signing is by EdDSA, ES256 or RS256."""
    with pytest.raises(ValueError):
        make_key("HS256", now=NOW, signs_from=NOW)
