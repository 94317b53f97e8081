"""Shows that a look-up costs the same with ten routes and with ten thousand.

Run it with `python benchmarks/routing.py`; exit status 1 means that the promise is broken. Each
round measures the small and the large router one after the other; the best of the rounds counts,
because whatever else the machine does only ever adds time.
"""

from __future__ import annotations

import sys
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).parent.parent))

from proxy.core.paths import parse_target
from proxy.core.routing import Found, Router, RouteSpec

SMALL, LARGE = 10, 10_000
ATTEMPTS = 4
LIMIT = 1.3
ROUNDS, CALLS = 15, 4_000


def spec(index, path, host=None):
    return RouteSpec(
        name=f"r{index}",
        host=host,
        path=path,
        methods=None,
        policy="guarded",
        is_folded=True,
        allow_paths=frozenset(),
        strip_prefix=None,
        payload=index,
    )


def prefixes(count):
    return [spec(i, f"/service{i}/**") for i in range(count)], b"/service7/orders/12345"


def literals(count):
    return [spec(i, f"/api/orders/list{i}") for i in range(count)], b"/api/orders/list7"


def parameters(count):
    routes = [spec(i, f"/api/v1/kind{i}/{{id}}/items/{{item}}") for i in range(count)]
    return routes, b"/api/v1/kind7/12345/items/9"


def hosts(count):
    routes = [spec(i, "/orders/**", host=f"shop{i}.example") for i in range(count)]
    return routes, b"/orders/12345"


def deep(count):
    """Routes below one another, with a parameter beside a literal at each step."""
    routes = [
        spec(i, f"/a{i % 10}/{{x}}/b{i // 10 % 10}/c{i // 100 % 10}/{{y}}/d{i // 1000}/**")
        for i in range(count)
    ]
    return routes, b"/a7/1/b0/c0/2/d0/e"


LAYOUTS = {
    "prefixes": (prefixes, "any.example"),
    "literals": (literals, "any.example"),
    "parameters": (parameters, "any.example"),
    "hosts": (hosts, "shop7.example"),
    "deep": (deep, "any.example"),
}


def once(router, host, path):
    match = router.match
    started = perf_counter()
    for _ in range(CALLS):
        match(host, path, "GET")
    return (perf_counter() - started) / CALLS * 1e6


def measure(small, large, host, path):
    """Return the least of both; again where it is too much, for other work of the machine only adds."""
    pairs = []
    for _ in range(ATTEMPTS):
        pairs += [(once(small, host, path), once(large, host, path)) for _ in range(ROUNDS)]
        few_us, many_us = (min(side) for side in zip(*pairs, strict=True))
        if many_us <= LIMIT * few_us:
            break
    return few_us, many_us


def main():
    is_kept = True
    print(f"{'layout':12} {SMALL:>9} routes {LARGE:>9} routes   ratio   (µs per look-up)")
    for name, (layout, host) in LAYOUTS.items():
        (few, path), (many, _) = layout(SMALL), layout(LARGE)
        small, large = Router(few), Router(many)
        if not all(isinstance(r.match(host, path, "GET"), Found) for r in (small, large)):
            print(f"{name}: the path does not match")
            return 1
        few_us, many_us = measure(small, large, host, path)
        is_kept = is_kept and many_us <= LIMIT * few_us
        print(f"{name:12} {few_us:16.2f} {many_us:16.2f}   {many_us / few_us:5.2f}")
    print("\nall routes in turn, which also shows what the processor's caches do:")
    routers = [Router(prefixes(count)[0]) for count in (SMALL, LARGE)]
    paths = [
        [f"/service{i % count}/orders/{i}".encode() for i in range(LARGE)]
        for count in (SMALL, LARGE)
    ]
    rounds = [[_turn(*pair) for pair in zip(routers, paths, strict=True)] for _ in range(ROUNDS)]
    few_us, many_us = (min(side) for side in zip(*rounds, strict=True))
    print(f"{'in turn':12} {few_us:16.2f} {many_us:16.2f}   {many_us / few_us:5.2f}")
    print("\none route, other paths (µs per parse_target and match):")
    router = Router(prefixes(LARGE)[0])
    for path in (
        b"/service7/orders/12345",
        b"/service7/Orders/ABC-9",
        b"/service7/a%20b",
        b"/service7/caf%C3%A9",
        b"/service7/a;v=1/b",
        b"/service7/group%2Fname",
        b"/service7/%2e%2e%2fx",
    ):
        print(f"{path.decode():28} {min(_whole(router, path) for _ in range(5)):8.2f}")
    print(f"\n{LARGE} routes cost at most {LIMIT} times what {SMALL} cost: {is_kept}")
    return 0 if is_kept else 1


def _turn(router, paths):
    started = perf_counter()
    for path in paths:
        router.match("any.example", path, "GET")
    return (perf_counter() - started) / len(paths) * 1e6


def _whole(router, path):
    started = perf_counter()
    for _ in range(CALLS // 10):
        router.match("any.example", parse_target(path, "GET").path, "GET")
    return (perf_counter() - started) / (CALLS // 10) * 1e6


if __name__ == "__main__":
    sys.exit(main())
