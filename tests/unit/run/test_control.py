from __future__ import annotations

import asyncio
import os
import resource
import socket
import stat
import tempfile
from pathlib import Path

import pytest

from proxy.run.control import (
    MAX_CONNECTIONS,
    ControlError,
    ControlSocket,
    ask,
    directories,
    served_file,
)


@pytest.fixture
def runtime(monkeypatch):
    """Give a runtime directory of this test's own, with a path that is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="lgc-") as path:
        monkeypatch.setenv("XDG_RUNTIME_DIR", path)
        monkeypatch.setattr(tempfile, "tempdir", path)
        yield Path(path)


def answers(text):
    async def answer(question):
        return {"kind": "name", "is": text} if question["kind"] == "name" else None

    return answer


async def asked(file):
    answer = await ask(file, {"kind": "name"})
    return answer and answer["is"]


async def test_a_gate_answers_its_own_user_on_a_private_socket(runtime):
    """Mode 0600 in a directory of mode 0700."""
    control = ControlSocket(Path("/etc/gate.yaml"), answers("one"))
    path = await control.open()

    assert "one" == await asked(Path("/etc/gate.yaml"))
    assert path.parent.parent == runtime
    assert 0o600 == stat.S_IMODE(path.lstat().st_mode)
    assert 0o700 == stat.S_IMODE(path.parent.lstat().st_mode)
    assert await asked(Path("/etc/other.yaml")) is None
    with pytest.raises(ControlError):
        await ask(Path("/etc/gate.yaml"), {"kind": "weather"})
    await control.close()


async def test_nothing_is_left_behind(runtime):
    """Neither socket nor directory; and nobody answers any more."""
    control = ControlSocket(Path("/etc/gate.yaml"), answers("one"))
    await control.open()
    await control.close()
    await control.close()

    assert [] == list(runtime.iterdir())
    assert await asked(Path("/etc/gate.yaml")) is None


async def test_a_gate_that_hangs_up_is_not_called_one_of_another_version(runtime):
    """More connections than it takes are closed; whoever asks then is told so."""
    control = ControlSocket(Path("/etc/gate.yaml"), answers("one"))
    path = await control.open()
    others = [await asyncio.open_unix_connection(str(path)) for _ in range(MAX_CONNECTIONS)]
    with pytest.raises(ControlError, match="hung up"):
        await asked(Path("/etc/gate.yaml"))
    for _, writer in others:
        writer.close()
        await writer.wait_closed()
    await control.close()


async def test_the_newest_gate_of_a_file_owns_the_socket(runtime):
    """An older one that ends does not take it away."""
    older = ControlSocket(Path("/etc/gate.yaml"), answers("older"))
    newer = ControlSocket(Path("/etc/gate.yaml"), answers("newer"))
    await older.open()
    await newer.open()
    assert "newer" == await asked(Path("/etc/gate.yaml"))
    await older.close()
    assert "newer" == await asked(Path("/etc/gate.yaml"))
    await newer.close()

    assert [] == list(runtime.iterdir())


async def test_gates_of_two_files_share_the_directory(runtime):
    """One that ends leaves the other's socket alone."""
    first = ControlSocket(Path("/etc/a.yaml"), answers("a"))
    second = ControlSocket(Path("/etc/b.yaml"), answers("b"))
    await first.open()
    await second.open()
    await first.close()

    assert "b" == await asked(Path("/etc/b.yaml"))
    await second.close()


async def test_the_socket_of_a_killed_gate_is_nobody_and_is_replaced(runtime):
    """It refuses connections; the next gate takes its place."""
    control = ControlSocket(Path("/etc/gate.yaml"), answers("first"))
    path = await control.open()
    await control.close()
    path.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))

    assert await asked(Path("/etc/gate.yaml")) is None
    other = ControlSocket(Path("/etc/other.yaml"), answers("other"))
    await other.open()
    assert not path.exists()
    await other.close()
    again = ControlSocket(Path("/etc/gate.yaml"), answers("second"))
    await again.open()
    assert "second" == await asked(Path("/etc/gate.yaml"))
    await again.close()


