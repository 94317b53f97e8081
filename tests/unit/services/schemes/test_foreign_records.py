from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import hashlib
import hmac
import json

import pytest

from proxy.adapters.store import StoreAddress
from proxy.core.formats.spring import PRINCIPAL_NAME
from proxy.errors import StoreUnavailable
from proxy.services.schemes.foreign_records import ForeignRecords
from tests.unit.services.schemes.conftest import Application

NOW = 1_800_000_000.0
ID = "0123456789abcdef0123456789abcdef"
STAR = {"format": "starsessions", "identity": {"subject": "sub", "roles": "roles"}}
KEY = f"starsessions.{ID}"
TOKEN = "6QH1jdV2PDgU3SUK3DDn7GCpgva90Ju7"
SPRING = {"format": "spring", "serializer": "json", "cookie_encoding": "plain"}
SPRING_ID = b"01234567-89ab-cdef-0123-456789abcdef"
SPRING_KEY = f"spring:session:sessions:{SPRING_ID.decode()}"
PRINCIPAL = f"sessionAttr:{PRINCIPAL_NAME}"


def spring_fields(name):
    """Return what Spring Session keeps of somebody."""
    times = {"lastAccessedTime": str(int(NOW * 1000)), "maxInactiveInterval": "1800"}
    return {**times, PRINCIPAL: json.dumps(name)}


def better_auth_record(created="2027-01-15T07:00:00.000Z", ends="2027-01-22T07:00:00.000Z"):
    session = {"userId": "u1", "token": TOKEN, "createdAt": created, "expiresAt": ends}
    return json.dumps({"session": session, "user": {"id": "u1", "email": "a@example.com"}})


def signed(secret):
    mac = hmac.new(secret, TOKEN.encode(), hashlib.sha256).digest()
    return TOKEN.encode() + b"." + base64.b64encode(mac)


async def test_a_logout_in_the_application_ends_access(application):
    """The key is tracked: once it is gone the next request is refused, and no key is written."""
    app = application(**STAR)
    app.store.set(KEY, json.dumps({"sub": "ada"}), ex=60)
    assert await app.judge(ID.encode(), NOW) == "ada"
    assert await app.judge(ID.encode(), NOW) == "ada"
    assert (1, 1) == (app.counters.misses, app.counters.hits)
    async with app.change():
        app.store.delete(KEY)
    assert await app.judge(ID.encode(), NOW) == "session_unknown"


async def test_a_session_that_is_touched_costs_a_look_up_and_no_decoding(application):
    """Equal bytes restore the verdict; other bytes, the same ones under another guard too, do not."""
    app = application(**STAR)
    for expected in (0, 1, 2):
        record = json.dumps({"sub": "ada", "roles": ["a"]})
        async with app.change() if expected else contextlib.nullcontext():
            app.store.set(KEY, record, ex=60)
        assert await app.judge(ID.encode(), NOW) == "ada"
        assert expected == app.counters.restored
    async with app.change():
        app.store.set(KEY, json.dumps({"sub": "eve"}), ex=60)
    assert await app.judge(ID.encode(), NOW) == "eve"
    assert 2 == app.counters.restored


@pytest.mark.parametrize("write", ["rpush", "hset", "sadd"])
async def test_s12_a_key_of_another_type_is_nobodys_session(application, write):
    """S12: WRONGTYPE is no oracle: it is answered as an unknown session, and kept."""
    app = application(**STAR)
    args = ("a", "b") if write == "hset" else ("a",)
    getattr(app.store, write)(KEY, *args)
    for _ in range(2):
        assert await app.judge(ID.encode(), NOW) == "session_unknown"
    assert (1, 1) == (app.counters.misses, app.counters.refusal_hits)


