"""The deny-list as one worker asks it, over a real store."""

from __future__ import annotations

import pytest

from proxy.adapters.store import StoreAddress
from proxy.config.models import Config
from proxy.core.coherence import Verdict
from proxy.core.jose import VerifiedToken
from proxy.core.revocation import History, RevocationKeys
from proxy.errors import StoreUnavailable
from proxy.model import Identity
from proxy.services.coherence import Coherence
from proxy.services.deny_list import DenyList, common_keys

NOW = 1_800_000_000.0
ISSUER = "https://id.test"
KEYS = RevocationKeys("latchgate:")
TOKEN = VerifiedToken({"sub": "ada"}, None, "t1", int(NOW), NOW + 60, NOW)


@pytest.fixture
async def coherence(valkey):
    coherence = Coherence(Config(store={"timeout": 30.0}))
    coherence.track("store", StoreAddress(socket_path=str(valkey.socket_path)))
    yield coherence
    await coherence.close()


@pytest.mark.parametrize("is_strict", [True, False], ids=["revoke_all", "accept"])
async def test_r4_without_an_epoch_a_new_worker_allows_nothing(coherence, valkey, is_strict):
    """R4: who has never seen an epoch cannot miss one; until there is one, nothing is known."""
    (tracked,) = coherence.tracked.values()
    ledger = coherence.ledger("api", tracked, common_keys(KEYS, ISSUER))
    deny_list = DenyList(ledger, KEYS, History(is_strict=is_strict), ISSUER, 0.0, lambda: None)

    async def ask():
        verdict = Verdict(Identity(ISSUER, "ada", "api"))
        return await deny_list.look_up(ledger.key(b"t"), TOKEN, verdict, 0, NOW)

    with pytest.raises(StoreUnavailable, match="lost and not yet repaired"):
        await ask()
    assert 0 == len(coherence.cache)
    with valkey.client() as admin:
        admin.set(KEYS.epoch, "e")
    assert (await ask()).refused is None
    assert 1 == len(coherence.cache)
