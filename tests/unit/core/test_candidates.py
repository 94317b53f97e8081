from __future__ import annotations

import pytest

from proxy.core.candidates import MAX_SHOWN, candidates
from proxy.core.routing import Router, RouteSpec


def spec(name, path, host=None, *methods):
    return RouteSpec(
        name, host, path, frozenset(methods) or None, name, True, frozenset(), None, name
    )


ROUTER = Router(
    [
        spec("all", "/**"),
        spec("api", "/api/**"),
        spec("one", "/api/{id}", None, "GET"),
        spec("other", "/api/{id}", None, "POST", "PUT"),
        spec("orders", "/api/orders"),
        spec("shop", "/**", "shop.example.com"),
        spec("wild", "/api/**", "*.example.com"),
    ]
)


def looked(host, path, method="GET"):
    found = candidates(ROUTER, host, path, method)
    near = {miss.route.name: miss.reason for miss in found.near}
    return found.tier, found.host, [match.name for match in found.best], near


def test_more_general_patterns_lose_at_the_first_segment_that_differs():
    """Literal before `{x}` before `**`."""
    tier, host, best, near = looked("a.test", b"/api/orders")
    general = "matches too, but is more general: segment"

    assert ("any", None, ["orders"]) == (tier, host, best)
    assert f"{general} 1 is ** there and api in the route that wins" == near["all"]
    assert f"{general} 2 is ** there and orders in the route that wins" == near["api"]
    assert f"{general} 2 is {{x}} there and orders in the route that wins" == near["one"]
    assert near["one"] == near["other"]


def test_routes_of_one_path_differ_by_method():
    """So a method that none of them has is 405, and says which there are."""
    _, _, best, near = looked("a.test", b"/api/7")

    assert ["one", "other"] == best
    assert "the same path, for POST, PUT" == near["other"]
    _, _, best, near = looked("a.test", b"/api/7", "DELETE")
    assert ["one", "other"] == best
    assert "the same path, for GET" == near["one"]


@pytest.mark.parametrize(
    ("host", "tier", "pattern", "best"),
    [
        ("shop.example.com", "exact", "shop.example.com", ["shop"]),
        ("b.example.com", "wildcard", "*.example.com", ["wild"]),
        ("a.test", "any", None, ["api"]),
        (None, "any", None, ["api"]),
    ],
)
def test_a_host_that_routes_name_uses_its_own_routes(host, tier, pattern, best):
    """Exact, then the longest wildcard, then any."""
    assert (tier, pattern, best) == looked(host, b"/api/a/b")[:3]


def test_routes_of_other_hosts_are_near_misses():
    """What matches the path elsewhere explains most 404s."""
    _, _, best, near = looked("b.example.com", b"/x")

    assert [] == best
    assert "for hosts that no route names; *.example.com uses its own routes only" == near["all"]
    assert "for another host (shop.example.com)" == near["shop"]


def test_a_path_that_cannot_be_read_comes_near_nothing():
    """It is refused before routes matter."""
    assert ([], {}) == looked("a.test", b"/a%00")[2:]


def test_of_many_near_misses_some_are_told():
    """A file may have thousands."""
    router = Router([spec(str(number), "/**", f"h{number}.test") for number in range(50)])

    assert MAX_SHOWN == len(candidates(router, "x.test", b"/", "GET").near)


@pytest.mark.parametrize("path", [b"/api/orders", b"/api/7", b"/", b"/api/a/b", b"/x%2fy"])
@pytest.mark.parametrize("host", ["a.test", "shop.example.com", "b.example.com"])
def test_the_best_are_those_that_the_router_finds(host, path):
    """The explanation and the decision cannot differ."""
    found = ROUTER.match(host, path, "GET")
    best = looked(host, path)[2]

    assert not hasattr(found, "payload") or found.payload in best
