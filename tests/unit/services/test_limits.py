"""The limits of a route: in the store, without it, and for whom."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from proxy.adapters.store import StoreAddress, open_gate_store, open_store
from proxy.config.store_models import StoreConfig
from proxy.core.rate import Rate
from proxy.errors import TooManyAtOnce
from proxy.model import Peer, RequestView
from proxy.services.decision import Refuse
from proxy.services.limits import Limiter, by_address, by_header, by_subject

VIEW = RequestView(
    "GET", b"/", [(b"X-Key", b"k1")], Peer("10.0.0.1", 1, is_unix=False, is_tls=False)
)


@dataclass
class Asked:
    """What a limiter reads of a decision."""

    address: str = "10.0.0.1"
    subject: str | None = None
    response_headers: tuple = ()
    request_id: str = "r"
    origin: str = "i"
    has_same_subjects: bool = False
    route: object = field(init=False)
    client: object = field(init=False)
    identity: object = field(init=False)

    def __post_init__(self):
        self.route = SimpleNamespace(has_same_subjects=self.has_same_subjects)
        self.client = SimpleNamespace(address=self.address)
        self.identity = self.subject and SimpleNamespace(origin=self.origin, subject=self.subject)


@pytest.fixture
async def store(valkey):
    store = open_store(StoreAddress(socket_path=str(valkey.socket_path)), timeout_s=2)
    yield store
    await store.close()


async def refused(limiter, asked, now=100.0):
    """Tell whether a request is refused."""
    return isinstance(await limiter.admit(asked, VIEW, now), Refuse)


async def test_workers_count_together_in_the_store(store):
    """What one lets through counts for the other, and is forgotten when its time is over."""
    one, two = (Limiter("r", rate=Rate(3, 1.0), is_shared=True) for _ in range(2))
    other = Limiter("s", rate=Rate(3, 1.0), is_shared=True)
    for limiter in (one, two, other):
        limiter.bind(store, "t:")
    asked = [await refused(limiter, Asked()) for limiter in (one, two, one, two, one)]

    assert [False, False, False, True, True] == asked
    assert not await refused(other, Asked())
    assert not await refused(two, Asked(), 100.34)
    assert await refused(two, Asked(), 100.34)


async def test_without_the_store_each_worker_counts_by_itself(valkey, store):
    """An outage neither lets everything through nor shuts anybody out."""
    gone = open_store(StoreAddress(socket_path="/nobody/listens/here"), timeout_s=0.2)
    one, two = (Limiter("r", rate=Rate(1, 9.0), is_shared=True) for _ in range(2))
    one.bind(gone, "t:")
    two.bind(gone, "t:")
    asked = [await refused(limiter, Asked()) for limiter in (one, one, two, two)]
    await gone.close()

    assert [False, True, False, True] == asked


async def test_nobody_waits_for_a_store_that_hangs(tmp_path, store):
    """One request in a second finds out whether it answers again; all others are counted at once."""
    over = asyncio.Event()

    async def hang(_, writer):
        await over.wait()
        writer.close()

    server = await asyncio.start_unix_server(hang, tmp_path / "s")
    hung = open_store(StoreAddress(socket_path=str(tmp_path / "s")), timeout_s=0.3)
    limiter = Limiter("r", rate=Rate(1000, 60.0), is_shared=True)
    limiter.bind(hung, "t:")
    loop = asyncio.get_running_loop()
    began, took = loop.time(), []
    for now in (100.0, *[100.5] * 20, 101.2, *[101.3] * 20):
        assert not await refused(limiter, Asked(), now)
        took.append(loop.time() - began)
        began = loop.time()

    assert [0, 21] == [number for number, second in enumerate(took) if second > 0.2]
    limiter.bind(store, "t:")
    assert not await refused(limiter, Asked(), 99.0)  # the clock was set back
    assert 1 == len([key async for key in store.scan("t:")])
    over.set()
    await hung.close()
    server.close()


async def test_a_refusal_tells_nobody_else_anything():
    """Its headers are the rate's and the page's own; the log hears the route."""
    limiter = Limiter("r", rate=Rate(1, 60.0))
    asked = Asked(response_headers=((b"Access-Control-Allow-Origin", b"https://a"),))
    assert asked is await limiter.admit(asked, VIEW, 0.0)
    refuse = await limiter.admit(asked, VIEW, 0.0)

    assert "too_many_requests" == refuse.refusal.code
    assert (b"RateLimit-Policy", b'"requests";q=1;w=60') == refuse.refusal.headers[0]
    assert asked.response_headers == refuse.response_headers


@pytest.mark.parametrize(
    ("key_of", "one", "other", "is_same"),
    [
        (by_subject, Asked(subject="ada"), Asked("10.0.0.2", subject="ada"), True),
        (by_subject, Asked(subject="ada"), Asked(subject="bob"), False),
        (by_subject, Asked(), Asked("10.0.0.2"), False),
        (by_address, Asked("2001:db8::1"), Asked("2001:db8::2"), True),
        (by_address, Asked(subject="ada"), Asked("10.0.0.2", subject="ada"), False),
        (by_header(b"x-key"), Asked(), Asked("10.0.0.2"), True),
        (by_header(b"x-none"), Asked(), Asked("10.0.0.2"), False),
    ],
    ids=["subject", "subjects", "nobody", "network", "address", "header", "no-header"],
)
def test_who_counts_as_one(key_of, one, other, is_same):
    """A person, a network or a header's value; who has none counts by address."""
    assert is_same == (key_of(one, VIEW) == key_of(other, VIEW))


