"""What spans cost the requests of one worker, in processor time.

Run it with `python benchmarks/tracing.py`; it writes results/tracing.md. The same load on the same route,
without traces, with traces of no request, and with traces of all, in turns; the median of the rounds
counts. Linux only: processor time is read from /proc. Needs the packages of `latchgate[otel]`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.collector import collecting

ROUNDS, ROUND_S, CLIENTS = 3, 3.0, 8
OK = b"HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: 2\r\n\r\nok"
RESULTS = Path(__file__).parent / "results" / "tracing.md"
WAYS = {
    "in the lane, no `tracing:`": ("on", None),
    "in the lane, `sample: 0`": ("on", 0),
    "through the request loop, no `tracing:`": ("off", None),
    "traced, `sample: 1`": ("on", 1),
}


async def application(reader, writer):
    """Answer requests without bodies."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(OK)
    writer.close()


def worker_of(supervisor):
    """Return the process id of the one worker: the child that is started as one."""
    for child in Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split():
        if b"start_worker" in Path(f"/proc/{child}/cmdline").read_bytes():
            return int(child)
    raise LookupError("the gate has no worker")


def processor_s(pid):
    """Return the processor time that a process has used, all its threads together."""
    ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


async def ask(path, end):
    """Send one request after the other until `end`; return how many."""
    reader, writer = await asyncio.open_unix_connection(path)
    count = 0
    while time.monotonic() < end:
        writer.write(b"GET /a HTTP/1.1\r\nHost: a\r\nUser-Agent: b\r\n\r\n")
        await reader.readuntil(b"\r\n\r\nok")
        count += 1
    writer.close()
    return count


async def one_round(port, endpoint, express, sample):
    """Return microseconds of processor time for a request."""
    with tempfile.TemporaryDirectory(prefix="lgb-") as directory:
        place = Path(directory)
        lines = ['server: {listen: "unix:s", workers: 1}', "health: none", "log: {access: false}"]
        lines.append(f'upstreams: {{app: {{servers: ["http://127.0.0.1:{port}"]}}}}')
        lines.append('routes: [{match: {path: "/**"}, auth: none, upstream: app}]')
        if sample is not None:
            lines.append(f'tracing: {{endpoint: "{endpoint}", sample: {sample}}}')
        (place / "gate.yaml").write_text("\n".join(lines) + "\n")
        environment = {**os.environ, "XDG_RUNTIME_DIR": directory, "LATCHGATE_EXPRESS": express}
        gate = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "proxy", "serve", "-c", str(place / "gate.yaml")),
            env=environment,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            while b"all workers are ready" not in (line := await gate.stderr.readline()):
                if not line:
                    raise RuntimeError("the gate did not start")
            worker, path = worker_of(gate.pid), str(place / "s")
            await ask(path, time.monotonic() + 0.5)
            before, end = processor_s(worker), time.monotonic() + ROUND_S
            counts = await asyncio.gather(*(ask(path, end) for _ in range(CLIENTS)))
            await asyncio.sleep(1.5)  # what is batched is sent
            return (processor_s(worker) - before) / sum(counts) * 1e6
        finally:
            gate.terminate()
            await gate.communicate()


async def main():
    """Measure, and write the results."""
    server = await asyncio.start_server(application, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    took = {name: [] for name in WAYS}
    async with collecting() as collector:
        for _ in range(ROUNDS):
            for name, (express, sample) in WAYS.items():
                took[name].append(await one_round(port, collector.endpoint, express, sample))
    server.close()
    rows = "".join(f"| {name} | {statistics.median(us):.0f} |\n" for name, us in took.items())
    text = f"""# What spans cost

`python benchmarks/tracing.py`: processor time of one worker for a request to a public route, on connections that stay open; a traced one has
three spans, which a thread of the worker encodes and sends. Medians of {ROUNDS} rounds of {ROUND_S:.0f} s, in turns.

| a request | microseconds |
|---|---|
{rows}"""
    RESULTS.write_text(text)
    print(text)


if __name__ == "__main__":
    asyncio.run(main())
