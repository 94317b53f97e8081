"""Signing keys in a real Valkey: many workers, one key (S10)."""

from __future__ import annotations

import asyncio

import pytest

from proxy.adapters.secrets import SecretBox
from proxy.adapters.store import StoreAddress, open_store
from proxy.core.keyring import Rotation
from proxy.errors import SecretsError
from proxy.services.signing import SigningKeys
from tests.token_workshop import NOW

ROTATION = Rotation(period_s=1000, token_life_s=100, publish_s=50, slack_s=10)
BOX = SecretBox([bytes(32)])
RECORD = "p:signing:token"


@pytest.fixture
async def store(valkey):
    """Open the real server as a worker does."""
    opened = open_store(StoreAddress(socket_path=str(valkey.socket_path)), timeout_s=5.0)
    yield opened
    await opened.close()


async def load(store, *, now=NOW):
    """Load the token keys as one of many workers."""
    return await SigningKeys.load(
        store, BOX, prefix="p:", purpose="token", algorithm="EdDSA", now=now, rotation=ROTATION
    )


def kids(keys):
    """Return the names of the published keys."""
    return tuple(key.kid for key in keys.published())


async def test_s10_workers_that_start_at_once_share_one_key(store, valkey):
    """The first SET NX wins, everybody else reads it; what is stored is sealed and stays."""
    workers = await asyncio.gather(*[load(store) for _ in range(16)])

    assert 1 == len({kids(worker) for worker in workers})
    with valkey.client() as client:
        assert -1 == client.ttl(RECORD)
        assert b"pkcs8" not in client.get(RECORD)


async def test_workers_that_rotate_at_once_make_one_key(store):
    """The exchange is one step in the server: of many successors one is published."""
    workers = await asyncio.gather(*[load(store) for _ in range(4)])
    for now in (NOW + 1000, NOW + 2000, NOW + 3000):
        await asyncio.gather(*[worker.refresh(now) for worker in workers])

        assert 1 == len({kids(worker) for worker in workers})
        assert len(kids(workers[0])) <= 2


async def test_s10_a_record_that_was_planted_in_the_server_is_refused(store, valkey):
    """Whoever can write to the store cannot make the gate sign with a key of theirs."""
    await load(store)
    with valkey.client() as client:
        client.set(RECORD, SecretBox([bytes(range(32))]).seal(b'{"v":1,"keys":[]}', RECORD))

    with pytest.raises(SecretsError):
        await load(store)