async def test_s12_a_hash_is_read_by_its_fields(application):
    """S12: of a Spring session only what is asked for is fetched, and a string is none."""
    app = application(format="spring", serializer="json", attributes=["x"])
    uuid = "01234567-89ab-cdef-0123-456789abcdef"
    key, name = (
        f"spring:session:sessions:{uuid}",
        "MDEyMzQ1NjctODlhYi1jZGVmLTAxMjMtNDU2Nzg5YWJjZGVm",
    )
    principal = (
        "org.springframework.session.FindByIndexNameSessionRepository.PRINCIPAL_NAME_INDEX_NAME"
    )
    fields = {
        "lastAccessedTime": str(int(NOW * 1000)),
        "maxInactiveInterval": "1800",
        f"sessionAttr:{principal}": '"ada"',
        "sessionAttr:huge": "x" * 5_000_000,
    }
    app.store.hset(key, mapping=fields)
    assert await app.judge(name.encode(), NOW) == "ada"
    assert await app.judge(name.encode(), NOW + 1799) == "ada"
    assert await app.judge(name.encode(), NOW + 1800) == "session_expired"
    found = app.found(name.encode())
    assert not app.scheme.stand(found)(NOW + 1800, app.coherence.clock(), None)
    assert app.scheme.stand(found)(NOW, app.coherence.clock(), None)
    async with app.change():
        app.store.hset(key, "lastAccessedTime", str(int(NOW + 1800) * 1000))
    assert await app.judge(name.encode(), NOW + 1800) == "ada"
    async with app.change():
        app.store.hset(key, "maxInactiveInterval", "0")  # a logout leaves the hash behind
    assert await app.judge(name.encode(), NOW + 1800) == "session_expired"
    async with app.change():
        app.store.delete(key)
        app.store.set(key, "x")
    assert await app.judge(name.encode(), NOW) == "session_unknown"


async def test_s12_a_huge_value_is_not_fetched(application):
    """S12: beyond the bound a session is nobody's, and no more of it than that crosses the wire."""
    app = application(**STAR)
    app.store.set(KEY, b'{"sub": "ada", "pad": "' + b"x" * 20_000_000 + b'"}')
    before = app.store.info("stats")["total_net_output_bytes"]
    assert await app.judge(ID.encode(), NOW) == "session_unknown"
    assert app.store.info("stats")["total_net_output_bytes"] - before < 2_000_000


async def test_s12_a_huge_field_is_not_fetched(application):
    """S12: neither of a hash, of which one field that is asked for is more than a session may have."""
    app = application(**SPRING)
    app.store.hset(SPRING_KEY, mapping={**spring_fields("ada"), PRINCIPAL: "x" * 20_000_000})
    before = app.store.info("stats")["total_net_output_bytes"]
    assert await app.judge(SPRING_ID, NOW) == "session_unknown"
    assert app.store.info("stats")["total_net_output_bytes"] - before < 2_000_000
    app.store.hset(SPRING_KEY, mapping=spring_fields("ada"))
    assert await app.judge(SPRING_ID, NOW) == "ada"


async def test_a_hash_is_read_where_its_size_may_not_be_asked_for(application):
    """A user that an older version was content with goes on working."""
    app = application(**SPRING)
    app.store.hset(SPRING_KEY, mapping=spring_fields("ada"))
    app.store.execute_command("ACL", "SETUSER", "default", "-hstrlen")
    try:
        assert await app.judge(SPRING_ID, NOW) == "ada"
    finally:
        app.store.execute_command("ACL", "SETUSER", "default", "+hstrlen")


async def test_a_guard_ends_a_session_whose_key_is_still_there(application):
    """better-auth: the mark is a second key, tracked as the first one; both are asked in one look-up."""
    app = application(format="better-auth", secrets=["newer", "old"])
    app.store.set(TOKEN, better_auth_record(), ex=60)
    cookie = signed(b"old")
    assert await app.judge(cookie, NOW) == "u1"
    assert await app.judge(cookie, NOW) == "u1"
    assert 1 == app.counters.misses
    async with app.change():
        app.store.set("revoked-sessions-before-u1", str(int((NOW - 3600) * 1000) - 3_600_000))
    assert await app.judge(cookie, NOW) == "u1"  # it is younger than the mark
    async with app.change():
        app.store.set("revoked-sessions-before-u1", str(int(NOW * 1000)))
    assert await app.judge(cookie, NOW) == "session_unknown"
    async with app.change():
        app.store.delete("revoked-sessions-before-u1")
    assert await app.judge(cookie, NOW) == "u1"
    async with app.change():
        app.store.rpush("revoked-sessions-before-u1", "x")  # no time: it ends the session
    assert await app.judge(cookie, NOW) == "session_unknown"
    assert await app.judge(signed(b"forged"), NOW) == "session_unknown"


