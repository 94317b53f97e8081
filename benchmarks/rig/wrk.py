"""Load by wrk: its command, and what it tells at the end."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.rig.contenders import tool
from benchmarks.rig.procs import on_cores

SCRIPT = Path(__file__).with_name("peers") / "load.lua"
TOLD = re.compile(r"^told (.*)$", re.MULTILINE)
PATIENCE_S = 60


@dataclass(frozen=True)
class Told:
    """What wrk counted."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    errors: dict[str, int]
    """Those that are not 0, by their kinds; `status`: answers of 400 and above."""


def read(output):
    """Return what the script's last line tells."""
    found = TOLD.search(output)
    if not found:
        raise RuntimeError(f"wrk tells nothing: {output[-500:]}")
    told = {
        name: int(value) for name, _, value in (part.partition("=") for part in found[1].split())
    }
    kinds = ("connect", "read", "write", "status", "timeout")
    return Told(
        requests=told["requests"],
        seconds=told["us"] / 1e6,
        p50_ms=told["p50"] / 1000,
        p99_ms=told["p99"] / 1000,
        errors={kind: told[kind] for kind in kinds if told[kind]},
    )


def run(port, file, *, cores, connections, seconds, first=0, count=0, pause_ms=0):
    """Send the requests of `file` over so many connections.

    `first` is where in the file it begins and the first of the numbers that stand for `traffic.NUMBER`;
    with `count` it ends when so many are answered, and does not know how long each took. Each connection waits `pause_ms` on average
    before a request.
    """
    command = [tool("wrk"), "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s"]
    command += ["-s", SCRIPT, f"http://127.0.0.1:{port}/"]
    more = {"REQUESTS": file, "FROM": first, "COUNT": count, "PAUSE_MS": pause_ms}
    done = subprocess.run(
        on_cores(cores, command),
        env={**os.environ, **{f"LOAD_{name}": str(value) for name, value in more.items()}},
        capture_output=True,
        text=True,
        timeout=seconds + PATIENCE_S,
        check=False,
    )
    return read(done.stdout + done.stderr)
