"""Refresh families on a real store (S9, S10, R6)."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from dataclasses import replace

import pytest

from proxy.adapters.secrets import SecretBox
from proxy.adapters.store import StoreAddress, open_store
from proxy.core.refresh import Holder, new_family, read_token
from proxy.core.revocation import RevocationKeys, is_revoked
from proxy.errors import ProofInvalid, StoreUnavailable
from proxy.services.refresh import GrantRefused, RefreshFamilies, Reused, ShownKey
from proxy.services.revocations import Revocations
from proxy.services.signing import SigningKeys
from proxy.services.tokens import RevokedMeanwhile, TokenIssuer
from tests.token_workshop import unb64

NOW = 1_800_000_000.5
ISSUER = "https://shop.example.com"
REVOKED = RevocationKeys("latchgate:")
ANN = Holder(
    "ann", roles=("admin",), scopes=("read", "write"), auth_time=1_799_999_000, amr=("pwd",)
)
KEEP_S = 900


class Bench:
    """Families with their collaborators at hand."""

    def __init__(self, store, keys):
        self.store = store
        self.revocations = Revocations(store, REVOKED)
        self.slept = []
        issuer = TokenIssuer(
            issuer=ISSUER,
            audience="shop",
            lifetime_s=600,
            max_lifetime_s=600,
            signer=keys,
            store=store,
            revoked=REVOKED,
            sleep=self._sleep,
        )
        self.families = RefreshFamilies(
            store,
            issuer,
            self.revocations,
            prefix="latchgate:",
            lifetime_s=3600,
            grace_s=10,
            keep_s=KEEP_S,
        )

    async def _sleep(self, seconds):
        self.slept.append(seconds)

    async def begin(self, holder=ANN, now=NOW, **options):
        options.setdefault("since", now)
        return await self.families.begin(holder, "spa", now, **options)

    async def use(self, token, client="spa", now=NOW + 5, *, jkt=None, **options):
        options.setdefault("key", ShownKey(jkt))
        return await self.families.use(token, client, now, **options)

    async def is_refused(self, claims):
        """Tell whether the deny-list refuses an access token."""
        keys = REVOKED.for_token(ISSUER, claims, claims["jti"])
        return is_revoked(await self.store.fetch(keys), claims["iat"], 0) is not None


@pytest.fixture
async def bench(valkey):
    """Give families on a real store, with real keys."""
    store = open_store(StoreAddress(socket_path=str(valkey.socket_path)), timeout_s=1.0)
    box = SecretBox([bytes(32)])
    keys = await SigningKeys.load(
        store, box, prefix="latchgate:", purpose="token", algorithm="EdDSA", now=NOW
    )
    yield Bench(store, keys)
    await store.close()


def claims_of(answer):
    return json.loads(unb64(answer.access_token.split(".")[1]))


async def test_s7_a_refresh_says_who_logged_in_and_when(bench):
    """S7: new tokens tell `auth_time` and `amr` of the login, its client and its family."""
    first = await bench.begin()
    second = await bench.use(first.refresh_token, now=NOW + 500)
    old, new = claims_of(first), claims_of(second)

    for said in (old, new):
        assert (said["auth_time"], said["amr"]) == (1_799_999_000, ["pwd"])
        assert (said["client_id"], said["sid"]) == ("spa", read_token(first.refresh_token).family)
        assert (said["sub"], said["roles"], said["scope"]) == ("ann", ["admin"], "read write")
    assert old["jti"] != new["jti"]
    assert (second.token_type, second.expires_in, second.scope) == ("Bearer", 600, "read write")
    assert second.refresh_token not in (None, first.refresh_token)


async def test_s9_a_lost_answer_is_told_again(bench):
    """S9: the same answer, to the byte, ten times; then somebody else has the token."""
    first = await bench.begin()
    second = await bench.use(first.refresh_token)
    again = [await bench.use(first.refresh_token, now=NOW + 6) for _ in range(10)]

    assert again == [second] * 10
    with pytest.raises(Reused):
        await bench.use(first.refresh_token, now=NOW + 6)
    with pytest.raises(GrantRefused):
        await bench.use(second.refresh_token, now=NOW + 6)


async def test_s9_where_codes_count_an_answer_is_told_again_where_it_was_told(bench):
    """S9, S7: a repeat shows no code, so that only who showed one, or needed none, may repeat."""

    async def admit(family):
        return replace(family, place="home")

    first = await bench.begin()
    second = await bench.use(first.refresh_token, admit=admit, place="home")
    with pytest.raises(GrantRefused):
        await bench.use(first.refresh_token, admit=admit, place="elsewhere")
    assert second == await bench.use(first.refresh_token, admit=admit, place="home")
    assert await bench.use(second.refresh_token, admit=admit, place="home"), "it has not ended"


async def test_s9_uses_at_once_agree(bench):
    """S9: of eight uses at one moment one rotates, and the others are told its answer."""
    first = await bench.begin()
    answers = await asyncio.gather(*(bench.use(first.refresh_token) for _ in range(8)))

    assert len(set(answers)) == 1
    assert (await bench.use(answers[0].refresh_token, now=NOW + 20)).refresh_token


async def test_s9_a_spent_token_ends_the_family_and_its_access_tokens(bench):
    """S9: whichever of the two is the thief, neither has anything then."""
    first = await bench.begin()
    second = await bench.use(first.refresh_token)
    third = await bench.use(second.refresh_token)
    assert not await bench.is_refused(claims_of(third))

    with pytest.raises(Reused) as caught:
        await bench.use(first.refresh_token)

    assert caught.value.subject == "ann"
    for answer in (first, second, third):
        assert await bench.is_refused(claims_of(answer))
        with pytest.raises(GrantRefused):
            await bench.use(answer.refresh_token)
    assert not await bench.is_refused(claims_of(await bench.begin()))


async def test_s9_a_stolen_token_after_the_grace_ends_the_family(bench):
    """S9: after `reuse_grace` an answer was not lost, but had."""
    first = await bench.begin()
    second = await bench.use(first.refresh_token, now=NOW + 5)

    with pytest.raises(Reused):
        await bench.use(first.refresh_token, now=NOW + 15)
    assert await bench.is_refused(claims_of(second))


async def test_s9_another_client_ends_the_family(bench):
    """S9: the good token in the hands of another client is a stolen one."""
    first = await bench.begin()

    with pytest.raises(Reused):
        await bench.use(first.refresh_token, client="backend")
    with pytest.raises(GrantRefused):
        await bench.use(first.refresh_token)


async def test_s9_a_bound_family_wants_its_key(bench):
    """S9: of a family that began with a proof each use needs the same key's, and so do its tokens."""
    first = await bench.begin(jkt="key")
    second = await bench.use(first.refresh_token, jkt="key")

    assert (second.token_type, claims_of(second)["cnf"]) == ("DPoP", {"jkt": "key"})
    with pytest.raises(Reused):
        await bench.use(second.refresh_token)