async def test_r8_a_guarded_session_is_served_in_an_outage_like_any_other(mortal_valkey, tmp_path):
    """R8: a look-up that begins before the store is known to be lost has no answer, and what is known serves."""
    address = StoreAddress(socket_path=str(mortal_valkey.socket_path))
    own = {"max_staleness": "500ms", "on_outage": {"serve_cached": "30s"}}
    with mortal_valkey.client() as store:
        app = Application(
            address, store, tmp_path, own=own, format="better-auth", secrets=["newer", "old"]
        )
        store.set(TOKEN, better_auth_record(), ex=60)
        found = dataclasses.replace(app.found(signed(b"old")), may_be_stale=True)
        assert (await app.scheme.judge(found, NOW)).identity.subject == "u1"
        mortal_valkey.kill()
        records, key = app.scheme.records, app.scheme.key(found)
        assert (await records.look_up(found, key, NOW)).subject == "u1"
        with pytest.raises(StoreUnavailable):
            await records.look_up(app.found(signed(b"old")), key, NOW)
        await app.coherence.close()


async def test_concurrent_requests_share_the_look_up_of_a_guarded_session(application):
    """What the first of two questions finds is nobody's verdict: all wait for the second one."""
    app = application(format="better-auth", secrets=["old"])
    app.store.set(TOKEN, better_auth_record(), ex=60)
    app.store.set("revoked-sessions-before-u1", str(int(NOW * 1000)))
    told = await asyncio.gather(*(app.judge(signed(b"old"), NOW) for _ in range(20)))
    assert {"session_unknown"} == set(told)


async def test_what_may_not_be_asked_is_an_outage(application, valkey):
    """A refusal by the server is no word about the session: 503, never 401 and never a verdict."""
    app = application(**STAR)
    app.store.set(KEY, json.dumps({"sub": "ada"}))
    app.store.execute_command("ACL", "SETUSER", "default", "-getrange")
    try:
        with pytest.raises(StoreUnavailable, match="refused: NOPERM"):
            await app.judge(ID.encode(), NOW)
    finally:
        app.store.execute_command("ACL", "SETUSER", "default", "+getrange")
    assert await app.judge(ID.encode(), NOW) == "ada"


async def test_without_the_life_of_its_key_nothing_is_kept(application):
    """PTTL not permitted: every request is looked up, and answered."""
    app = application(**STAR)
    app.store.set(KEY, json.dumps({"sub": "ada"}))
    app.store.execute_command("ACL", "SETUSER", "default", "-pttl")
    try:
        for _ in range(2):
            assert await app.judge(ID.encode(), NOW) == "ada"
    finally:
        app.store.execute_command("ACL", "SETUSER", "default", "+pttl")
    assert (2, 0) == (app.counters.misses, app.counters.hits)


async def test_s12_nothing_is_asked_for_a_cookie_that_is_no_id(application):
    """S12: letters and length are looked at before the store is."""
    app = application(**STAR)
    for value in (b"", b"x", ID.upper().encode(), b"../" + ID.encode(), ID.encode() + b"\n"):
        assert await app.judge(value, NOW) == "session_unknown"
    assert 0 == app.counters.misses
    assert isinstance(app.scheme.records, ForeignRecords)
    assert app.scheme.records.use(app.found(b"x"), app.scheme.key(app.found(b"x")), NOW)


async def test_the_life_of_a_key_is_the_sessions(application):
    """A verdict is over when the key's time is, whether the server has said so yet or not."""
    app = application(**STAR)
    app.store.set(KEY, json.dumps({"sub": "ada"}), px=60_000)
    assert await app.judge(ID.encode(), NOW) == "ada"
    clock, app.coherence.clock = app.coherence.clock, lambda: clock() + 61
    holds = app.scheme.stand(app.found(ID.encode()))
    assert not holds(NOW, clock() + 61, None)
