"""What counting costs a request, in nanoseconds, beside what its line in the access log costs.

Run it with `python benchmarks/metrics.py`; exit status 1 means that counting costs more than a
fifth of the line. The best of the rounds counts: whatever else the machine does only adds time.
"""

from __future__ import annotations

import sys
from pathlib import Path
from time import perf_counter_ns, time

sys.path.insert(0, str(Path(__file__).parent.parent))

from proxy.adapters.telemetry.access import AccessLog
from proxy.adapters.telemetry.clock import Clock
from proxy.edge.counters import RequestCounters
from proxy.model import AccessRecord

SHARE = 0.2
ROUNDS, CALLS = 300, 1_000
ROUTES = 50


def measure(call):
    """Return the best of the rounds, in nanoseconds for each call."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = perf_counter_ns()
        for index in range(CALLS):
            call(index)
        best = min(best, (perf_counter_ns() - began) / CALLS)
    return best


def record(route, index):
    """Return what one line of the log is made of."""
    return AccessRecord(
        request_id=f"{index:032x}",
        method="GET",
        host="shop.example.com",
        path="/orders/1",
        status=200,
        decision="forward",
        code=None,
        detail="",
        route=route,
        scheme="web",
        subject="alice",
        upstream="app",
        server="http://127.0.0.1:9001",
        client="192.0.2.1",
        started_at=1_790_000_000.0 + index / 1000,
        duration_s=0.012,
        upstream_s=0.011,
        bytes_in=0,
        bytes_out=4096,
    )


def main():
    counters = RequestCounters(["app"])
    routes = [f"route-{index}" for index in range(ROUTES)]

    def nothing(index):
        return routes[index % ROUTES]

    def forwarded(index):
        counters.request(("forward", routes[index % ROUTES], "web", None), 0.012, 0, 4096)
        counters.upstream("app", 200, None, 0.011)

    def refused(index):
        key = ("challenge", routes[index % ROUTES], "web", "session_unknown")
        counters.request(key, 0.001, 0, 512)

    log = AccessLog(lambda _line: None, Clock(time), "worker 0", is_json=True)

    def logged(index):
        log(record(routes[index % ROUTES], index))

    empty = measure(nothing)
    line = measure(logged) - empty
    costs = {"forwarded": measure(forwarded) - empty, "refused": measure(refused) - empty}
    for name, cost in costs.items():
        print(f"{name}: {cost:.0f} ns a request")
    print(f"access log: {line:.0f} ns a line")
    return int(max(costs.values()) > SHARE * line)


if __name__ == "__main__":
    sys.exit(main())