async def test_s9_a_family_of_a_client_with_a_secret_is_bound_to_no_key(bench):
    """S9: it proves itself at each use, so that its tokens follow the key that it has just now."""
    first = await bench.begin(jkt="key", is_bound=False)
    second = await bench.use(first.refresh_token, jkt="other", is_bound=False)
    third = await bench.use(second.refresh_token, now=NOW + 6, is_bound=False)

    assert [claims_of(answer).get("cnf") for answer in (first, second, third)] == [
        {"jkt": "key"},
        {"jkt": "other"},
        None,
    ]


async def test_s9_a_family_is_bound_to_the_first_key_that_is_proved(bench):
    """S9: one that an operator began is a bearer's until its client shows a key."""
    first = await bench.begin()
    second = await bench.use(first.refresh_token, jkt="key")

    assert claims_of(second)["cnf"] == {"jkt": "key"}
    with pytest.raises(Reused):
        await bench.use(second.refresh_token, jkt="other")


async def test_s9_a_proof_that_was_used_spends_and_ends_nothing(bench):
    """S9: whoever repeats somebody's request, token and proof as they were, changes nothing by it."""
    proved = []

    async def prove():
        proved.append(True)
        raise ProofInvalid("used before")

    first = await bench.begin(jkt="key")
    for token, error in (
        (first.refresh_token, ProofInvalid),
        (new_family().text, GrantRefused),
    ):
        with pytest.raises(error):
            await bench.use(token, key=ShownKey("key", prove))
    second = await bench.use(first.refresh_token, jkt="key")
    with pytest.raises(ProofInvalid):
        await bench.use(first.refresh_token, now=NOW + 60, key=ShownKey("key", prove))

    assert len(proved) == 2
    assert await bench.use(second.refresh_token, jkt="key")


