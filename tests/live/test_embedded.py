"""The embedded store: private, alone, never older than its gate, never forgetful (S11)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis
import uvloop

from proxy.adapters.store import StoreAddress, StoreMisconfigured, open_store
from proxy.adapters.store.embedded import EmbeddedStore, borrow
from proxy.errors import StoreUnavailable

ROOT = Path(__file__).parents[2]
UNSHARE = ("unshare", "--user", "--map-root-user", "--mount")
linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")

# A gate of which nothing is left but its store: says who it runs, then waits.
PARENT = """
import asyncio, json, sys
from pathlib import Path
from proxy.adapters.store.embedded import EmbeddedStore

async def main():
    store = EmbeddedStore(Path(sys.argv[1]))
    address = await store.start()
    print(json.dumps(address.to_json()), flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""

# What happens when the disk is full, on a file system of 6 MiB that only this process sees.
FULL_DISK = """
import asyncio, json, subprocess, sys
from pathlib import Path
from proxy.adapters.store import open_store
from proxy.adapters.store.embedded import EmbeddedStore
from proxy.errors import StoreUnavailable

async def main():
    directory = Path(sys.argv[1])
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "none", str(directory)], check=True)
    server = EmbeddedStore(directory / "store")
    store = open_store(await server.start(), timeout_s=2)
    await store.put("kept", b"1")
    filler = directory / "filler"
    refused = ""
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(65536))
        except OSError:
            pass
    for _ in range(200):
        try:
            await store.put("more", bytes(65536))
        except StoreUnavailable as error:
            refused = str(error)
            break
    read = await store.fetch(["kept"])
    second = EmbeddedStore(directory / "second", ready_timeout_s=5)
    try:
        await second.start()
        start = "started"
    except Exception as error:
        start = f"{type(error).__name__}: {error}"
    filler.unlink()
    healed = False
    for _ in range(100):
        try:
            healed = await store.put("again", b"1")
            break
        except StoreUnavailable:
            await asyncio.sleep(0.1)
    print(json.dumps([refused, read[0].decode(), start, healed]))
    await store.close()
    await server.stop()

asyncio.run(main())
"""


@contextlib.asynccontextmanager
async def running(directory: Path, **options) -> AsyncIterator[EmbeddedStore]:
    """Run an embedded store for a while; restarts come fast."""
    server = EmbeddedStore(directory, backoff_s=(0.01, 0.1), **options)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@contextlib.asynccontextmanager
async def opened(address: StoreAddress, timeout_s: float = 0.5):
    """Open a store for a while."""
    store = open_store(address, timeout_s=timeout_s)
    try:
        yield store
    finally:
        await store.close()


def start_parent(directory: Path) -> tuple[subprocess.Popen[str], StoreAddress]:
    """Start a gate in a process of its own and wait until its store answers."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(directory)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert parent.stdout is not None
    return parent, StoreAddress.from_text(parent.stdout.readline())


def end_parent(parent: subprocess.Popen[str]) -> None:
    """Kill the gate as the kernel would."""
    parent.kill()
    parent.wait()
    assert parent.stdout is not None
    parent.stdout.close()


def server_pid(address: StoreAddress) -> int:
    """Ask the server for its process id."""
    with redis.Redis(
        unix_socket_path=address.socket_path, username=address.username, password=address.password
    ) as client:
        return int(client.info("server")["process_id"])


def parent_pid(pid: int) -> int:
    """Return the process id of the process that started `pid`."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def told_to(pid: int) -> str:
    """Return a process's command line and environment."""
    return "".join(
        Path(f"/proc/{pid}/{name}").read_text(errors="replace") for name in ("cmdline", "environ")
    )


def is_listening_on_tcp(pid: int) -> bool:
    """Tell whether a process has any TCP socket."""
    links = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]
    inodes = {link[8:-1] for link in links if link.startswith("socket:[")}
    assert inodes, "it listens on a unix socket at least"
    tables = "".join(Path(f"/proc/net/{name}").read_text() for name in ("tcp", "tcp6"))
    return any(inodes & {line.split()[9]} for line in tables.splitlines() if "ino" not in line)


def is_there(path: str) -> bool:
    """Tell whether a file exists."""
    return Path(path).exists()


def can_mount() -> bool:
    """Tell whether this user may make a file system of its own."""
    return not subprocess.run([*UNSHARE, "true"], check=False, capture_output=True).returncode


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; a zombie that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # gone before the open, or before the read
        return False


