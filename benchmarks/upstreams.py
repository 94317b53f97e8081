"""What an upstream that hangs, one that flaps and one that is slow cost the requests of another one.

Run it with `python benchmarks/upstreams.py`; it writes results/upstreams.md, and exit status 1 means
that the p99 of the healthy upstream rose by more than a fifth. In turns, the same load is sent
beside it to three upstreams that fail and to three that do not; the median of the rounds counts.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

ROUNDS, ROUND_S, RATE, BESIDE = 8, 2.5, 300, 25
MOST = 1.2
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
FAILING, HEALTHY = ("hang", "flap", "slow"), ("a", "b", "c")
RESULTS = Path(__file__).parent / "results" / "upstreams.md"


async def applications(names):
    """Serve one application for each name; print their ports."""

    def serve(name):
        async def answer(reader, writer):
            try:
                while await reader.readuntil(b"\r\n\r\n"):
                    if name == "hang":
                        await asyncio.sleep(3600)
                    if name == "slow":
                        await asyncio.sleep(1)
                    if name == "flap" and int(time.time() * 2) % 2:
                        break
                    writer.write(OK)
            except (asyncio.IncompleteReadError, ConnectionError):
                pass
            writer.close()

        return answer

    servers = [await asyncio.start_server(serve(name), "127.0.0.1", 0) for name in names]
    print(*(server.sockets[0].getsockname()[1] for server in servers), flush=True)
    await asyncio.Event().wait()


async def ask(reader, writer, path):
    """Send one request on a connection; return how long its answer took, in seconds."""
    began = time.perf_counter()
    writer.write(b"GET /%b HTTP/1.1\r\nHost: gate\r\n\r\n" % path.encode())
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    await reader.readexactly(length)
    return time.perf_counter() - began


async def once(port, path):
    """Send one request on a connection of its own, and give up after a while."""
    try:
        async with asyncio.timeout(4):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                await ask(reader, writer, path)
            finally:
                writer.close()
    except (TimeoutError, OSError, asyncio.IncompleteReadError):
        pass


async def beside(port, names):
    """Send requests to three upstreams until cancelled."""
    async with asyncio.TaskGroup() as group:
        for number in itertools.count():
            group.create_task(once(port, names[number % 3]))
            await asyncio.sleep(1 / (3 * BESIDE))


async def one_round(port, names):
    """Return the p50 and p99 of the healthy upstream, in milliseconds, beside load on `names`."""
    load = await asyncio.create_subprocess_exec(sys.executable, __file__, "load", str(port), *names)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    took = []
    await asyncio.sleep(1)
    due = time.perf_counter()
    while len(took) < RATE * ROUND_S:
        took.append(await ask(reader, writer, "good"))
        due += 1 / RATE
        await asyncio.sleep(max(0, due - time.perf_counter()))
    writer.close()
    load.terminate()
    await load.wait()
    cuts = statistics.quantiles(took, n=100)
    return cuts[49] * 1e3, cuts[98] * 1e3


async def main():
    """Measure, write the results, and return the exit status."""
    run = asyncio.create_subprocess_exec
    apps, ports = [], []
    for served in (("good",), (*FAILING, *HEALTHY)):  # whatever fails has a process of its own
        apps.append(
            await run(sys.executable, __file__, "serve", *served, stdout=asyncio.subprocess.PIPE)
        )
        ports += (await apps[-1].stdout.readline()).split()
    names = ("good", *FAILING, *HEALTHY)
    with tempfile.TemporaryDirectory() as directory:
        with __import__("socket").create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        lines = [f'server: {{listen: "127.0.0.1:{port}", workers: 1}}', "health: none"]
        lines += ["log: {access: false}", "upstreams:"]
        for name, number in zip(names, ports, strict=True):
            server = f'"http://127.0.0.1:{int(number)}"'
            lines.append(f"  {name}: {{servers: [{server}], timeouts: {{response: 2s}}}}")
        lines.append("routes:")
        for name in names:
            lines.append(f"  - {{match: {{path: /{name}}}, auth: none, upstream: {name}}}")
        config = Path(directory) / "latchgate.yaml"
        config.write_text("\n".join(lines) + "\n")
        gate = await run(sys.executable, "-m", "proxy", "serve", "--config", str(config))
        try:
            for _ in range(200):
                try:
                    (await asyncio.open_connection("127.0.0.1", port))[1].close()
                    break
                except OSError:
                    await asyncio.sleep(0.1)
            rounds = [
                (await one_round(port, HEALTHY), await one_round(port, FAILING))
                for _ in range(ROUNDS)
            ]
        finally:
            for process in (gate, *apps):
                process.terminate()
                await process.wait()
    return tell(rounds)


def tell(rounds):
    """Write what was measured; return 1 where it is too much."""
    rows = [
        [statistics.median(pair[side][place] for pair in rounds) for side in (0, 1)]
        for place in (0, 1)
    ]
    ratio = rows[1][1] / rows[1][0]
    text = f"""# A healthy upstream beside three that fail

`python benchmarks/upstreams.py`: {RATE} requests a second to one upstream of one worker, and {BESIDE} a second to each of three
others, which hang, flap and are slow, or are well; medians of {ROUNDS} rounds of {ROUND_S} s each, in turns.

| | beside three that are well | beside three that fail | times |
|---|---|---|---|
| p50, ms | {rows[0][0]:.2f} | {rows[0][1]:.2f} | {rows[0][1] / rows[0][0]:.2f} |
| p99, ms | {rows[1][0]:.2f} | {rows[1][1]:.2f} | {ratio:.2f} |
"""
    RESULTS.write_text(text)
    print(text)
    return int(ratio > MOST)


async def start(what="", *words):
    """Be one of the processes: the applications, the load beside, or what measures."""
    if what == "serve":
        await applications(words)
    if what == "load":
        await beside(int(words[0]), words[1:])
    return await main()


if __name__ == "__main__":
    sys.exit(asyncio.run(start(*sys.argv[1:])))