async def test_s10_nothing_usable_stands_in_the_store(bench, valkey):
    """S10: neither refresh token nor access token is in any key or value, nor what could make one."""
    first = await bench.begin()
    second = await bench.use(first.refresh_token)
    with valkey.client() as client:
        dump = b"\n".join(
            part for key in client.scan_iter() for part in (key, *_stands_in(client, key))
        )

    for answer in (first, second):
        assert answer.refresh_token.encode() not in dump
        assert answer.refresh_token[4:26].encode() not in dump
        assert answer.access_token.split(".")[1].encode() not in dump


def _stands_in(client, key):
    """Return the values of a key, whatever it is."""
    is_set = client.type(key) == b"zset"
    return client.zrange(key, 0, -1) if is_set else [client.get(key) or b""]


async def test_s9_the_answer_is_gone_with_the_grace(bench, valkey):
    """S9: what was kept for a lost answer lives no longer than it may be told."""
    first = await bench.begin()
    await bench.use(first.refresh_token)
    family = read_token(first.refresh_token).family
    with valkey.client() as client:
        answer_ms = client.pttl(bench.families.answer_key(family))
        family_ms = client.pttl(bench.families.family_key(family))

        assert 0 < answer_ms <= 10_000
        assert 3_590_000 < family_ms <= 3_600_000
        client.delete(bench.families.answer_key(family))
    with pytest.raises(Reused):
        await bench.use(first.refresh_token)


@pytest.mark.parametrize("planted", ["other", "garbage"])
async def test_s10_a_planted_answer_is_not_told(bench, valkey, planted):
    """S10: an answer opens under the token that it was made for alone; else the family ends."""
    first, other = await bench.begin(), await bench.begin()
    await bench.use(first.refresh_token)
    await bench.use(other.refresh_token)
    names = [read_token(answer.refresh_token).family for answer in (first, other)]
    with valkey.client() as client:
        key, source = map(bench.families.answer_key, names)
        client.set(key, client.get(source) if planted == "other" else b"x")

    with pytest.raises(Reused):
        await bench.use(first.refresh_token)


async def test_s10_a_planted_family_of_no_known_form_opens_nothing(bench, valkey):
    """S10: a record that cannot be read is refused and left for a person to look at."""
    first = await bench.begin()
    with valkey.client() as client:
        client.set(bench.families.family_key(read_token(first.refresh_token).family), b"{}")

    with pytest.raises(GrantRefused, match="record"):
        await bench.use(first.refresh_token)


@pytest.mark.parametrize("what", ["all", "issuer", "subject", "session"])
async def test_r6_a_revocation_ends_the_families_before_it(bench, what):
    """R6: "log out everywhere" reaches what could make new tokens, at its next use."""
    first = await bench.begin()
    family = read_token(first.refresh_token).family
    revocations, options = bench.revocations, {"keep_s": KEEP_S}
    await {
        "all": lambda: revocations.revoke_all(NOW + 1, **options),
        "issuer": lambda: revocations.revoke_issuer(ISSUER, NOW + 1, **options),
        "subject": lambda: revocations.revoke_subject(ISSUER, "ann", NOW + 1, **options),
        "session": lambda: revocations.revoke_session(ISSUER, family, NOW + 1, **options),
    }[what]()

    assert await bench.families.find(first.refresh_token, NOW + 3) is None
    with pytest.raises(GrantRefused, match="ended"):
        await bench.use(first.refresh_token, now=NOW + 3)
    with pytest.raises(GrantRefused, match="never was"):
        await bench.use(first.refresh_token, now=NOW + 3)


