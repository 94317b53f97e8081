"""Processes of a peer: started on its core, their CPU and memory read from /proc."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import subprocess
import time
from pathlib import Path

import psutil

START_TIMEOUT_S = 30.0
TICKS = os.sysconf("SC_CLK_TCK")
CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]


def cores_for(workers):
    """Return the cores of the system under test and those of everything else.

    One core is always left to the load. With fewer cores than that takes, workers share what there is.
    """
    own = CORES[: max(1, min(workers, len(CORES) - 1))]
    return own, CORES[len(own) :] or CORES


def allow_many_files():
    """Let this process and what it starts open as many files as the system allows."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def on_cores(cores, command):
    """Return the command that runs `command` on these cores only."""
    return ["taskset", "--cpu-list", ",".join(map(str, cores)), *map(str, command)]


class Running:
    """A process with its children, on some cores; what it prints goes to `directory`/output."""

    def __init__(self, directory, command, *, cores, port=0, env=None):
        self.output = Path(directory) / "output"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                on_cores(cores, command),
                cwd=directory,
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        if port:
            self.wait_until(lambda: _answers(port))

    def wait_until(self, condition):
        end = time.monotonic() + START_TIMEOUT_S
        while not condition():
            if self.process.poll() is not None or time.monotonic() > end:
                self.kill()
                raise RuntimeError(f"it does not start: {self.output.read_text()[-2000:]}")
            time.sleep(0.02)

    def pids(self):
        """Return the processes' ids, children included."""
        with contextlib.suppress(psutil.NoSuchProcess):
            top = psutil.Process(self.process.pid)
            return [top.pid, *(child.pid for child in top.children(recursive=True))]
        return []

    def cpu_s(self):
        """Return the CPU time of all its processes, user and system."""
        return sum(map(_cpu_s, self.pids()))

    def memory(self):
        """Return the memory of all its processes in bytes; a shared page counts once."""
        return sum(map(_memory, self.pids()))

    def kill(self):
        """End it, and its children with it."""
        children = self.pids()[1:]
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(3)
        self.process.kill()
        self.process.wait()
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)


def _answers(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def _cpu_s(pid):
    total = 0.0
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                total += cpu_of_schedstat((task / "schedstat").read_text())
    return total


def cpu_of_schedstat(text):
    """Return the seconds that a thread has run, user and system: what /proc/PID/stat has in ticks."""
    return int(text.split()[0]) / 1e9


def used_s(cores):
    """Return how long these cores have not been idle, whoever used them."""
    return busy_of(Path("/proc/stat").read_text(), cores)


def busy_of(text, cores):
    """Return the seconds in which these cores were not idle, of the text of /proc/stat."""
    total = 0
    for line in text.splitlines():
        name, *fields = line.split()
        if name in {f"cpu{core}" for core in cores}:
            user, nice, system, _idle, _iowait, *more = map(int, fields[:8])
            total += user + nice + system + sum(more)
    return total / TICKS


def _memory(pid):
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0