async def until(condition, timeout_s=10.0):
    """Wait until a condition holds, asking again and again."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.01)


async def answering(address: StoreAddress, timeout_s=10.0) -> None:
    """Wait until the store answers."""
    end = time.monotonic() + timeout_s
    async with opened(address) as store:
        while True:
            try:
                await store.fetch(["x"])
                return
            except StoreUnavailable:
                assert time.monotonic() < end, "it did not come back in time"
                await asyncio.sleep(0.01)


def mode(path: Path) -> int:
    """Return a file's permission bits."""
    return stat.S_IMODE(path.lstat().st_mode)


@linux_only
async def test_s11_nobody_else_can_reach_it(tmp_path):
    """Directory 0700, socket and endpoint 0600, no TCP port, no word of the password around."""
    async with running(tmp_path / "store") as server:
        address = server.endpoint()
        pid = server_pid(address)
        assert 0o700 == mode(tmp_path / "store")
        files = {path.name: mode(path) for path in (tmp_path / "store").iterdir()}
        assert 0o700 == files.pop("appendonlydir")
        assert {0o600} == set(files.values())
        for process in (pid, parent_pid(pid)):
            assert address.password not in told_to(process)
        assert not is_listening_on_tcp(pid)


@pytest.mark.parametrize(
    ("username", "password"),
    [(None, None), (None, "guess"), ("default", ""), ("default", "guess"), ("latchgate", "guess")],
)
async def test_s11_it_wants_its_password(tmp_path, username, password):
    """Whoever reaches the socket is not let in without the password, as no user."""
    async with running(tmp_path / "store") as server:
        path = server.endpoint().socket_path
        stranger = StoreAddress(socket_path=path, username=username, password=password)
        async with opened(stranger) as store:
            with pytest.raises(StoreUnavailable, match=r"NOAUTH|WRONGPASS"):
                await store.fetch(["x"])


@pytest.mark.parametrize(
    "command",
    [
        *("CONFIG GET *", "FLUSHALL", "KEYS *", "SHUTDOWN", "ACL LIST", "MONITOR", "CLIENT LIST"),
        *("DEBUG RELOAD", "MODULE LIST", "SWAPDB 0 1", "REPLICAOF h 1"),
        "EVAL redis.call('KEYS','*') 0",
    ],
)
async def test_s11_the_gates_own_user_cannot_change_the_server(tmp_path, command):
    """A worker that was taken over can neither empty nor reconfigure the store, nor listen in."""
    async with running(tmp_path / "store") as server:
        address = server.endpoint()
        with (
            redis.Redis(
                unix_socket_path=address.socket_path,
                username=address.username,
                password=address.password,
            ) as client,
            pytest.raises(redis.exceptions.ResponseError, match=r"(?i)permission|not allowed"),
        ):
            client.execute_command(*command.split(" "))


async def test_the_password_never_shows(tmp_path, caplog):
    """Neither `repr` nor any log line, nor what the server is told, has the password."""
    caplog.set_level(logging.DEBUG, logger="latchgate")
    async with running(tmp_path / "store") as server:
        address = server.endpoint()
    shown = repr(address) + str(address) + repr(server) + caplog.text
    assert address.password not in shown
    assert "Valkey" in caplog.text


@linux_only
async def test_it_ends_when_its_gate_is_killed(tmp_path):
    """Kill -9 of the gate leaves neither server nor guardian behind."""
    parent, address = start_parent(tmp_path / "store")
    server = server_pid(address)
    guardian = parent_pid(server)
    assert parent.pid == parent_pid(guardian)
    end_parent(parent)
    await until(lambda: not is_alive(server) and not is_alive(guardian))


@linux_only
@pytest.mark.slow
async def test_it_ends_when_its_gate_is_killed_though_it_hangs(tmp_path):
    """A server that is stopped, and so hears no SIGTERM, is killed."""
    parent, address = start_parent(tmp_path / "store")
    server = server_pid(address)
    os.kill(server, signal.SIGSTOP)
    end_parent(parent)
    await until(lambda: not is_alive(server), timeout_s=20)


