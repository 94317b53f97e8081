"""The embedded store's directory: whose it is, who owns the store."""

from __future__ import annotations

import os
import time

import pytest

from proxy.adapters.store import StoreAddress, StoreMisconfigured
from proxy.adapters.store.private_directory import PrivateDirectory, restore_runtime_directory
from proxy.errors import StoreUnavailable


@pytest.fixture
def place(tmp_path) -> PrivateDirectory:
    """Make a directory as a gate would."""
    place = PrivateDirectory(tmp_path / "var" / "store")
    place.prepare()
    return place


def test_s11_it_is_made_with_mode_0700(place):
    """S11: the directory is ours alone from its first moment, whatever the umask; its parents are made."""
    assert 0o700 == place.path.stat().st_mode & 0o777
    place.prepare()
    assert place.problem() is None


def test_s11_a_directory_of_somebody_else_is_refused(place, monkeypatch):
    """S11: who owns a directory can put anything into it, so it has to be us."""
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(StoreMisconfigured, match="belongs to user"):
        place.prepare()
    assert "belongs to user" in place.problem()


@pytest.mark.parametrize("bits", [0o710, 0o705, 0o770])
def test_s11_a_directory_open_to_others_is_refused(place, bits):
    """S11: any right of others is refused, with the remedy; nothing is changed behind their back."""
    place.path.chmod(bits)
    with pytest.raises(StoreMisconfigured, match="chmod 700"):
        place.prepare()
    assert "chmod 700" in place.problem()
    assert bits == place.path.stat().st_mode & 0o777


def test_a_file_in_its_place_is_refused(tmp_path):
    """A file where the directory should be is told as such."""
    (tmp_path / "store").write_text("")
    place = PrivateDirectory(tmp_path / "store")
    with pytest.raises(StoreMisconfigured, match="not a directory"):
        place.prepare()
    assert "not a directory" in place.problem()


def test_a_file_on_the_way_is_refused(tmp_path):
    """What the system says about a path that cannot be is passed on."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreMisconfigured, match=r"cannot be used: File exists"):
        PrivateDirectory(tmp_path / "file" / "store").prepare()


def test_a_read_only_file_system_is_refused():
    """Where nothing can be written the mistake is told before a server is started."""
    with pytest.raises(StoreMisconfigured, match="cannot be used"):
        PrivateDirectory("/proc/self/store").prepare()


def test_a_link_to_a_private_directory_is_fine(place, tmp_path):
    """An operator may keep the data elsewhere; what counts is where the link leads."""
    (tmp_path / "link").symlink_to(place.path)
    linked = PrivateDirectory(tmp_path / "link")
    linked.prepare()
    assert place.path == linked.path


def test_one_owner_at_a_time(place):
    """The lock is free again when it was released, or its process has ended."""
    lock = place.try_lock("owner")
    assert lock is not None
    assert place.try_lock("owner") is None
    lock.release()
    lock.release()
    again = place.try_lock("owner")
    assert again is not None
    again.release()


def test_users_share_and_exclude_whoever_ends(place):
    """Commands use a store together; the one that wants to end it waits for them."""
    first = place.try_lock("users", is_shared=True)
    second = place.try_lock("users", is_shared=True)
    assert place.try_lock("users") is None
    first.release()
    second.release()
    last = place.try_lock("users")
    assert last is not None
    assert place.try_lock("users", is_shared=True) is None
    last.release()


async def test_waiting_for_a_lock_has_an_end(place):
    """Somebody who never lets go costs the time that was said."""
    lock = place.try_lock("owner")
    started = time.monotonic()
    assert await place.wait_lock("owner", timeout_s=0.05) is None
    assert time.monotonic() - started < 5
    lock.release()


def test_a_lock_that_is_a_link_is_refused(place, tmp_path):
    """A planted link is not followed to a file elsewhere."""
    (place.path / "owner.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreMisconfigured, match="cannot be locked"):
        place.try_lock("owner")
    assert not (tmp_path / "elsewhere").exists()


def test_the_owner_is_named(place):
    """Whoever is refused learns which process has the store; rubbish names nobody."""
    lock = place.try_lock("owner")
    place.write_owner(lock, "command")
    assert f"process {os.getpid()} (command)" == place.owner()
    os.pwrite(lock.descriptor, b"[1]     ", 0)
    assert "another process" == place.owner()
    lock.release()


def test_s11_the_endpoint_is_readable_by_us_alone(place):
    """S11: the file with the password has mode 0600, and no other file holds it."""
    address = StoreAddress(socket_path="/s", username="u", password="hush")
    assert place.read_endpoint() is None
    place.write_endpoint(address)
    assert [0o600] == [path.stat().st_mode & 0o777 for path in place.path.iterdir()]
    assert address == place.read_endpoint()
    place.remove_endpoint()
    place.remove_endpoint()
    assert [] == list(place.path.iterdir())


def test_an_endpoint_of_somewhere_else_deletes_nothing_there(place, tmp_path):
    """Only what looks like a runtime directory of ours is tidied up, and only when it is empty."""
    for name in ("other", "latchgate-full"):
        directory = tmp_path / name
        directory.mkdir()
        (directory / "s").write_text("")
        (directory / "precious").write_text("")
        place.write_endpoint(
            StoreAddress(socket_path=str(directory / "s"), username="u", password="p")
        )
        place.remove_endpoint()
        assert (directory / "precious").exists()
    assert (tmp_path / "other" / "s").exists()


def test_a_runtime_directory_comes_back(tmp_path):
    """A cleaner that emptied the temporary directory does not keep the store down."""
    runtime = tmp_path / "latchgate-x"
    restore_runtime_directory(str(runtime))
    assert 0o700 == runtime.stat().st_mode & 0o777
    restore_runtime_directory(str(runtime))


def test_a_runtime_directory_that_somebody_else_made_is_refused(tmp_path):
    """A server of theirs behind our socket's path would be told our password."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    link = tmp_path / "latchgate-link"
    link.symlink_to(elsewhere)
    open_to_all = tmp_path / "latchgate-open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    for path in (link, open_to_all):
        with pytest.raises(StoreUnavailable, match="not a private directory"):
            restore_runtime_directory(str(path))
    with pytest.raises(StoreUnavailable, match="cannot be used"):
        restore_runtime_directory(str(tmp_path / "gone" / "latchgate-x"))
