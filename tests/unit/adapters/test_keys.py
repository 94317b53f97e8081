"""Key sources without a network: what is static, and what the supervisor relays (K3)."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest

from proxy.adapters.boot_clock import boot_time
from proxy.adapters.keys import KeyTiming, RelayedKeys, StaticKeys
from proxy.core.keyset import KeySet
from proxy.errors import KeysUnavailable
from tests.token_workshop import jwk

TIMING = KeyTiming(refetch_s=10.0, timeout_s=0.05)


class Bench:
    """A worker's keys, a clock to turn, and the questions that it sent."""

    def __init__(self, *, answers=None):
        self.time = 1000.0
        self.asked = []
        self.answers = answers
        self.keys = RelayedKeys(
            ["RS256", "EdDSA"],
            self._ask,
            max_stale_s=3600.0,
            timing=TIMING,
            clock=lambda: self.time,
        )

    def _ask(self, kid):
        self.asked.append(kid)
        if self.answers is not None:
            asyncio.get_running_loop().call_soon(self.keys.accept, self.answers)


def document(*kids, fetched_at=1000.0, is_down=False):
    """Return what the supervisor pushes, as it arrives: through JSON."""
    jwks = json.dumps({"keys": [jwk("RSA", kid=kid) for kid in kids]})
    pushed = {"jwks": jwks, "fetched_at": fetched_at, "is_down": is_down}
    return json.loads(json.dumps(pushed))


NOTHING = {"jwks": None, "fetched_at": 0.0, "is_down": True}


async def test_static_keys_are_what_they_are():
    """A file's or a secret's keys need nobody, and know no more than at the start."""
    keys = KeySet.from_jwks({"keys": [jwk("RSA", kid="a")]}, algorithms=["RS256"])
    source = StaticKeys(keys)

    assert keys is source.current()
    assert await source.refreshed("b") is None


def test_the_clock_runs_on():
    """It never goes back."""
    assert boot_time() <= boot_time()


async def test_k3_without_a_document_keys_are_unavailable():
    """No keys yet is an outage, not a bad token; also if the provider never answered."""
    bench = Bench()
    with pytest.raises(KeysUnavailable):
        bench.keys.current()
    bench.keys.accept(NOTHING)
    with pytest.raises(KeysUnavailable):
        bench.keys.current()
    with pytest.raises(KeysUnavailable):
        await bench.keys.refreshed("a")
    assert [] == bench.asked


async def test_a_pushed_document_is_used_at_once():
    """What the supervisor fetched replaces what was there."""
    bench = Bench()
    bench.keys.accept(document("a"))
    before = bench.keys.current()
    bench.keys.accept(document("b"))

    assert (True, False) == (before.has_kid("a"), bench.keys.current().has_kid("a"))


async def test_the_same_document_is_not_read_again():
    """An unchanged set stays the same object, but is fresh again."""
    bench = Bench()
    bench.keys.accept(document("a"))
    before = bench.keys.current()
    bench.time += 3000
    bench.keys.accept(document("a", fetched_at=bench.time))
    bench.time += 3000

    assert before is bench.keys.current()


async def test_k3_stale_keys_live_max_stale():
    """They serve while the provider is down, then they are unavailable."""
    bench = Bench()
    bench.keys.accept(document("a"))
    bench.keys.accept(document("a", is_down=True))
    bench.time += 3600
    assert bench.keys.current().has_kid("a")
    bench.time += 0.1

    with pytest.raises(KeysUnavailable):
        bench.keys.current()


async def test_k3_a_document_is_never_younger_than_now():
    """A time in the future would make keys live longer than they may."""
    bench = Bench()
    bench.keys.accept(document("a", fetched_at=10**9))
    bench.time += 3601

    with pytest.raises(KeysUnavailable):
        bench.keys.current()


@pytest.mark.parametrize("text", ["", "{}", "garbage", '{"keys": 1}'])
async def test_a_document_that_cannot_be_read_changes_nothing(text):
    """The keys of before stay."""
    bench = Bench()
    bench.keys.accept(document("a"))
    bench.keys.accept(document("b") | {"jwks": text})

    assert bench.keys.current().has_kid("a")


async def test_a_published_key_that_is_not_used_is_logged(caplog):
    """An operator can find out why a provider's key opens nothing."""
    caplog.set_level(logging.INFO, "latchgate.keys")
    bench = Bench()
    short = json.dumps({"keys": [jwk("RSA-1024", kid="a")]})
    bench.keys.accept(document("a") | {"jwks": short})

    assert ["a published key is not used: keys[0]: an RSA key needs 2048 to 16384 bits"] == (
        caplog.messages
    )


async def test_k3_an_unknown_kid_asks_the_supervisor_once():
    """Everybody who waits shares the one question, and gets its answer."""
    bench = Bench(answers=document("a", "b"))
    bench.keys.accept(document("a"))
    found = await asyncio.gather(*[bench.keys.refreshed("b") for _ in range(50)])

    assert ["b"] == bench.asked
    assert all(keys.has_kid("b") for keys in found)


async def test_k3_a_flood_of_unknown_kids_asks_once_in_ten_seconds():
    """Field.md §3 #29: however many names, one question; then one more."""
    bench = Bench(answers=document("a"))
    bench.keys.accept(document("a"))
    for number in range(1000):
        assert await bench.keys.refreshed(f"flood-{number}") is None
    assert ["flood-0"] == bench.asked
    bench.time += 9.9
    assert await bench.keys.refreshed("too soon") is None
    bench.time += 0.1
    assert await bench.keys.refreshed("late enough") is None
    assert ["flood-0", "late enough"] == bench.asked


async def test_a_known_kid_asks_nobody():
    """Somebody else's refetch may have brought it in the meantime."""
    bench = Bench()
    bench.keys.accept(document("a"))

    assert (await bench.keys.refreshed("a")).has_kid("a")
    assert [] == bench.asked


async def test_k3_an_outage_is_not_a_bad_token():
    """While the provider cannot be asked an unknown name is *unavailable*, not refused."""
    bench = Bench(answers=document("a", is_down=True))
    bench.keys.accept(document("a"))

    for _ in range(3):
        with pytest.raises(KeysUnavailable):
            await bench.keys.refreshed("b")
    assert ["b"] == bench.asked


async def test_a_supervisor_that_does_not_answer_is_an_outage():
    """Nobody waits for ever; the next question is sent in its time."""
    bench = Bench()
    bench.keys.accept(document("a"))
    with pytest.raises(KeysUnavailable):
        await bench.keys.refreshed("b")
    bench.time += 10
    bench.answers = document("a", "b")

    assert (await bench.keys.refreshed("b")).has_kid("b")
    assert ["b", "b"] == bench.asked


async def test_who_gives_up_does_not_spoil_it_for_the_others():
    """A client that leaves cancels its own waiting only."""
    bench = Bench()
    bench.keys.accept(document("a"))
    first, second = [asyncio.ensure_future(bench.keys.refreshed("b")) for _ in range(2)]  # noqa: TID251 - to be cancelled
    await asyncio.sleep(0)
    first.cancel()
    bench.keys.accept(document("a", "b"))

    assert (await second).has_kid("b")
    assert first.cancelled() or first.done()
