"""The words of the store's port."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from proxy.adapters.store import Script, StoreInfo, eviction_problem

GOOD = StoreInfo(
    server="valkey",
    version=(9, 1),
    maxmemory=0,
    maxmemory_policy="noeviction",
    is_replica=False,
    is_cluster=False,
)


def test_a_script_is_called_by_its_digest():
    """EVALSHA names a script by the SHA-1 of its text."""
    assert hashlib.sha1(b"return 1", usedforsecurity=False).hexdigest() == Script("return 1").sha


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl", "volatile-lru", "something-new"])
def test_r4_a_store_that_can_evict_is_refused(policy):
    """R4: where memory is bounded every policy but noeviction can drop a revocation."""
    problem = eviction_problem(replace(GOOD, maxmemory=1, maxmemory_policy=policy), "refuse")
    assert problem is not None
    assert policy in problem
    assert "noeviction" in problem


@pytest.mark.parametrize(
    "info",
    [
        GOOD,
        replace(GOOD, maxmemory=1 << 30),
        replace(GOOD, maxmemory_policy="allkeys-lru"),
        replace(GOOD, maxmemory_policy=None),
        replace(GOOD, maxmemory=None),
    ],
)
def test_r4_a_store_that_cannot_evict_is_fine(info):
    """R4: a policy counts where maxmemory is set only."""
    assert eviction_problem(info, "refuse") is None


@pytest.mark.parametrize(
    "info",
    [
        replace(GOOD, maxmemory=None, maxmemory_policy=None),
        replace(GOOD, maxmemory=None, maxmemory_policy="allkeys-lru"),
        replace(GOOD, maxmemory=5, maxmemory_policy=None),
    ],
)
def test_r4_a_store_that_does_not_tell_is_refused(info):
    """R4: what cannot be read is taken for the worst, and the remedy is told."""
    problem = eviction_problem(info, "refuse")
    assert problem is not None
    assert "eviction: accept" in problem


def test_r4_an_operator_may_accept_eviction():
    """R4: `eviction: accept` is somebody's word that it is known."""
    info = replace(GOOD, maxmemory=1, maxmemory_policy="allkeys-lru")
    assert eviction_problem(info, "accept") is None
