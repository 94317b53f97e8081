from __future__ import annotations

import pytest

from proxy.config.models import Config
from proxy.errors import StoreUnavailable
from proxy.services.beginning import login_keys, make_watch, open_own_store, pick_gate_id

OPEN = {
    "upstreams": {"app": {"servers": ["http://127.0.0.1:1"]}},
    "routes": [{"match": {"path": "/"}, "auth": "none", "upstream": "app"}],
}
GUARDED = {
    **OPEN,
    "schemes": {"web": {"type": "session", "format": "native"}},
    "routes": [{"match": {"path": "/"}, "auth": "web", "upstream": "app"}],
}


def config_of(data, **more):
    return Config.model_validate({**data, **more})


def test_the_keys_of_a_provider_have_no_schemes_name():
    """No scheme can be called as a login provider's keys are."""
    assert login_keys("google") == "login:google"


def test_each_gate_has_a_name_of_its_own():
    """A loop is known by a name that no other gate has, unless the configuration gives one."""
    chosen = config_of(OPEN, server={"id": "front"})

    assert pick_gate_id(config_of(OPEN)) != pick_gate_id(config_of(OPEN))
    assert pick_gate_id(chosen) == "front"


def test_a_gate_that_needs_no_store_opens_none():
    """Where all is public nothing is connected to."""
    assert open_own_store(config_of(OPEN), None) is None


def test_an_embedded_store_that_does_not_run_is_unavailable():
    """Nothing else is taken for it."""
    with pytest.raises(StoreUnavailable):
        open_own_store(config_of(GUARDED), None)


async def test_lost_revocations_are_noticed_where_they_are_kept(valkey):
    """The watch looks below the prefix of the gate's own store."""
    config = config_of(GUARDED, store={"url": valkey.url, "prefix": "mine:"})
    store = open_own_store(config, None)
    try:
        await make_watch(config, store).look(1_000.0)
    finally:
        await store.close()

    with valkey.client() as client:
        assert client.keys("mine:*")
