"""What `check --connect` finds out about a store: its mode, its user's rights, whether it tells."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from proxy.adapters.store import StoreAddress, open_gate_store
from proxy.adapters.store.trial import SessionRead, try_store
from proxy.config.store_models import StoreConfig
from proxy.errors import StoreUnavailable

PAGE = Path(__file__).parents[4] / "docs" / "store.md"
PREFIX = "latchgate:"


@pytest.fixture
def rights():
    """Return the rights that the page asks for."""
    text = PAGE.read_text().partition("**Permissions**")[2].partition("`.")[0]
    return re.findall(r"\+[a-z|]+", text)


@pytest.fixture
def attempt(mortal_valkey):
    """Return what tries the store as a user with the given rights."""

    async def attempt(rights, *, is_own=True, keys="~latchgate:*", sessions=(), **settings):
        with mortal_valkey.client() as admin:
            admin.execute_command("ACL", "SETUSER", "gate", "reset", "on", ">pw", keys, *rights)
        address = StoreAddress(
            socket_path=str(mortal_valkey.socket_path), username="gate", password="pw"
        )
        made = StoreConfig(**settings)
        store = open_gate_store(address, made)
        try:
            return await try_store(store, made, PREFIX, is_own=is_own, sessions=sessions)
        finally:
            await store.close()

    return attempt


async def test_a_round_trip_tells_what_the_store_is_and_leaves_nothing(
    attempt, rights, mortal_valkey
):
    """The documented rights are enough; how long it took, and the table's size, are told."""
    trial = await attempt(rights)
    assert trial.problem is None
    assert re.fullmatch(
        r"valkey [0-9.]+, standalone master, no bound of memory; answers in [0-9.]+ ms;"
        r" tells what changes after [0-9.]+ ms; \d+ tracked keys",
        trial.text,
    )
    with mortal_valkey.client() as admin:
        assert admin.dbsize() == 0
    trial = await attempt([*rights, "+config|get"])
    assert re.search(r"\d+ tracked keys of at most 1000000$", trial.text)


async def test_what_the_user_may_not_is_named(attempt, rights):
    """Before the first sign-in fails for it; a server that cannot tell is said, and no mistake."""
    trial = await attempt([*rights, "-zadd", "-pttl"])
    assert trial.problem == "its user may not, with keys under latchgate:: +pttl +zadd"
    trial = await attempt(rights, keys="~other:*")
    assert "+set" in trial.problem
    trial = await attempt([*rights, "-client|tracking"])
    assert trial.problem is None
    assert "every request is looked up" in trial.text
    trial = await attempt([*rights, "-info"])
    assert "cannot" in trial.problem or "does not tell" in trial.problem


async def test_nothing_is_written_to_an_applications_store(attempt, mortal_valkey):
    """Two reads and tracking are what such a store is used for."""
    allowed = [
        "+getrange",
        "+mget",
        "+pttl",
        "+ping",
        "+select",
        "+hello",
        "+client|tracking",
        "+info",
    ]
    how = {"is_own": False, "keys": "~sess:*", "sessions": [SessionRead("sess:")]}
    trial = await attempt(allowed, **how)
    assert trial.problem is None
    assert "tells what changes;" in trial.text
    for right in ("pttl", "getrange", "mget"):
        trial = await attempt([*allowed, f"-{right}"], **how)
        assert trial.problem == f"its user may not, with keys under latchgate:, sess:: +{right}"


async def test_what_each_format_reads_is_tried(attempt):
    """A hash is read by another command than a string, and under another prefix."""
    allowed = [
        *("+getrange", "+mget", "+pttl", "+ping", "+select", "+hello"),
        *("+client|tracking", "+info"),
    ]
    how = {"is_own": False, "keys": "~*", "sessions": [SessionRead("a:"), SessionRead("b:", True)]}
    assert (await attempt(allowed, **how)).problem.endswith("+hmget +hstrlen")
    allowed += ["+hmget", "+hstrlen"]
    assert (await attempt(allowed, **how)).problem is None
    how["keys"] = "~a:*"
    assert (await attempt(allowed, **how)).problem.endswith("+hmget +hstrlen +pttl +mget")


async def test_replicas_that_are_to_confirm_are_tried(attempt, rights):
    """With `durability` a store without replicas is found out before anybody signs in."""
    with pytest.raises(StoreUnavailable, match="0 of 1 replicas"):
        await attempt(rights, durability={"replicas": "all"})


@pytest.mark.parametrize("mode", ["replica", "sentinel", "cluster"])
async def test_a_server_of_another_kind_is_named(scripted, mode):
    """A replica, a Sentinel and a node of a Cluster are none that such a URL may name."""
    info = {
        "replica": "redis_mode:standalone\r\nrole:slave",
        "sentinel": "redis_mode:sentinel\r\nrole:sentinel",
        "cluster": "redis_mode:cluster\r\ncluster_enabled:1\r\nrole:master",
    }[mode].encode()
    server = await scripted(b"$%d\r\n%s\r\n" % (len(info), info))
    store = open_gate_store(server.address, StoreConfig())
    trial = await try_store(store, StoreConfig(), PREFIX, is_own=True)
    await store.close()
    assert mode in trial.problem.lower()