@linux_only
async def test_it_ends_with_its_guardian(tmp_path):
    """When gate and guardian are killed at once, the kernel ends the server."""
    parent, address = start_parent(tmp_path / "store")
    server = server_pid(address)
    guardian = parent_pid(server)
    os.kill(parent.pid, signal.SIGSTOP)  # so that it cannot start another one
    os.kill(guardian, signal.SIGKILL)
    await until(lambda: not is_alive(server))
    end_parent(parent)


@linux_only
async def test_a_gate_that_follows_a_killed_one_finds_everything(tmp_path):
    """Stale socket, locks and endpoint of a killed gate are in nobody's way; no session is lost."""
    parent, address = start_parent(tmp_path / "store")
    async with opened(address) as store:
        await store.put("kept", b"1")
    end_parent(parent)
    assert (tmp_path / "store" / "endpoint.json").exists()
    async with running(tmp_path / "store") as server, opened(server.endpoint()) as store:
        assert [b"1"] == await store.fetch(["kept"])
        assert server.endpoint().password != address.password


@linux_only
async def test_a_terminals_interrupt_does_not_reach_it(tmp_path):
    """Ctrl-C is for the gate, which drains first: the store is in a session of its own."""
    async with running(tmp_path / "store") as server:
        assert os.getsid(0) != os.getsid(server_pid(server.endpoint()))


@linux_only
async def test_no_acknowledged_write_is_lost_when_it_dies(tmp_path):
    """The server is killed amid writes: what was confirmed is there after the restart."""
    changes = []
    async with running(tmp_path / "store", on_change=changes.append) as server:
        address = server.endpoint()
        confirmed = []

        async def write(writer):
            async with opened(address) as store:
                for number in range(100_000):
                    try:
                        await store.put(f"{writer}:{number}", b"1")
                    except StoreUnavailable:
                        return
                    confirmed.append(f"{writer}:{number}")

        writers = asyncio.gather(*(write(number) for number in range(8)))
        await until(lambda: len(confirmed) > 1000)
        os.kill(server_pid(address), signal.SIGKILL)
        await writers
        await until(lambda: server.restarts == 1)
        async with opened(address, timeout_s=5) as store:
            assert [b"1"] * len(confirmed) == await store.fetch(confirmed)
        assert [True, False, True] == changes
        assert server.endpoint() is address


@linux_only
async def test_it_is_restarted_when_its_guardian_dies(tmp_path):
    """A guardian that is killed takes its server along; both come back, with the data."""
    async with running(tmp_path / "store") as server:
        address = server.endpoint()
        async with opened(address) as store:
            await store.put("kept", b"1")
            old = server_pid(address)
            os.kill(parent_pid(old), signal.SIGKILL)
            await until(lambda: server.restarts == 1)
            assert not is_alive(old)
            await answering(address)
            assert [b"1"] == await store.fetch(["kept"])


@linux_only
async def test_it_is_restarted_again_and_again(tmp_path):
    """A server that keeps dying keeps coming back."""
    async with running(tmp_path / "store") as server:
        for restarts in range(3):
            await answering(server.endpoint())
            os.kill(server_pid(server.endpoint()), signal.SIGKILL)
            await until(lambda count=restarts: server.restarts == count + 1)
        assert server.is_running


@linux_only
async def test_a_restart_that_fails_is_tried_again(tmp_path, caplog):
    """While something keeps the server from starting it is said why, and tried until it starts."""
    async with running(tmp_path / "store") as server:
        address = server.endpoint()
        async with opened(address) as store:
            await store.put("kept", b"1")
        [manifest] = (tmp_path / "store" / "appendonlydir").glob("*.manifest")
        text = manifest.read_text()
        manifest.write_text("rubbish\n")
        os.kill(server_pid(address), signal.SIGKILL)
        await until(lambda: caplog.text.count("does not start again") >= 2)
        assert 0 == server.restarts
        assert "manifest" in caplog.text
        manifest.write_text(text)
        await until(lambda: server.restarts == 1)
        async with opened(address) as store:
            assert [b"1"] == await store.fetch(["kept"])


async def test_a_second_gate_is_refused(tmp_path):
    """One directory has one owner; the second is told which process that is."""
    async with running(tmp_path / "store"):
        second = EmbeddedStore(tmp_path / "store", owner_timeout_s=0.1)
        with pytest.raises(StoreUnavailable, match=rf"in use by process {os.getpid()} \(gate\)"):
            await second.start()
        await second.stop()


