from __future__ import annotations

import pytest

from proxy.cli.opening import open_any_store_of, open_store_of, pick_jwt_scheme, pick_session_scheme
from proxy.config.models import Config

WEB = {"type": "session", "format": "native"}
API = {"type": "jwt", "keys": {"local": True}, "issuer": "i", "audience": ["a"]}


def config(**sections: object) -> Config:
    """Return a configuration without checks."""
    return Config.model_validate({"upstreams": {}, "routes": [], **sections})


def test_the_only_scheme_of_a_kind_needs_no_name():
    """One of each: picked; a name must be one of the kind."""
    found = config(schemes={"web": WEB, "api": API})
    assert "web" == pick_session_scheme(found, None)[0]
    assert "api" == pick_jwt_scheme(found, "api")[0]
    with pytest.raises(ValueError, match="no jwt scheme called web"):
        pick_jwt_scheme(found, "web")


def test_none_and_several_are_said():
    """Nothing is guessed."""
    with pytest.raises(ValueError, match="has no native session scheme"):
        pick_session_scheme(config(), None)
    two = config(schemes={"a": WEB, "b": WEB})
    with pytest.raises(ValueError, match=r"several native session schemes \(a, b\)"):
        pick_session_scheme(two, None)


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