@pytest.mark.parametrize("has_same_subjects", [False, True])
def test_k6_one_name_of_two_origins_is_two_people_unless_the_route_says_otherwise(
    has_same_subjects,
):
    """With `same_subjects: true` a session beside a token is no second share of the rate."""
    one, other = (Asked(subject="ada", origin=o, has_same_subjects=has_same_subjects) for o in "ij")

    assert has_same_subjects == (by_subject(one, VIEW) == by_subject(other, VIEW))


def test_only_so_many_are_under_way():
    """The next one is refused until one is over."""
    limiter = Limiter("r", parallel=2)
    limiter.enter()
    limiter.enter()
    with pytest.raises(TooManyAtOnce):
        limiter.enter()
    limiter.leave()
    limiter.enter()

    assert 2 == limiter.busy


async def test_a_clients_own_value_before_that_of_a_proxy_is_no_other_share():
    """A proxy may add its header behind the one that its client sent: the last one counts."""
    limiter = Limiter("r", rate=Rate(1, 60.0), key_of=by_header(b"x-key"))
    asked = []
    for made_up in (b"a", b"b", b"c"):
        headers = [(b"X-Key", made_up), (b"X-Key", b"k1")]
        view = RequestView("GET", b"/", headers, VIEW.peer)
        asked.append(isinstance(await limiter.admit(Asked(), view, 100.0), Refuse))

    assert [False, True, True] == asked


async def test_a_key_takes_little_memory_however_long_the_header_is():
    """A client chooses the header's value: of many long ones a worker keeps no more than of short ones."""
    limiter = Limiter("r", rate=Rate(1, 60.0), key_of=by_header(b"x-key"))
    for number in range(100):
        view = RequestView("GET", b"/", [(b"X-Key", b"%d" % number * 10_000)], VIEW.peer)
        await limiter.admit(Asked(), view, 100.0)

    assert {64} == {len(key) for key in limiter._table._times}


async def test_no_request_waits_for_the_replicas(valkey):
    """A count is no revocation: with `durability` and no replica at all workers still count together."""
    address = StoreAddress(socket_path=str(valkey.socket_path))
    settings = StoreConfig(durability={"replicas": "all", "timeout": "50ms"})
    store = open_gate_store(address, settings)
    one, two = (Limiter("r", rate=Rate(1, 60.0), is_shared=True) for _ in range(2))
    for limiter in (one, two):
        limiter.bind(store, "t:")
    asked = [await refused(limiter, Asked()) for limiter in (one, two)]
    await store.close()

    assert [False, True] == asked
