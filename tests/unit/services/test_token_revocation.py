from __future__ import annotations

import pytest

from proxy.adapters.store import StoreAddress, open_store
from proxy.config.models import Config
from proxy.core.revocation import RevocationKeys, is_revoked
from proxy.services.token_revocation import TokenRevocation, revocable

NOW = 1_800_000_000.0
API = {"type": "jwt", "keys": {"local": True}, "issuer": "i", "audience": ["a"]}


def config(**schemes) -> Config:
    """Return a configuration without checks."""
    return Config.model_validate({"upstreams": {}, "routes": [], "schemes": schemes})


@pytest.fixture
async def store(valkey):
    """Open the tests' store."""
    store = open_store(StoreAddress(socket_path=str(valkey.socket_path)), timeout_s=5)
    yield store
    await store.close()


@pytest.mark.parametrize(
    ("method", "arguments", "marker"),
    [
        ("revoke_all", (), "all"),
        ("revoke_issuer", (), "iss"),
        ("revoke_subject", ("ada",), "sub"),
        ("revoke_jti", ("j",), "jti"),
    ],
)
async def test_each_way_refuses_the_token_that_it_names(store, method, arguments, marker):
    """A marker stands where the gate looks for it, and the words say what was revoked."""
    said = await getattr(TokenRevocation(config(api=API), store), method)(*arguments, NOW)
    keys = RevocationKeys("latchgate:").for_token("i", {"sub": "ada"}, "j")
    values = await store.fetch(keys)

    assert marker == is_revoked(values, NOW - 1, 0)
    assert all(word in said for word in arguments)


async def test_which_scheme_is_meant_is_never_guessed(store):
    """Of several schemes one is named; a scheme that asks no deny-list is a mistake."""
    two = config(api=API, other={**API, "issuer": "o"})
    with pytest.raises(ValueError, match="several jwt schemes"):
        await TokenRevocation(two, store).revoke_jti("j", NOW)
    assert "of o " in await TokenRevocation(two, store).revoke_subject("ada", NOW, scheme="other")
    with pytest.raises(ValueError, match="never asks for revocations"):
        revocable(config(api={**API, "revocation": "none"}), None)
