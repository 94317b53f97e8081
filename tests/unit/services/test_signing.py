"""The gate's signing keys in the store: made once, shared, sealed, rotated (S10)."""

from __future__ import annotations

import pytest

from proxy.adapters.jwe import TokenCipher
from proxy.adapters.secrets import SecretBox
from proxy.core.jose import TokenVerifier
from proxy.core.keyring import Rotation
from proxy.errors import KeysUnavailable, SecretsError, StoreUnavailable
from proxy.services.signing import EncryptingSigner, SigningKeys
from tests.memory_store import MemoryStore
from tests.token_workshop import NOW

OLD, NEW = bytes(range(32)), bytes(range(1, 33))
ROTATION = Rotation(period_s=1000, token_life_s=100, publish_s=50, slack_s=10)
RECORD = "p:signing:token"


async def load(store, *, box=None, purpose="token", algorithm="EdDSA", now=NOW):
    """Load signing keys as a worker does at its start."""
    return await SigningKeys.load(
        store,
        box or SecretBox([OLD]),
        prefix="p:",
        purpose=purpose,
        algorithm=algorithm,
        now=now,
        rotation=ROTATION,
    )


def kids(keys):
    """Return the names of the published keys."""
    return [key.kid for key in keys.published()]


def verify(keys, token, now=NOW):
    """Verify a token with the public keys of `keys`."""
    check = TokenVerifier(issuer="i", audiences=None, algorithms=["EdDSA"], is_local=True)
    return check.verify(token.encode(), keys.current(), now)


def sign(keys, now=NOW):
    """Sign a token that `verify` accepts."""
    return keys.sign({"iss": "i", "iat": int(now), "exp": int(now) + 60}, "at+jwt", now)


async def test_keys_are_made_once_and_shared():
    """The second worker reads what the first one made, and verifies what it signs."""
    store = MemoryStore()
    first, second = await load(store), await load(store)

    assert kids(first) == kids(second)
    assert kids(first)[0] == verify(second, sign(first)).key.kid


async def test_workers_that_start_together_agree():
    """Both find nothing; one is first, and the other takes its keys."""
    rival, store = MemoryStore(), MemoryStore()
    first = await load(rival)
    store.before_write = lambda: store.values.update(rival.values)
    second = await load(store)

    assert kids(first) == kids(second)


async def test_s10_the_record_is_sealed_for_its_place():
    """Nothing of a key is readable; a copy under the other purpose is refused."""
    store = MemoryStore()
    keys = await load(store)
    sealed = store.values[RECORD]

    assert kids(keys)[0].encode() not in sealed
    assert b"pkcs8" not in sealed
    store.values["p:signing:assertion"] = sealed
    with pytest.raises(SecretsError):
        await load(store, purpose="assertion")


@pytest.mark.parametrize("planted", [b"", b"{}", b'{"v":1,"keys":[]}', b"\x01" + bytes(60)])
async def test_s10_a_planted_record_is_not_accepted(planted):
    """A gate does not start with it, does not overwrite it, and a running one keeps its keys."""
    store = MemoryStore()
    keys = await load(store)
    good = kids(keys)
    store.values[RECORD] = planted

    with pytest.raises(SecretsError):
        await load(store)
    with pytest.raises(SecretsError):
        await keys.refresh(NOW)
    assert await keys.refreshed("unknown") is None
    assert (planted, good) == (store.values[RECORD], kids(keys))


async def test_s10_a_record_of_the_right_seal_but_wrong_content_is_refused():
    """What a later version may have written is not guessed at."""
    store = MemoryStore()
    store.values[RECORD] = SecretBox([OLD]).seal(b'{"v":2}', RECORD)

    with pytest.raises(SecretsError, match="version"):
        await load(store)


async def test_s10_a_new_secret_seals_the_record_again():
    """`secrets` rotate: first encrypts, all decrypt, and the record follows."""
    store = MemoryStore()
    before = await load(store)
    after = await load(store, box=SecretBox([NEW, OLD]))

    assert kids(before) == kids(after)
    assert kids(before) == kids(await load(store, box=SecretBox([NEW])))
    with pytest.raises(SecretsError):
        await load(store)


async def test_rotation_has_no_gap():
    """At every time what is signed verifies in a worker that refreshed up to a minute ago."""
    store = MemoryStore()
    one, other = await load(store), await load(store)
    signers = set()
    tokens = []
    for time in range(0, 3000, 20):
        now = NOW + time
        await (one if time % 40 else other).refresh(now)
        tokens = [(t, end) for t, end in tokens if end > now]
        for signer, reader in ((one, other), (other, one)):
            tokens.append((sign(signer, now), now + 60))
            for token, _ in tokens:
                signers.add(verify(reader, token, now).key.kid)

    assert 3 == len(signers)
    assert len(kids(one)) <= 2


async def test_workers_that_rotate_together_make_one_key():
    """A change that another worker made first is read, not repeated."""
    store = MemoryStore()
    one, other = await load(store), await load(store)
    snapshot = dict(store.values)
    await one.refresh(NOW + 1000)
    rotated = dict(store.values)
    store.values = snapshot
    store.before_write = lambda: store.values.update(rotated)
    await other.refresh(NOW + 1000)

    assert 2 == len(kids(one))
    assert kids(one) == kids(other)


