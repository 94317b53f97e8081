"""Who may sign in: names, passwords, and what a change of the file means for those who did."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from proxy.adapters.hashing import COST, hasher
from proxy.adapters.passwords import Passwords, hash_password
from proxy.adapters.tasks import spawn
from proxy.adapters.users_file import WatchedUsers, edit_users
from proxy.config.user_models import parse_users
from proxy.errors import StoreUnavailable
from proxy.services.users import GONE, Users, changes

HASH = hash_password("correct").text


def put(file, name="alice", **members):
    """Write somebody into the file."""

    def change(users):
        users[name] = {"password": HASH, **users.get(name, {}), **members}
        return True

    edit_users(file, change)


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "users.yaml"
    put(file, roles=["customer"])
    return file


@pytest.fixture
async def users(file):
    pool = Passwords()
    users = Users(WatchedUsers(file), pool)
    users.load()
    yield users
    await pool.close()


async def verify(users, name, password):
    """Say a name and a password, in a place of the queue."""
    with users.place(None) as place:
        return await users.verify(name, password, place)


class Told:
    """Notes what was told of changes."""

    def __init__(self):
        self.changes = []
        self.is_out = False

    async def __call__(self, changes):
        if self.is_out:
            raise StoreUnavailable("away")
        self.changes.append(set(changes))


async def test_a_name_and_its_password_are_somebody(users):
    """The right one opens, and says what the file says; a wrong one does not."""
    user = await verify(users, " alice ", "correct")

    assert ("alice", ("customer",)) == (user.subject, user.roles)
    assert None is await verify(users, "alice", "wrong")
    assert None is await verify(users, "Alice", "correct")
    assert None is await verify(users, "nobody", "correct")


async def test_s8_a_name_that_is_not_there_takes_as_long(users):
    """Enumeration by time: known, unknown and disabled names cost one hash each.

    Counted as time of the processor: a busy machine takes its time from any of them.
    """
    put(users._file.path, "bob", disabled=True)
    await users.refresh()

    def spent():
        process = users._passwords._process._process
        return time.process_time() + time.clock_gettime(~process.pid << 3 | 2)  # its own such clock

    async def took(name):
        begun = spent()
        assert None is await verify(users, name, "wrong")
        return spent() - begun

    await verify(users, "alice", "wrong")  # the first one starts the process
    times = {name: [] for name in ("alice", "bob", "nobody")}
    for _ in range(7):
        for name, taken in times.items():
            taken.append(await took(name))
    least = [min(taken) for taken in times.values()]  # a busy machine only adds to it
    assert max(least) < 2 * min(least)


async def test_s8_where_costs_differ_names_that_are_not_there_differ_too(users):
    """S8: a quick answer is not the mark of an older hash, nor a slow one of nobody."""
    put(users._file.path, "bob", password=hasher((8, 1, 1)).hash("correct"))
    await users.refresh()
    taken = []
    await verify(users, "alice", "wrong")  # the first one starts the process
    for number in range(24):
        begun = time.perf_counter()
        assert None is await verify(users, f"nobody {number}", "wrong")
        taken.append(time.perf_counter() - begun)

    assert sorted(taken)[3] < sorted(taken)[-4] / 4


async def test_r6_nobody_goes_on_with_a_file_that_is_just_being_read(users, file, monkeypatch):
    """R6: who signs in while another request reads the change waits for what it says."""
    real = users._file.changed
    has_begun, may_end = threading.Event(), threading.Event()

    def slow():
        found = real()
        has_begun.set()
        may_end.wait(30)
        return found

    monkeypatch.setattr(users._file, "changed", slow)
    put(file, disabled=True)
    reading = spawn(users.refresh(), name="the first")
    await asyncio.to_thread(has_begun.wait, 30)
    signing_in = spawn(verify(users, "alice", "correct"), name="the second")
    await asyncio.wait([signing_in], timeout=1.0)  # enough for the password; not for the file
    may_end.set()

    assert None is await signing_in
    await reading


async def test_r6_a_change_counts_with_the_next_password(users, file):
    """R6: disabled, another password: what was right a moment ago is wrong before anybody looks."""
    put(file, password=hash_password("new").text)
    assert None is await verify(users, "alice", "correct")
    assert await verify(users, "alice", "new")
    put(file, disabled=True)
    assert None is await verify(users, "alice", "new")
    assert users.find("alice").is_disabled


async def test_r6_a_change_while_the_password_is_checked_counts(users, file):
    """R6: who is disabled between the question and the answer does not come in."""
    asked = spawn(verify(users, "alice", "correct"), name="password")
    await asyncio.sleep(0)
    put(file, disabled=True)

    assert None is await asked


@pytest.mark.parametrize(
    ("members", "is_change"),
    [
        ({"roles": ["customer", "admin"]}, True),
        ({"scopes": ["x"]}, True),
        ({"disabled": True}, True),
        ({"password": hash_password("correct").text}, True),
        ({"email": "a@example.com"}, False),
        ({"name": "Alice"}, False),
    ],
)
async def test_r6_what_sessions_rest_on_is_told_when_it_changes(users, file, members, is_change):
    """R6: rights and password reach those who are signed in; a name to show does not."""
    told = Told()
    put(file, **members)
    await users.look_and_tell(told)
    await users.look_and_tell(told)

    assert ([{"alice"}] if is_change else []) == told.changes


async def test_r6_what_could_not_be_told_is_told_later(users, file):
    """R6: an outage of the store delays the end of sessions, and does not lose it."""
    told = Told()
    told.is_out = True
    edit_users(file, lambda entries: entries.pop("alice") is not None)
    await users.look_and_tell(told)
    told.is_out = False
    await users.look_and_tell(told)

    assert [{"alice"}] == told.changes


async def test_a_bad_file_changes_nothing(users, file):
    """A slip of the pen neither lets anybody in nor ends anybody's session."""
    told = Told()
    file.write_text("users: {alice: {}}")
    await users.look_and_tell(told)

    assert [] == told.changes
    assert await verify(users, "alice", "correct")


async def test_a_password_is_hashed_anew_at_todays_cost(users, file):
    """After a sign-in; nobody's session ends by it."""
    told = Told()
    put(file, password=hasher((8 * 1024, 1, 1)).hash("correct"))
    await users.look_and_tell(told)
    assert [{"alice"}] == told.changes  # another salt: somebody has set it
    assert await verify(users, "alice", "correct")
    hashing = [task for task in asyncio.all_tasks() if task.get_name() == "password hashed anew"]
    await asyncio.wait(hashing)
    await users.look_and_tell(told)

    assert COST == parse_users(file.read_bytes(), "f").users["alice"].password.cost
    assert [{"alice"}] == told.changes
    assert await verify(users, "alice", "correct")


async def test_a_stronger_hash_stays(users, file):
    """Whoever chose to make a guess cost more than the gate does keeps it, sign-in or not."""
    put(file, password=hasher((COST[0] * 2, 2, 1)).hash("correct"))
    before = file.read_bytes()
    assert await verify(users, "alice", "correct")

    assert [] == [it for it in asyncio.all_tasks() if it.get_name() == "password hashed anew"]
    assert before == file.read_bytes()


def test_what_somebody_has_become():
    """Who is gone has become nobody; who is new has no sessions to end."""
    before = parse_users(f"users: {{a: {{password: '{HASH}'}}}}".encode(), "f").users
    after = parse_users(f"users: {{b: {{password: '{HASH}'}}}}".encode(), "f").users

    assert {"a": GONE} == changes(before, after)
    assert {} == changes(before, before)