async def test_a_command_uses_the_running_store(tmp_path):
    """While a gate runs a command is given the address of its store."""
    async with running(tmp_path / "store") as server, borrow(tmp_path / "store") as address:
        assert server.endpoint() == address


async def test_a_command_does_not_wait_long_for_a_store_that_hangs(tmp_path):
    """People are told within about two seconds that it does not answer."""
    async with running(tmp_path / "store") as server:
        pid = server_pid(server.endpoint())
        os.kill(pid, signal.SIGSTOP)
        try:
            async with asyncio.timeout(5):
                with pytest.raises(StoreUnavailable, match="but does not answer"):
                    async with borrow(tmp_path / "store"):
                        pass
        finally:
            os.kill(pid, signal.SIGCONT)


async def test_a_command_runs_a_store_for_its_own_time(tmp_path):
    """Without a gate a command has the data all the same, and leaves nothing running."""
    async with borrow(tmp_path / "store") as address, opened(address) as store:
        await store.put("kept", b"1")
    assert not is_there(address.socket_path)
    assert not (tmp_path / "store" / "endpoint.json").exists()
    async with borrow(tmp_path / "store") as address, opened(address) as store:
        assert [b"1"] == await store.fetch(["kept"])


async def test_commands_at_the_same_time_share_a_store(tmp_path):
    """The command that runs the store waits with its end for those that use it."""
    used = asyncio.Event()
    order = []

    async def second():
        async with borrow(tmp_path / "store") as address, opened(address) as store:
            used.set()
            await asyncio.sleep(0.2)  # the first one wants to end now
            await store.put("second", b"1")
            order.append("second")

    async with borrow(tmp_path / "store"):
        task = asyncio.ensure_future(second())  # noqa: TID251 - awaited below
        await used.wait()
    order.append("first")
    await task
    assert ["second", "first"] == order
    async with borrow(tmp_path / "store") as address, opened(address) as store:
        assert [b"1"] == await store.fetch(["second"])


async def test_many_commands_at_once(tmp_path):
    """A script that runs commands in parallel loses none of what they do."""

    async def command(number):
        async with borrow(tmp_path / "store") as address, opened(address, 5) as store:
            await store.put(f"k{number}", b"1")

    await asyncio.gather(*(command(number) for number in range(6)))
    async with borrow(tmp_path / "store") as address, opened(address) as store:
        assert [b"1"] * 6 == await store.fetch([f"k{number}" for number in range(6)])


async def test_a_gate_waits_for_a_command_that_has_the_store(tmp_path):
    """A gate that starts while a command runs the store begins when that has ended."""
    async with borrow(tmp_path / "store") as address:
        async with opened(address) as store:
            await store.put("kept", b"1")
        gate = EmbeddedStore(tmp_path / "store")
        starting = asyncio.ensure_future(gate.start())  # noqa: TID251 - awaited below
        await asyncio.sleep(0.05)
        assert not starting.done()
    async with opened(await starting) as store:
        assert [b"1"] == await store.fetch(["kept"])
    await gate.stop()


async def test_a_truncated_log_loses_its_last_write_only(tmp_path):
    """A machine that lost power left half a record: the store starts with what is whole."""
    async with running(tmp_path / "store") as server, opened(server.endpoint()) as store:
        for number in range(10):
            await store.put(f"k{number}", b"1")
    [log] = (tmp_path / "store" / "appendonlydir").glob("*.incr.aof")
    os.truncate(log, log.stat().st_size - 5)
    async with running(tmp_path / "store") as server, opened(server.endpoint()) as store:
        values = await store.fetch([f"k{number}" for number in range(10)])
        assert [b"1"] * 9 + [None] == values
        assert await store.put("k9", b"1")


async def test_a_damaged_log_is_said_and_nothing_is_thrown_away(tmp_path):
    """Damage in the middle is for a person to look at: the store does not start, and says why."""
    async with running(tmp_path / "store") as server, opened(server.endpoint()) as store:
        for number in range(10):
            await store.put(f"k{number}", b"1")
    [log] = (tmp_path / "store" / "appendonlydir").glob("*.incr.aof")
    data = bytearray(log.read_bytes())
    data[60:64] = b"\xff\xff\xff\xff"
    log.write_bytes(data)
    broken = EmbeddedStore(tmp_path / "store")
    with pytest.raises(StoreUnavailable, match=r"append only file") as caught:
        await broken.start()
    assert "k1" not in str(caught.value)
    assert not broken.is_running
    assert bytes(data) == log.read_bytes()


