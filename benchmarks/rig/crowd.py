"""A crowd that signs in at once, and somebody who is signed in meanwhile; each a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import multiprocessing
import os
import time

from proxy.adapters.tasks import spawn

PATIENCE_S = 240
"""How long one of the crowd goes on trying."""


def address(number):
    """Return a loopback address of its own for each of the crowd: none shares a network of 24 bits."""
    return f"127.{1 + number // 250}.{1 + number % 250}.1"


async def _ask(port, raw, source=None):
    """Send one request on a connection of its own; return its status and how long to wait, if told."""
    local = None if source is None else (source, 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=local)
    try:
        writer.write(raw)
        answer = await reader.read()
    finally:
        writer.close()
    head = answer.partition(b"\r\n\r\n")[0].lower()
    _, found, told = head.partition(b"\r\nretry-after: ")
    return int(answer[9:12]), float(told.partition(b"\r\n")[0]) if found else 1.0


def login(name, password):
    """Return the request that signs somebody in."""
    body = json.dumps({"username": name, "password": password}).encode()
    return (
        b"POST /_auth/login HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    )


async def _sign_in(port, number, raw, told):
    """Try until it is done, and come back when the gate says so."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        with contextlib.suppress(OSError, ValueError):
            status, wait_s = await _ask(port, raw, address(number))
            told[status] = told.get(status, 0) + 1
            if status not in (429, 503):
                return status
            await asyncio.sleep(wait_s * (0.5 + number % 100 / 100))
            continue
        told[0] = told.get(0, 0) + 1
        await asyncio.sleep(0.5)
    return 0


async def _crowd(port, requests, told):
    return await asyncio.gather(
        *(_sign_in(port, number, raw, told) for number, raw in enumerate(requests))
    )


def crowd(port, requests, cores, pipe):
    """Sign everybody in at once; tell how it went, and when it began and ended (monotonic)."""
    os.sched_setaffinity(0, cores)
    os.nice(10)  # application and store have this core too, and are not to wait for the crowd
    told = {}
    pipe.recv()
    began = time.monotonic()
    ends = asyncio.run(_crowd(port, requests, told))
    pipe.send((began, time.monotonic(), ends.count(200), told))


async def _measure(port, raw, rate, pipe):
    """Send at a steady rate, whatever the answers do, until told to stop."""
    links = [await asyncio.open_connection("127.0.0.1", port) for _ in range(64)]
    free: asyncio.Queue = asyncio.Queue()
    for link in links:
        free.put_nowait(link)
    found, pending = [], set()

    async def one(due):
        reader, writer = await free.get()
        writer.write(raw)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
        found.append((due, time.monotonic() - due, int(head[9:12])))
        free.put_nowait((reader, writer))

    due = time.monotonic()
    while not pipe.poll():
        due += 1 / rate
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        task = spawn(one(due), name="request")
        pending.add(task)
        task.add_done_callback(pending.discard)
    await asyncio.gather(*pending)
    for _, writer in links:
        writer.close()
    return found


def measure(port, raw, rate, cores, pipe):
    """Send `raw` `rate` times a second; tell for each when it was due, how long it took, and its status.

    What counts is the time from when it was due: a stall delays all that were due meanwhile.
    """
    os.sched_setaffinity(0, cores)
    with contextlib.suppress(OSError):
        os.nice(-10)  # as little as possible of what it sees is to be its own
    gc.disable()
    pipe.send(asyncio.run(_measure(port, raw, rate, pipe)))


class Aside:
    """Something of the above in a process of its own."""

    def __init__(self, work, *arguments):
        self.pipe, other = multiprocessing.Pipe()
        self.process = multiprocessing.get_context("spawn").Process(
            target=work, args=(*arguments, other), daemon=True
        )
        self.process.start()

    def go(self):
        """Let it begin, or end: it knows which."""
        self.pipe.send(None)

    def told(self):
        """Wait for what it has to tell."""
        return self.pipe.recv()

    def kill(self):
        self.process.kill()
        self.process.join()
