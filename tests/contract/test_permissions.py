"""The rights that docs/store.md asks for are enough, and an application's store needs fewer."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from proxy.adapters.secrets import SecretBox
from proxy.adapters.store import StoreAddress, eviction_problem, open_store
from proxy.adapters.store.tracked_store import TrackedStore
from proxy.core.coherence import Source
from proxy.core.oidc import LogoutToken
from proxy.core.revocation import RevocationKeys
from proxy.errors import StoreUnavailable
from proxy.services import provider_tokens
from proxy.services.backchannel import ProviderSessions
from proxy.services.provider_tokens import ProviderTokens, TokenVault
from proxy.services.revocations import Revocations, RevocationWatch
from proxy.services.sessions import Login, Sessions

NOW = 1_800_000_000.0
KEYS = RevocationKeys("latchgate:")
PAGE = Path(__file__).parents[2] / "docs" / "store.md"


@pytest.fixture
async def documented(mortal_valkey):
    """Open the store as the documented user, for keys under the prefix only."""
    text = PAGE.read_text().partition("**Permissions**")[2].partition("`.")[0]
    rights = re.findall(r"\+[a-z|]+", text)
    assert "+evalsha" in rights
    with mortal_valkey.client() as admin:
        rules = ["on", ">pw", "~latchgate:*", "-@all", *rights]
        admin.execute_command("ACL", "SETUSER", "gate", "reset", *rules)
    address = StoreAddress(
        socket_path=str(mortal_valkey.socket_path), username="gate", password="pw", database=1
    )
    store = open_store(address, timeout_s=1)
    yield store
    await store.close()


async def test_the_documented_rights_are_enough(documented):
    """Sessions, revocations, the watch and the look at the policy all work with them."""
    sessions = Sessions(documented, prefix="latchgate:", idle_timeout_s=60, lifetime_s=600)
    new = await sessions.create(Login("alice"), NOW)
    assert await sessions.touch(await sessions.look_up(new.cookie), NOW + 10)
    assert [new.digest] == [each.digest async for each in sessions.listed(NOW + 11)]
    assert await sessions.revoke(new.digest)
    watch = RevocationWatch(documented, KEYS, keep_s=60, on_alert=lambda _text: None)
    await watch.look(NOW)
    await Revocations(documented, KEYS).revoke_all(NOW, keep_s=60)
    assert "good" == await watch.look(NOW + 1)
    await documented.delete(KEYS.epoch)
    assert "lost" == await watch.look(NOW + 2)
    assert eviction_problem(await documented.probe(), "refuse") is None


async def test_the_documented_rights_are_enough_for_logins_with_a_provider(documented):
    """Provider tokens, their lock, the index of a provider's sessions, and its logout."""
    sessions = Sessions(documented, prefix="latchgate:", idle_timeout_s=60, lifetime_s=600)
    session = await sessions.create(Login("ann"), NOW)
    vault = TokenVault(
        documented, SecretBox([b"k" * 32]), {}, prefix="latchgate:", clock=lambda: NOW
    )
    tokens = ProviderTokens(
        "corp", "https://id.example.com", "gate", "ann", "s", "i", "a", "r", NOW, NOW - 9, NOW - 1
    )
    index = ProviderSessions(documented, prefix="latchgate:")
    token = LogoutToken("ann", "s", "jti", NOW, NOW + 60)

    assert await vault.keep(session.digest, tokens, NOW + 600)
    keys = [vault.key(session.digest), vault._lock_key(session.digest)]
    assert await documented.run(provider_tokens._LOCK, keys, ["me", 1000])
    sealed = (await documented.fetch(keys[:1]))[0]
    assert await documented.run(
        provider_tokens._REPLACE, [keys[0], sessions.session_key(session.digest)], [sealed, sealed]
    )
    assert await documented.run(provider_tokens._UNLOCK, keys[1:], ["me", 1000])
    assert await documented.run(provider_tokens._UNLOCK, keys[1:], ["me", 0])
    assert await index.add(session.digest, tokens, expires_at=NOW + 600, now=NOW)
    place = (tokens.issuer, tokens.client_id)
    assert 1 == await index.log_out(place, token, sessions.revoke, NOW)


async def test_the_documented_rights_are_enough_for_tracking(documented):
    """Look-ups are tracked with them, for the gate's own keys and with the life of a key."""
    source = Source("store", max_staleness_s=2.0)
    tracked = TrackedStore(documented.address, source, timeout_s=5)
    commands = (("MGET", b"latchgate:k"), ("PTTL", b"latchgate:k"))
    replies = await tracked.ask(
        commands, lambda replies, _at: list(replies), keys=(b"latchgate:k",)
    )
    await tracked.close()
    assert ([[None], -2], 1) == (replies, source.counters.connections)


async def test_the_documented_user_reaches_no_other_keys(documented):
    """Keys of others are refused, which is an outage and not an absence."""
    with pytest.raises(StoreUnavailable, match="NOPERM"):
        await documented.fetch(["elsewhere:k"])