async def test_rubbish_in_the_directory_is_in_nobodys_way(tmp_path):
    """An endpoint that is no JSON, a socket of somebody's, an owner's lock with anything in it."""
    directory = tmp_path / "store"
    directory.mkdir(mode=0o700)
    for name in ("endpoint.json", "owner.lock", "server.lock", "store.sock"):
        (directory / name).write_bytes(b"\xff{")
    async with running(directory) as server, opened(server.endpoint()) as store:
        assert await store.put("k", b"1")


async def test_a_path_too_long_for_a_socket(tmp_path):
    """The socket then is in a private directory with a short path, which goes with the store."""
    directory = tmp_path / ("d" * 120)
    async with running(directory) as server:
        address = server.endpoint()
        runtime = Path(address.socket_path).parent
        assert len(os.fsencode(address.socket_path)) <= 107
        assert (0o700, 0o600) == (mode(runtime), mode(Path(address.socket_path)))
        async with borrow(directory) as borrowed, opened(borrowed) as store:
            assert await store.put("k", b"1")
    assert not runtime.exists()


@linux_only
async def test_a_short_path_goes_when_the_gate_is_killed(tmp_path):
    """The guardian tidies the private directory up that a killed gate cannot."""
    parent, address = start_parent(tmp_path / ("d" * 120))
    end_parent(parent)
    await until(lambda: not Path(address.socket_path).parent.exists())


@linux_only
async def test_a_short_path_is_tidied_up_by_the_next_gate(tmp_path):
    """What gate and guardian, killed at once, left behind goes when the store is started again."""
    directory = tmp_path / ("d" * 120)
    parent, address = start_parent(directory)
    server = server_pid(address)
    os.kill(parent.pid, signal.SIGSTOP)
    os.kill(parent_pid(server), signal.SIGKILL)
    end_parent(parent)
    assert Path(address.socket_path).parent.exists()
    async with running(directory):
        assert not Path(address.socket_path).parent.exists()


async def test_no_short_path_anywhere(tmp_path, monkeypatch):
    """Where the temporary directory is no shorter the mistake is told, with its remedy."""
    long = tmp_path / ("t" * 110)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    server = EmbeddedStore(tmp_path / ("d" * 120))
    with pytest.raises(StoreMisconfigured, match="TMPDIR"):
        await server.start()
    assert [] == list(long.iterdir())


@pytest.mark.parametrize("bits", [0o750, 0o701, 0o777])
async def test_s11_a_directory_that_others_can_enter_is_refused(tmp_path, bits):
    """A directory with any right for others is refused, and told how to mend."""
    directory = tmp_path / "store"
    directory.mkdir()
    directory.chmod(bits)
    with pytest.raises(StoreMisconfigured, match="chmod 700"):
        await EmbeddedStore(directory).start()
    with pytest.raises(StoreMisconfigured, match="chmod 700"):
        async with borrow(directory):
            pass


async def test_a_directory_with_odd_characters(tmp_path):
    """Spaces, quotes, new lines and bytes that are no UTF-8 in the path change nothing."""
    directory = tmp_path / 'a "b" \n\\x41 %s ü \udcff'
    async with running(directory) as server, opened(server.endpoint()) as store:
        assert await store.put("k", b"1")
        assert (directory / "appendonlydir").is_dir()


def test_it_runs_under_uvloop(tmp_path):
    """The supervisor's event loop makes no difference."""

    async def main():
        async with running(tmp_path / "store") as server, opened(server.endpoint()) as store:
            return await store.put("k", b"1")

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(main())


@linux_only
@pytest.mark.slow
async def test_a_full_disk_is_unavailable_and_heals(tmp_path):
    """Writes are refused, reads go on; with room again it works again, without a restart."""
    if not can_mount():
        pytest.skip("needs user namespaces for a small file system of its own")
    done = await asyncio.create_subprocess_exec(
        *UNSHARE, sys.executable, "-c", FULL_DISK, str(tmp_path), cwd=ROOT, stdout=-1, stderr=-1
    )
    out, err = await done.communicate()
    assert done.returncode == 0, err.decode()
    refused, read, start, healed = json.loads(out)
    assert "MISCONF" in refused
    assert ("1", True) == (read, healed)
    assert start.startswith(("StoreMisconfigured: ", "StoreUnavailable: "))
    assert "No space left on device" in start
