from __future__ import annotations

import asyncio
import logging

import pytest

from proxy.adapters.store import StoreAddress, open_store
from proxy.services import audit as audit_module
from proxy.services.audit import ALL_FAILURES, EVENTS, FAILURES, Audit, AuditTrail, Event

NOW = 1_800_000_000.25
HOSTILE = "eve\r\n\x1b[2J\u202e forged"


@pytest.fixture
async def store(valkey):
    """Open the tests' store."""
    store = open_store(StoreAddress(socket_path=str(valkey.socket_path)), timeout_s=5)
    yield store
    await store.close()


@pytest.fixture
def lines(caplog):
    """Collect what is logged."""
    caplog.set_level(logging.INFO, logger="latchgate")
    return caplog


async def eventually(condition) -> None:
    """Let the loop turn until `condition` holds."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - it is a line of the log
            await asyncio.sleep(0)


def trail(store) -> AuditTrail:
    """Read the stream."""
    return AuditTrail(store, prefix="latchgate:")


async def test_an_event_is_one_line_and_one_entry(store, lines):
    """What is noted stands in the log at once and in the stream soon after."""
    audit = Audit(store, prefix="latchgate:")
    event = Event("login", "alice", "10.0.0.1", "curl/8", "r-1", "by password")
    audit.note(event, NOW)
    assert {"kind": "login", "subject": "alice", "address": "10.0.0.1"}.items() <= lines.records[
        0
    ].fields.items()
    await audit.close()
    (entry,) = await trail(store).last(10)

    assert (event, NOW) == (entry.event, entry.at)


async def test_s15_a_name_cannot_forge_a_line_or_an_entry(store, lines):
    """S15: control and bidi characters are escaped before the log and the stream have them."""
    audit = Audit(store, prefix="latchgate:")
    audit.note(Event("login_failed", HOSTILE, agent=HOSTILE, detail="kind"), NOW)
    await audit.close()
    (entry,) = await trail(store).last(10)

    for text in (entry.event.subject, entry.event.agent, lines.records[0].fields["subject"]):
        assert r"eve\x0d\x0a\x1b[2J\u202e forged" == text


async def test_s15_a_token_in_the_place_of_a_name_is_not_kept(store, valkey, lines):
    """S15: what is recognisably a credential is hidden, in the log and in the stream."""
    token = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.c2lnbmF0dXJl"
    audit = Audit(store, prefix="latchgate:")
    audit.note(Event("login_failed", token, agent=f"Bearer {token}"), NOW)
    await audit.close()
    with valkey.client() as client:
        stored = repr(client.xrange("latchgate:audit"))

    assert token not in stored
    assert token not in repr(lines.records[0].fields)


async def test_events_stay_in_order_over_many_batches(store):
    """A burst is written in the order in which it happened, and can be followed from any entry."""
    audit = Audit(store, prefix="latchgate:")
    for number in range(250):
        audit.note(Event("login", str(number)), NOW + number)
    await audit.close(10)
    entries = await trail(store).last(1000)
    later = await trail(store).after(entries[99].id, 100)

    assert [str(number) for number in range(250)] == [e.event.subject for e in entries]
    assert [str(number) for number in range(100, 200)] == [e.event.subject for e in later]


async def test_the_stream_does_not_grow_without_end(store, valkey):
    """The oldest entries make room for new ones."""
    audit = Audit(store, prefix="latchgate:", max_kept=100)
    for number in range(2000):
        audit.note(Event("login", str(number), address=f"10.{number % 200}.0.1"), NOW)
    await audit.close(10)
    with valkey.client() as client:
        assert client.xlen("latchgate:audit") < 400


async def test_what_has_no_room_is_dropped_and_said(store, lines):
    """More events than may wait are counted; the log and the stream say how many are missing."""
    audit = Audit(store, prefix="latchgate:", max_waiting=3)
    for number in range(10):
        audit.note(Event("login", str(number)), NOW)
    await audit.close(10)
    entries = await trail(store).last(10)

    assert ["login", "login", "login", "dropped"] == [e.event.kind for e in entries]
    assert "7" == entries[-1].event.detail
    assert "7 audit events are not in the store's stream" in lines.text


async def test_nobody_pushes_out_of_the_stream_what_they_did(store, lines):
    """Failures of one network, or of many, fill a share of each minute; the rest is told as a number."""
    audit = Audit(store, prefix="latchgate:")
    audit.note(Event("login", "mallory", address="192.0.2.1"), NOW)
    for number in range(1000):
        audit.note(Event("login_failed", None, address=f"192.0.2.{number % 250}"), NOW)
    audit.note(Event("login_failed", "ann", address="198.51.100.7"), NOW)
    for number in range(1000):
        audit.note(Event("login_failed", None, address=f"10.{number % 250}.0.1"), NOW)
    audit.note(Event("otp_removed", "ann", address="192.0.2.1"), NOW)
    await audit.close(10)
    kinds = [(e.event.kind, e.event.subject) for e in await trail(store).last(3000)]

    assert [("login", "mallory"), ("login_failed", "ann"), ("otp_removed", "ann")] == [
        kind for kind in kinds if kind[1] is not None
    ]
    assert ALL_FAILURES == sum(kind == "login_failed" for kind, _ in kinds)
    assert FAILURES == kinds.index(("login_failed", "ann")) - 1
    assert f"{2001 - ALL_FAILURES}" == (await trail(store).last(1))[0].event.detail
    assert 2003 == sum("fields" in record.__dict__ for record in lines.records)


async def test_a_network_that_is_busy_loses_nothing_else(store):
    """A service that is given hundreds of tokens a minute leaves room for every other kind of event."""
    audit = Audit(store, prefix="latchgate:")
    for number in range(EVENTS + 5):
        audit.note(Event("token_issued", str(number), address="192.0.2.1"), NOW)
    audit.note(Event("refresh_reused", "ann", address="192.0.2.1"), NOW)
    audit.note(Event("token_issued", "later", address="192.0.2.1"), NOW + 60)
    await audit.close(10)
    kinds = [e.event.kind for e in await trail(store).last(2000)]

    assert (EVENTS + 1, 1) == (kinds.count("token_issued"), kinds.count("refresh_reused"))


async def test_an_outage_holds_nobody_up_and_loses_nothing_that_fits(mortal_valkey, lines):
    """Noting goes on while the store is away; what waited is written when it is back."""
    address = StoreAddress(socket_path=str(mortal_valkey.socket_path))
    store = open_store(address, timeout_s=0.5)
    mortal_valkey.kill()
    audit = Audit(store, prefix="latchgate:", retry_s=0.01)
    began = asyncio.get_running_loop().time()
    audit.note(Event("login", "alice"), NOW)
    assert asyncio.get_running_loop().time() - began < 0.1
    await eventually(lambda: "waits for the store" in lines.text)
    mortal_valkey.start()
    await audit.close(10)
    (entry,) = await trail(store).last(10)
    await store.close()

    assert "alice" == entry.event.subject


async def test_a_store_that_stays_away_does_not_hold_up_the_end(mortal_valkey, lines):
    """`close` gives up after its time, and says what is lost."""
    address = StoreAddress(socket_path=str(mortal_valkey.socket_path))
    store = open_store(address, timeout_s=0.5)
    mortal_valkey.kill()
    audit = Audit(store, prefix="latchgate:")
    audit.note(Event("login", "alice"), NOW)
    await audit.close(0.05)
    await store.close()

    assert "1 audit events are not in the store's stream" in lines.text


async def test_noting_never_raises(store, lines):
    """A mistake of a caller is a line of the log, not a refused login."""
    audit = Audit(store, prefix="latchgate:")
    audit.note(Event("login", subject=b"bytes"), NOW)
    audit.note(Event("login", "lone \ud800 surrogate"), NOW)
    audit.note(Event("login", "x" * 100_000), NOW)
    await audit.close()
    subjects = [entry.event.subject for entry in await trail(store).last(10)]

    assert "could not be noted: " in lines.text
    assert r"lone \ud800 surrogate" == subjects[0]
    assert audit_module.MAX_WORD == len(subjects[1])


async def test_without_a_store_the_log_has_the_events(lines):
    """A gate of foreign tokens alone keeps no stream."""
    audit = Audit(None, prefix="latchgate:")
    audit.note(Event("token_revoked", "alice"), NOW)
    await audit.close()

    assert "alice" == lines.records[0].fields["subject"]


async def test_entries_that_somebody_else_wrote_are_read_as_they_are(store, valkey):
    """An entry that is none of ours has no time and no kind, and breaks nothing."""
    with valkey.client() as client:
        client.xadd("latchgate:audit", {"at": "soon", b"\xff": b"\xfe"})
    (entry,) = await trail(store).last(10)

    assert ("", 0.0) == (entry.event.kind, entry.at)
