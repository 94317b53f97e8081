from __future__ import annotations

import pytest

from proxy.core.overlaps import overlaps
from tests.naive_router import make_spec

STRENGTH = {"public": 0, "guarded": 1, "admin": 2}


def found(*specs, upstream_of=lambda _: "app"):
    """Return (weaker, stricter ones, example) of every overlap."""
    return [
        (overlap.index, overlap.guarded, overlap.example)
        for overlap in overlaps(
            specs, upstream_of=upstream_of, is_weaker=lambda a, b: STRENGTH[a] < STRENGTH[b]
        )
    ]


def test_p4_another_host_may_reach_the_same_upstream():
    """P4: the route for any host lets in what the route of a named host guards."""
    specs = [make_spec("/**", "public"), make_spec("/admin/**", host="a.example")]

    assert [(0, (1,), "/admin")] == found(*specs)


def test_p4_the_message_names_the_guarded_route():
    """P4: the warning says which path and which route, and how many more there are."""
    specs = [
        make_spec("/**", "public"),
        make_spec("/admin/**", host="a.example"),
        make_spec("/{x}/secret", host="b.example"),
    ]
    (overlap,) = overlaps(
        specs, upstream_of=lambda _: "app", is_weaker=lambda a, b: STRENGTH[a] < STRENGTH[b]
    )

    assert overlap.guarded == (1, 2)
    assert "/admin of its upstream" in overlap.message
    assert "'/admin/**' (and 1 more)" in overlap.message


@pytest.mark.parametrize(
    "specs",
    [
        # one host: the more specific route wins there, which is what its author wrote
        [make_spec("/**", "public"), make_spec("/admin/**")],
        # the other host guards the same path as strictly
        [make_spec("/**", "public"), make_spec("/admin/**"), make_spec("/admin/**", host="a")],
        # nothing in common
        [make_spec("/public/**", "public"), make_spec("/admin/**", host="a")],
        [make_spec("/{x}", "public"), make_spec("/admin/x", host="a")],
        # the weaker side is the named host, with other paths
        [make_spec("/a", "public", host="a"), make_spec("/**"), make_spec("/a", "public")],
        # methods that do not meet
        [make_spec("/a", "public", methods=["GET"]), make_spec("/a", host="a", methods=["POST"])],
        # equal policies
        [make_spec("/**", "public"), make_spec("/x/**", "public", host="a")],
        [],
    ],
)
def test_p4_no_false_alarms(specs):
    """P4: what the router keeps apart, or what is guarded alike, is not reported."""
    assert [] == found(*specs)


def test_p4_other_upstreams_do_not_meet():
    """P4: an overlap is of routes that lead to the same application."""
    specs = [make_spec("/**", "public", name="a"), make_spec("/admin", host="h", name="b")]

    assert [] == found(*specs, upstream_of=lambda name: name)


@pytest.mark.parametrize(
    ("specs", "expected"),
    [
        (
            [make_spec("/api/**", "public", strip_prefix="/api"), make_spec("/admin/**")],
            [(0, (1,), "/admin")],
        ),
        (
            [
                make_spec("/api/{x}/b", "public", strip_prefix="/api"),
                make_spec("/a/{y}", "admin"),
                make_spec("/a/b/c", "admin"),
            ],
            [(0, (1,), "/a/b")],
        ),
        (
            [
                make_spec("/v1/**", "public", strip_prefix="/v1"),
                make_spec("/v2/{x}/**", "guarded", strip_prefix="/v2"),
            ],
            [(0, (1,), "/\u2026")],
        ),
        (
            [
                make_spec("/**", "public", methods=["GET"]),
                make_spec("/**", "guarded", name="rest"),
                make_spec("/**", "admin", host="a", name="other"),
            ],
            [(0, (2,), "/"), (1, (2,), "/")],
        ),
        (
            [
                make_spec("/x/**", "public", strip_prefix="/x"),
                make_spec("/x/admin/**", "admin", strip_prefix="/x"),
                make_spec("/admin/**", "admin"),
                make_spec("/other", "admin"),
            ],
            [(0, (3,), "/other")],
        ),
    ],
)
def test_p4_another_prefix_may_reach_the_same_upstream(specs, expected):
    """P4 (field.md §3 #12): a stripped prefix leads to paths that another route guards."""
    assert expected == found(*specs)
