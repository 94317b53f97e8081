"""The file of users on disk: noticed when it changes, replaced in one step."""

from __future__ import annotations

import os
import stat
import threading

import pytest

from proxy.adapters.passwords import hash_password
from proxy.adapters.users_file import WatchedUsers, edit_users
from proxy.errors import ConfigErrors

HASH = hash_password("x").text


def add(name):
    """Return a change that adds somebody."""

    def change(users):
        users[name] = {"password": HASH}
        return True

    return change


@pytest.fixture
def file(tmp_path):
    return tmp_path / "users.yaml"


def test_a_change_is_noticed_once(file):
    """Content is given when it is new, and `None` until it changes."""
    watched = WatchedUsers(file)
    assert watched.changed() is None
    edit_users(file, add("alice"))

    assert ["alice"] == list(watched.changed().users)
    assert watched.changed() is None
    edit_users(file, add("bob"))
    assert ["alice", "bob"] == list(watched.changed().users)


def test_a_bad_file_is_told_once_and_a_good_one_is_read_again(file):
    """Neither a slip of the pen nor a file that went away is repeated each second."""
    watched = WatchedUsers(file)
    edit_users(file, add("alice"))
    watched.changed()
    file.write_text("users: [")
    with pytest.raises(ConfigErrors):
        watched.changed()
    assert watched.changed() is None

    file.unlink()
    with pytest.raises(ConfigErrors, match="gone"):
        watched.changed()
    assert watched.changed() is None
    edit_users(file, add("bob"))
    assert ["bob"] == list(watched.changed().users)


def test_the_file_is_made_for_its_owner_alone(file):
    """0600, whatever the umask; an existing file keeps at most its group's right to read."""
    before = os.umask(0)
    try:
        edit_users(file, add("alice"))
        assert 0o600 == stat.S_IMODE(file.stat().st_mode)
        file.chmod(0o664)
        edit_users(file, add("bob"))
    finally:
        os.umask(before)

    assert 0o640 == stat.S_IMODE(file.stat().st_mode)
    assert [file] == list(file.parent.iterdir())


def test_comments_stay(file):
    """What people wrote into the file is there after a command has changed it."""
    file.write_text(f"# our people\nusers:\n  alice: {{password: '{HASH}'}}  # since May\n")
    file.chmod(0o600)
    edit_users(file, add("bob"))

    assert "# our people" in file.read_text()
    assert "# since May" in file.read_text()
    assert "bob" in file.read_text()


def test_nothing_is_written_that_could_not_be_read(file):
    """A change that makes a mistake of the file leaves it as it was."""
    edit_users(file, add("alice"))
    before = file.read_bytes()

    with pytest.raises(ConfigErrors):
        edit_users(file, lambda users: users.update(bob={"password": "plain"}) or True)
    assert not edit_users(file, lambda _users: False)
    file.write_text("users: [")
    with pytest.raises(ConfigErrors):
        edit_users(file, add("bob"))
    file.write_bytes(before)
    assert [file] == list(file.parent.iterdir())


def test_two_commands_at_once_lose_nothing(file):
    """Each reads what the other has written."""
    threads = [
        threading.Thread(target=edit_users, args=(file, add(f"u{number}"))) for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 8 == len(WatchedUsers(file).changed().users)


def test_a_link_stays_one(file, tmp_path):
    """The file that a link names is replaced, not the link."""
    target = tmp_path / "data"
    target.mkdir()
    file.symlink_to(target / "users.yaml")
    edit_users(file, add("alice"))

    assert file.is_symlink()
    assert ["alice"] == list(WatchedUsers(file).changed().users)