async def test_only_a_key_that_won_the_exchange_is_logged(caplog):
    """The log names the keys that are published, whoever of several gates made them."""
    caplog.set_level("INFO", "latchgate.keys")
    rival, store = MemoryStore(), MemoryStore()
    first = await load(rival)
    store.before_write = lambda: store.values.update(rival.values)
    second = await load(store)
    store.before_write = None
    await second.refresh(NOW + 1000)
    told = [record.getMessage().rpartition(" ")[2] for record in caplog.records]

    assert kids(second) == told
    assert kids(first) == told[:1]


async def test_another_algorithm_gets_a_key_at_once():
    """A changed configuration signs by it; what was signed before still verifies."""
    store = MemoryStore()
    before = await load(store)
    token = sign(before)
    after = await load(store, algorithm="ES256")

    assert after.sign({}, "at+jwt", NOW)
    assert verify(after, token)
    assert 2 == len(kids(after))


async def test_a_key_that_another_gate_made_is_found():
    """An unknown name reads the record again, at most once in ten seconds."""
    store = MemoryStore()
    time = [100.0]
    keys = SigningKeys(store, SecretBox([OLD]), RECORD, "EdDSA", ROTATION, clock=lambda: time[0])
    await keys.refresh(NOW)
    other = await load(store, algorithm="ES256")
    (new,) = set(kids(other)) - set(kids(keys))
    reads = len(store.fetched)

    assert await keys.refreshed("no such key") is None
    assert reads + 1 == len(store.fetched)
    assert (await keys.refreshed(new)).has_kid(new)
    for number in range(100):
        assert await keys.refreshed(f"flood-{number}") is None
    assert reads + 1 == len(store.fetched)
    time[0] += 10
    await keys.refreshed("once more")
    assert reads + 2 == len(store.fetched)


async def test_k3_without_keys_nothing_is_signed_or_verified():
    """Before the first load the keys are unavailable, which is no refusal."""
    keys = SigningKeys(MemoryStore(), SecretBox([OLD]), RECORD, "EdDSA", ROTATION)

    with pytest.raises(KeysUnavailable):
        keys.current()
    with pytest.raises(KeysUnavailable):
        keys.sign({}, "at+jwt", NOW)


async def test_a_store_that_is_down_changes_nothing():
    """A start fails; a running gate goes on with the keys that it has."""
    store = MemoryStore()
    keys = await load(store)
    store.is_down = True

    with pytest.raises(StoreUnavailable):
        await load(store)
    with pytest.raises(StoreUnavailable):
        await keys.refresh(NOW)
    assert verify(keys, sign(keys))


async def test_a_lost_record_means_new_keys():
    """Deleting the record is how an administrator drops keys that were stolen."""
    store = MemoryStore()
    keys = await load(store)
    stolen = kids(keys)
    store.values.clear()
    await keys.refresh(NOW + 1)

    assert set(stolen).isdisjoint(kids(keys))
    assert not keys.current().has_kid(stolen[0])
    assert verify(keys, sign(keys))


async def test_a_record_that_never_holds_still_is_given_up():
    """A store in which every change is lost is an outage, not an endless loop."""

    class Restless(MemoryStore):
        async def put(self, *_args, **_options):
            return False

    with pytest.raises(StoreUnavailable):
        await load(Restless())


async def test_rotation_by_hand_has_no_gap():
    """Whenever somebody rotates, each token verifies in each worker until its end."""
    store = MemoryStore()
    one, other, hand = await load(store), await load(store), await load(store)
    signers = set()
    tokens = []
    for time in range(0, 2000, 10):
        now = NOW + time
        await (one if time % 20 else other).refresh(now)
        if time in (100, 110, 500, 1230):
            await hand.rotate(now)
        tokens = [(t, end) for t, end in tokens if end > now]
        for signer, reader in ((one, other), (other, one)):
            tokens.append((sign(signer, now), now + 60))
            for token, _ in tokens:
                signers.add(verify(reader, token, now).key.kid)

    assert 4 == len(signers)


async def test_rotation_by_hand_waits_for_the_last_one():
    """A key that is published and does not sign yet is the answer to another rotation."""
    store = MemoryStore()
    keys = await load(store)
    made = await keys.rotate(NOW)

    assert made == await keys.rotate(NOW + 49)
    assert made != await keys.rotate(NOW + 50)
    assert ["verifies", "signs", "waits"] == [
        keys.state_of(key, NOW + 50) for key in keys.published()
    ]


async def test_rotation_by_hand_and_by_schedule_make_one_key():
    """Who rotates at the same moment as somebody else takes the key that is there first."""
    store = MemoryStore()
    one, other = await load(store), await load(store)
    real = store.run

    async def overtaken(script, keys, args=()):
        store.run = real
        await other.rotate(NOW + 1)
        return await real(script, keys, args)

    store.run = overtaken
    made = await one.rotate(NOW + 1)

    assert [made.kid] == [key.kid for key in other.published()][1:]


async def test_rotation_by_hand_gives_up_on_a_store_that_never_holds_still():
    """A store in which every change is lost is an outage."""
    store = MemoryStore()
    keys = await load(store)

    async def lost(script, keys, args=()):
        return 0

    store.run = lost
    with pytest.raises(StoreUnavailable):
        await keys.rotate(NOW)


async def test_an_encrypting_signer_hides_what_it_signs():
    """What comes out is encrypted, and inside is what the keys sign."""
    keys = await load(MemoryStore())
    cipher = TokenCipher([OLD], "i")
    token = EncryptingSigner(keys, cipher).sign(
        {"iss": "i", "iat": int(NOW), "exp": int(NOW) + 60}, "at+jwt", NOW
    )

    assert 5 == len(token.split("."))
    assert kids(keys)[0] == verify(keys, cipher.decrypt(token.encode()).decode()).key.kid