async def test_r6_a_login_behind_a_revocation_is_a_new_one(bench):
    """R6: whoever logs in again waits its second out, and can refresh from then on."""
    await bench.revocations.revoke_subject(ISSUER, "ann", NOW - 0.2, keep_s=KEEP_S)
    first = await bench.begin()
    second = await bench.use(first.refresh_token)

    assert bench.slept
    assert not await bench.is_refused(claims_of(first))
    assert not await bench.is_refused(claims_of(second))


async def test_r6_a_revocation_during_the_login_wins(bench):
    """R6: a password that was checked before "log out everywhere" begins nothing after it."""
    await bench.revocations.revoke_subject(ISSUER, "ann", NOW + 0.3, keep_s=KEEP_S)

    with pytest.raises(RevokedMeanwhile):
        await bench.begin(now=NOW + 0.6, since=NOW)


async def test_r6_a_family_that_ended_during_a_use_stays_ended(bench):
    """R6: between look-up and change somebody ends the family: nothing is written again."""
    first = await bench.begin()
    family = read_token(first.refresh_token).family
    real_run = bench.store.run

    async def run(script, keys, args=()):
        if keys[0] == bench.families.family_key(family):
            bench.store.run = real_run
            await bench.families.end_family(family, "ann", NOW + 5)
        return await real_run(script, keys, args)

    bench.store.run = run
    with pytest.raises(GrantRefused):
        await bench.use(first.refresh_token)

    assert await bench.store.fetch([bench.families.family_key(family)]) == [None]


async def test_a_family_is_over_at_its_time(bench):
    """The last token of a family that is used every day ends with it, and it is no theft."""
    first = await bench.begin()
    second = await bench.use(first.refresh_token, now=NOW + 3590)

    with pytest.raises(GrantRefused, match="end") as caught:
        await bench.use(second.refresh_token, now=NOW + 3601)
    assert not isinstance(caught.value, Reused)


async def test_an_outage_spends_nothing(bench, valkey):
    """While the store is out nobody is told anything, and the token is good afterwards."""
    first = await bench.begin()
    os.kill(valkey.pid, signal.SIGSTOP)
    try:
        with pytest.raises(StoreUnavailable):
            await bench.use(first.refresh_token)
    finally:
        os.kill(valkey.pid, signal.SIGCONT)
    assert (await bench.use(first.refresh_token)).refresh_token


async def test_fewer_scopes_may_be_asked_for(bench):
    """The family keeps what was granted; what `narrow` raises spends nothing."""
    first = await bench.begin(scopes=["read"])
    assert first.scope == "read"
    with pytest.raises(ZeroDivisionError):
        await bench.use(first.refresh_token, narrow=lambda _: 1 / 0)
    second = await bench.use(first.refresh_token, narrow=lambda scopes: scopes[:1])

    assert second.scope == "read"
    assert (await bench.use(second.refresh_token)).scope == "read write"


async def test_revocation_by_its_client_ends_the_family(bench):
    """Spent or not; another client's is left alone."""
    first = await bench.begin()
    second = await bench.use(first.refresh_token)
    with pytest.raises(GrantRefused, match="another client"):
        await bench.families.end(second.refresh_token, "backend", NOW + 6)
    assert await bench.families.find(second.refresh_token, NOW + 6) is not None

    assert "ann" == await bench.families.end(first.refresh_token, "spa", NOW + 6)
    assert await bench.is_refused(claims_of(second))
    assert await bench.families.find(second.refresh_token, NOW + 6) is None
    assert await bench.families.end(first.refresh_token, "spa", NOW + 6) is None
    assert await bench.families.end("x", "spa", NOW + 6) is None


async def test_a_look_changes_nothing(bench):
    """Introspection of a good token spends nothing; a spent one is no good token, grace or not."""
    first = await bench.begin()
    assert (await bench.families.find(first.refresh_token, NOW + 1))[1].holder == ANN
    second = await bench.use(first.refresh_token)

    assert await bench.families.find(first.refresh_token, NOW + 6) is None
    assert await bench.families.find("lgr_x", NOW + 6) is None
    assert await bench.families.find(second.refresh_token, NOW + 6) is not None
    assert await bench.families.find(second.refresh_token, NOW + 4000) is None