@pytest.mark.parametrize("squat", ["open", "link", "file"])
async def test_a_directory_that_others_could_have_made_is_neither_used_nor_believed(runtime, squat):
    """A link, a file, or a directory that others can write to."""
    place = directories()[0]
    elsewhere = runtime / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    if squat == "open":
        place.mkdir()
        place.chmod(0o777)
    elif squat == "link":
        place.symlink_to(elsewhere)
    else:
        place.write_text("")
    control = ControlSocket(Path("/etc/gate.yaml"), answers("one"))
    path = await control.open()

    assert place != path.parent
    assert "one" == await asked(Path("/etc/gate.yaml"))
    assert [] == list(elsewhere.iterdir())
    await control.close()


async def test_where_no_place_can_be_used_the_gate_is_told_why(runtime, monkeypatch):
    """The caller goes on without."""
    for place in ("a" * 100, "b" * 100):
        (runtime / place).mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime / ("a" * 100)))
    monkeypatch.setattr(tempfile, "tempdir", str(runtime / ("b" * 100)))
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000)
    control = ControlSocket(Path("/etc/gate.yaml"), answers("one"))

    with pytest.raises(ControlError, match="too long"):
        await control.open()
    await control.close()


def test_without_a_temporary_directory_the_other_places_remain(runtime, monkeypatch):
    """Where no file can be written there is none, and nobody is told so by a traceback."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        found = directories()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert [runtime / "latchgate", Path(f"/run/user/{os.geteuid()}/latchgate")] == found


async def test_an_older_gate_that_still_holds_a_connection_ends_all_the_same(runtime):
    """A command that hangs does not keep the gate."""
    control = ControlSocket(Path("/etc/gate.yaml"), answers("one"))
    path = await control.open()
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b'{"kind": "name"}\n')
    assert b'{"kind":"name","is":"one"}\n' == await reader.readline()
    async with asyncio.timeout(10):
        await control.close()
    assert b"" == await reader.read()
    writer.close()
    await writer.wait_closed()


async def test_nonsense_has_no_answer(runtime):
    """And the gate answers the next one."""
    control = ControlSocket(Path("/etc/gate.yaml"), answers("one"))
    path = await control.open()
    for line in (b"nonsense\n", b"[]\n", b"x" * 100_000 + b"\n"):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(line)
        assert b"" == await reader.read()
        writer.close()

    assert "one" == await asked(Path("/etc/gate.yaml"))
    await control.close()


async def test_a_gate_that_hangs_is_said_to(runtime, monkeypatch):
    """It is there, and does not answer: that is not the same as nobody."""
    monkeypatch.setattr("proxy.run.control.ANSWER_TIMEOUT_S", 0.1)
    control = ControlSocket(Path("/etc/gate.yaml"), answers("one"))
    path = await control.open()
    await control.close()
    path.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(path))
        mute.listen(1)
        with pytest.raises(ControlError, match="does not answer"):
            await ask(Path("/etc/gate.yaml"), {"kind": "name"})


def test_a_file_is_known_by_its_own_path(tmp_path, monkeypatch):
    """Relative or not; a link stays what it is, because what it leads to is replaced."""
    file = tmp_path / "a.yaml"
    file.write_text("")
    (tmp_path / "link.yaml").symlink_to(file)
    monkeypatch.chdir(tmp_path)

    assert file == served_file("a.yaml") == served_file(str(file))
    assert tmp_path / "link.yaml" == served_file("link.yaml")
    assert served_file("<stdin>") is None


async def test_a_strangers_answer_is_not_believed(runtime):
    """A socket of the right name in a directory that others can write to is nobody."""
    control = ControlSocket(Path("/etc/gate.yaml"), answers("stranger"))
    path = await control.open()
    assert "stranger" == await asked(Path("/etc/gate.yaml"))
    path.parent.chmod(0o707)
    assert await asked(Path("/etc/gate.yaml")) is None
    path.parent.chmod(0o700)
    await control.close()
