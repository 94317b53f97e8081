"""A Cluster whose nodes are reached with TLS alone: its clients hear of no other ports."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from pathlib import Path
from urllib.parse import quote

import pytest

from proxy.adapters.store import address_of
from proxy.adapters.store.opening import open_gate_store
from proxy.adapters.store.trial import try_store
from proxy.config.addresses import parse_store_url
from proxy.config.store_models import StoreConfig
from proxy.core.slots import slot_of
from proxy.errors import StoreUnavailable
from tests.cluster_set import running
from tests.contract.conftest import make_certificate, relay_to
from tests.contract.test_cluster import Rig, spread, tracking, until

SETTINGS = StoreConfig(max_staleness=1.0, durability={"replicas": "all", "timeout": 0.2})


@pytest.fixture(scope="module")
def servers():
    with running(is_fronted=True) as made:
        yield made


@pytest.fixture
def mortal_servers():
    """Give a Cluster of this test alone."""
    with running(is_fronted=True) as made:
        yield made


@pytest.fixture(scope="module")
def certificate():
    directory = Path(tempfile.mkdtemp(prefix="lgt-"))
    yield make_certificate(directory)
    shutil.rmtree(directory)


@contextlib.asynccontextmanager
async def fronted(servers, certificate):
    """Give the URL of a Cluster behind a relay for each node, which ends its TLS."""
    async with contextlib.AsyncExitStack() as stack:
        for node in servers.nodes:

            def connect(port=node.port):
                return asyncio.open_connection("127.0.0.1", port)

            await relay_to(stack, connect, certificate, port=node.shown_port)
        ca_file = quote(str(certificate / "cert.pem"), safe="")
        yield f"{servers.url.replace('redis+', 'rediss+')}?ssl_ca_certs={ca_file}"


@pytest.fixture
async def url(servers, certificate):
    async with fronted(servers, certificate) as made:
        yield made


def opened(url):
    return open_gate_store(address_of(parse_store_url(url, None)), SETTINGS)


async def heals(work):
    """Do it again until the Cluster, which heals by itself, takes it."""
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(StoreUnavailable):
                return await work()
            await asyncio.sleep(0.05)


async def test_every_node_is_reached_with_tls_and_the_user(url, servers):
    """Keys of each master are written and confirmed, a wrong guess of the node is put right."""
    store = opened(url)
    names = spread(servers)
    for name in names:
        assert await store.put(name, name.encode(), ttl_s=60)
    assert await store.fetch(names) == [name.encode() for name in names]
    assert await store.look("ACL", "WHOAMI") == b"gate"
    trial = await try_store(store, SETTINGS, "latchgate:", is_own=True)
    assert (trial.problem, "cluster master, 3 replicas" in trial.text) == (None, True)
    await store.close()


async def test_verdicts_are_kept_and_end_wherever_their_slot_goes(url, servers):
    """MOVED leads to the port that speaks TLS, and the master that is there tells what changes."""
    store, rig = opened(url), Rig(address_of(parse_store_url(url, None)))
    await tracking(rig)
    key = "latchgate:moving"
    slot = slot_of(key.encode())
    old = await asyncio.to_thread(servers.master_of, key)
    new = next(one for one in servers.masters if one is not old)
    assert await store.put(key, b"1")
    assert await rig.ask(key) == "1"
    assert rig.knows(key)
    await asyncio.to_thread(servers.move, slot, old, new)
    assert await store.fetch([key]) == [b"1"]
    await until(lambda: not rig.knows(key) and rig.source.state == "tracking")
    assert await rig.ask(key) == "1"
    assert rig.knows(key)
    assert await heals(lambda: store.put(key, b"2"))
    await until(lambda: not rig.knows(key))
    assert await rig.ask(key) == "2"
    await rig.store.close()
    await store.close()


@pytest.mark.parametrize("change", ["no authority", "no TLS", "another password"])
async def test_whoever_cannot_prove_who_they_are_is_no_store(url, change):
    """An unknown authority, a client without TLS, and a wrong password get nowhere."""
    wrong = {
        "no authority": url.partition("?")[0],
        "no TLS": url.replace("rediss+", "redis+").partition("?")[0],
        "another password": url.replace("gate-pw", "guessed"),
    }[change]
    store = opened(wrong)
    with pytest.raises(StoreUnavailable) as caught:
        await store.fetch(["latchgate:x"])
    assert "guessed" not in str(caught.value)
    await store.close()


async def test_a_failover_is_followed_to_the_new_masters_tls(mortal_servers, certificate):
    """What was confirmed is there, what is told next is heard, and nobody helps."""
    servers = mortal_servers
    async with fronted(servers, certificate) as url:
        store, rig = opened(url), Rig(address_of(parse_store_url(url, None)))
        await tracking(rig)
        key = "latchgate:failing-over"
        old = await asyncio.to_thread(servers.master_of, key)
        assert await store.put(key, b"1")
        assert await rig.ask(key) == "1"
        old.kill()
        await asyncio.to_thread(servers.wait_for_failover, old)
        assert await heals(lambda: store.fetch([key])) == [b"1"]
        old.start()
        assert await heals(lambda: store.put(key, b"2"))
        await until(lambda: not rig.knows(key) and rig.source.state == "tracking")
        assert await heals(lambda: rig.ask(key)) == "2"
        assert rig.knows(key)
        assert await heals(lambda: store.put(key, b"3"))
        await until(lambda: not rig.knows(key))
        await rig.store.close()
        await store.close()
