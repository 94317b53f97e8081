from __future__ import annotations

import pytest

from proxy.cli.opening import open_any_store_of, open_store_of
from proxy.config.models import Config

WEB = {"type": "session", "format": "native"}


def config(**sections: object) -> Config:
    """Return a configuration without checks."""
    return Config.model_validate({"upstreams": {}, "routes": [], **sections})


async def test_a_configuration_without_need_of_a_store_starts_none(tmp_path):
    """The default embedded store is not made for nothing."""
    settings = config(store={"url": f"embedded:{tmp_path / 'store'}"})
    async with open_any_store_of(settings) as store:
        assert store is None
    with pytest.raises(ValueError, match="nothing in this configuration uses a store"):
        async with open_store_of(settings):
            pass
    assert not (tmp_path / "store").exists()


@pytest.mark.slow
async def test_a_command_runs_an_embedded_store_for_its_own_time(tmp_path):
    """What one command writes the next one finds, and in between nothing runs."""
    settings = config(store={"url": f"embedded:{tmp_path / 's'}"}, schemes={"web": WEB})
    async with open_store_of(settings) as store:
        await store.put("k", b"v")
    assert not (tmp_path / "s" / "endpoint.json").exists()
    async with open_store_of(settings) as store:
        assert [b"v"] == await store.fetch(["k"])
