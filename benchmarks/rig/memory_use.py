"""What an idle connection, an idle WebSocket and a remembered credential cost in memory.

Each is measured in a contender that was started for it and has answered some requests: what others
have left free would make it look cheap. A page that processes share counts once (PSS).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.rig import people, sockets, traffic, wrk
from benchmarks.rig.contenders import Envoy, Latchgate
from benchmarks.rig.procs import cores_for

COUNT = 1_000
WARM_CONNECTIONS = 4
VERDICTS = {"token": 4_000, "session": 20_000}
SETTLE_S = 0.5
LOAD_S = 30


@dataclass(frozen=True)
class Use:
    """Bytes for each; `None` where a side has no such thing."""

    connection: float | None
    websocket: float | None
    verdict: float | None


def measure(stage, directory, side):
    """Return what a side uses."""
    host, credentials = f"{side.kind}.test", stage.credentials(side.sent)

    def connections(port):
        return sockets.open_connections(port, host, credentials, COUNT)

    def websockets(port):
        return sockets.open_websockets(port, host, credentials, COUNT)

    remembers = side.contender in (Latchgate, Envoy) and side.sent in VERDICTS
    return Use(
        connection=_held(stage, directory, side, connections),
        websocket=_held(stage, directory, side, websockets),
        verdict=_remembered(stage, directory, side) if remembers else None,
    )


def _held(stage, directory, side, opening):
    one = _fresh(stage, directory, side)
    socks = []
    try:
        before = _settled(one)
        socks = opening(one.port)
        return (_settled(one) - before) / COUNT
    finally:
        sockets.close(socks)
        one.kill()


def _remembered(stage, directory, side):
    count = VERDICTS[side.sent]
    if side.sent == "token":
        made = people.tokens(stage.private_key, count)
    else:
        made = people.sessions(stage.store.port, count, first=5_000_000)
    file = stage.file(f"new-{side.key}", traffic.pool("small", f"{side.kind}.test", made))
    one = _fresh(stage, directory, side)
    try:
        before = _settled(one)
        _load(one, file, count)
        return (_settled(one) - before) / count
    finally:
        one.kill()


def _fresh(stage, directory, side):
    own, _ = cores_for(1)
    place = Path(directory) / f"memory-{side.key}-{time.monotonic_ns()}"
    place.mkdir()
    one = side.contender(place, stage.places, cores=own, workers=1, has_log=False)
    _load(one, stage.requests("small", side.sent, "api"), 200)
    return one


def _load(one, file, count):
    _, cores = cores_for(1)
    wrk.run(one.port, file, cores=cores, connections=WARM_CONNECTIONS, seconds=LOAD_S, count=count)


def _settled(one):
    time.sleep(SETTLE_S)
    return one.running.memory()
