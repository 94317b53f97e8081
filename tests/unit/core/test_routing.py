from __future__ import annotations

import inspect

import pytest

from proxy.core.paths import FORMS
from proxy.core.patterns import MAX_SEGMENTS
from proxy.core.routing import (
    USUAL_METHODS,
    Ambiguous,
    Found,
    MethodNotAllowed,
    NotFound,
    RouteConflicts,
    Router,
)
from tests.naive_router import make_spec


def payload(outcome):
    """Return what was found, or the kind of outcome."""
    return outcome.payload if isinstance(outcome, Found) else type(outcome)


def conflicts(*specs):
    """Return what a router says against the specs: messages by index."""
    with pytest.raises(RouteConflicts) as caught:
        Router(specs)
    return dict(caught.value.conflicts)


# Hosts


@pytest.fixture(scope="module")
def hosts():
    """Return a router whose routes differ in their host only."""
    names = ("a.example", "*.example", "*.b.example", "[::1]", None)
    return Router([make_spec("/", host=name, name=str(name)) for name in names])


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("a.example", "a.example"),
        ("b.example", "*.example"),
        ("x.a.example", "*.example"),
        ("x.b.example", "*.b.example"),
        ("x.y.b.example", "*.b.example"),
        ("example", "None"),
        ("aexample", "None"),
        ("a.example.org", "None"),
        ("evil-example", "None"),
        ("[::1]", "[::1]"),
        ("[::2]", "None"),
        ("[1::1.example]", "None"),
        (None, "None"),
    ],
)
def test_host_is_exact_then_the_longest_wildcard_then_any(hosts, host, expected):
    """A wildcard covers whole labels, one or more, and never the bare name (field.md §3 #31)."""
    assert expected == payload(hosts.match(host, b"/", "GET"))


def test_p4_a_named_host_uses_its_own_routes_only():
    """P4: what a host's routes leave out is 404, even where a wider host has it."""
    router = Router(
        [
            make_spec("/a", host="a.example"),
            make_spec("/b", host="*.example"),
            make_spec("/c", host="*.x.example"),
            make_spec("/**"),
        ]
    )

    assert payload(router.match("a.example", b"/b", "GET")) is NotFound
    assert payload(router.match("a.x.example", b"/b", "GET")) is NotFound
    assert payload(router.match("z.example", b"/c", "GET")) is NotFound
    assert payload(router.match("other", b"/b", "GET")) == "/**"


def test_p3_without_host_only_routes_without_host_match():
    """P3: an HTTP/1.0 request without Host cannot claim one."""
    named = Router([make_spec("/**", host="a.example"), make_spec("/x/**", host="*.example")])

    assert payload(named.match(None, b"/x", "GET")) is NotFound


def test_route_hosts_are_normalised():
    """Case and a final dot in the configuration say nothing."""
    router = Router([make_spec("/", host="Shop.Example."), make_spec("/", host="*.SHOP.example")])

    assert payload(router.match("shop.example", b"/", "GET")) == "/"
    assert payload(router.match("a.shop.example", b"/", "GET")) == "/"


@pytest.mark.parametrize(
    "host",
    [
        "",
        "*",
        "*.",
        "a:80",
        "a:",
        "http://a",
        "a/b",
        "b\u00fccher.example",
        "a.*",
        "*.[::1]",
        "**.a",
        "a b",
    ],
)
def test_what_is_no_host_of_a_route_is_a_mistake(host):
    """A host that no request could have is reported."""
    assert "host:" in conflicts(make_spec("/", host=host))[0]


# Paths and methods


def test_a_final_slash_makes_no_difference():
    """`/a` matches `/a/`, `/a/**` matches both, and the bytes are forwarded as they came."""
    router = Router([make_spec("/a"), make_spec("/b/**"), make_spec("/c/{x}"), make_spec("/")])

    for path in (b"/a", b"/a/", b"/b", b"/b/", b"/b/c/", b"/c/d", b"/c/d/", b"/"):
        outcome = router.match("h", path, "GET")
        assert isinstance(outcome, Found)
        assert path == outcome.path
    for path in (b"/c", b"/c/", b"/a/b", b"/d"):
        assert payload(router.match("h", path, "GET")) is NotFound


def test_a_path_that_does_not_begin_with_a_slash_matches_nothing():
    """P2: what is not an origin-form path is refused, not repaired."""
    router = Router([make_spec("/**")])

    for path in (b"", b"a", b"*", b"http://h/"):
        assert payload(router.match("h", path, "GET")) is Ambiguous


def test_get_includes_head():
    """A route for GET answers HEAD; Allow says so."""
    router = Router([make_spec("/a", methods=["GET", "POST"]), make_spec("/b", methods=["POST"])])

    assert payload(router.match("h", b"/a", "HEAD")) == "/a"
    assert router.match("h", b"/a", "PUT") == MethodNotAllowed(("GET", "HEAD", "POST"))
    assert router.match("h", b"/b", "HEAD") == MethodNotAllowed(("POST",))


def test_p4_a_method_never_falls_through_to_a_wider_pattern():
    """P4: the most specific path decides; a method that it lacks is 405, not another route."""
    router = Router(
        [make_spec("/admin", methods=["GET"]), make_spec("/{x}", "public"), make_spec("/**")]
    )

    assert payload(router.match("h", b"/admin", "POST")) is MethodNotAllowed
    assert payload(router.match("h", b"/%61dmin", "POST")) is MethodNotAllowed
    assert payload(router.match("h", b"/other", "POST")) == "/{x}"


def test_a_route_without_methods_takes_those_that_no_other_lists():
    """Of one pattern's routes the one that lists the method is the more specific."""
    router = Router(
        [
            make_spec("/a", "guarded", name="write", methods=["POST", "PUT"]),
            make_spec("/a", "public", name="read"),
        ]
    )

    assert payload(router.match("h", b"/a", "POST")) == "write"
    assert payload(router.match("h", b"/a", "GET")) == "read"
    assert payload(router.match("h", b"/a", "PURGE")) == "read"


@pytest.mark.parametrize("method", ["post", "Post", "pOST", "", "123"])
def test_a_method_in_another_case_never_reaches_the_route_for_all_methods(method):
    """P4: WSGI applications read `post` as POST, which another route of the path guards."""
    router = Router(
        [make_spec("/a", "guarded", name="write", methods=["POST"]), make_spec("/a", "public")]
    )

    assert payload(router.match("h", b"/a", method)) is MethodNotAllowed


@pytest.mark.parametrize("method", ["CONNECT", "TRACE"])
def test_p3_connect_and_trace_are_405_on_every_route(method):
    """P3: no route lets them through, and none may list them."""
    router = Router([make_spec("/**")])

    assert router.match("h", b"/a", method) == MethodNotAllowed(USUAL_METHODS)
    assert "never let through" in conflicts(make_spec("/", methods=[method]))[0]


def test_p6_only_host_path_and_method_choose_the_route():
    """P6 (field.md §3 #1 #5): the router is not even told of a header or a query."""
    assert ["self", "host", "path", "method"] == list(inspect.signature(Router.match).parameters)


# Odd paths


def test_p1_escapes_of_plain_characters_change_nothing():
    """P1: `/%61dmin` is `/admin`, and is forwarded as it came."""
    router = Router([make_spec("/admin/**", "admin"), make_spec("/**", "public")])

    assert router.match("h", b"/%61dm%69n/x", "GET") == Found("/admin/**", b"/%61dm%69n/x")
    assert payload(router.match("h", b"/%61dministrator", "GET")) == "/**"


@pytest.mark.parametrize(
    "path",
    [b"/a;x", b"/a//b", b"/a%2Fb", b"/x;/y", b"/%2e", b"/a/..", b"/a\\b", b"/a%252fb"],
)
def test_p2_an_odd_path_that_matches_nothing_is_ambiguous(path):
    """P2: an odd form of which a reading matches no route is always 400."""
    router = Router([make_spec("/only/{x}/this")])

    assert payload(router.match("h", path, "GET")) is Ambiguous


def test_an_escaped_path_without_odd_forms_is_just_not_found():
    """404 and 405 stay what they are for paths that everybody reads alike."""
    router = Router([make_spec("/a b", methods=["GET"])])

    assert payload(router.match("h", b"/caf%C3%A9", "GET")) is NotFound
    assert payload(router.match("h", b"/a%20b", "POST")) is MethodNotAllowed
    assert payload(router.match("h", b"/a%20b", "GET")) == "/a b"


def test_p2_a_reading_of_another_method_policy_is_ambiguous():
    """P2: a reading that would be 405 is not the same policy either."""
    router = Router([make_spec("/**"), make_spec("/a/b", methods=["POST"])])

    assert payload(router.match("h", b"/a%2Fb", "POST")) == "/**"
    assert payload(router.match("h", b"/a%2Fb", "GET")) is Ambiguous


def test_p2_equal_policies_may_be_confused():
    """P2: two routes under one policy need not be told apart."""
    router = Router([make_spec("/**", "one"), make_spec("/a/**", "one"), make_spec("/b/**", "two")])

    assert payload(router.match("h", b"/x%2F..%2Fa", "GET")) is Ambiguous  # dot_segments
    assert payload(router.match("h", b"//a", "GET")) == "/**"
    assert payload(router.match("h", b"//b", "GET")) is Ambiguous


@pytest.mark.parametrize("form", sorted(FORMS))
def test_p2_allow_paths_never_helps_against_another_policy(form):
    """P2: `allow_paths` lets odd forms through, never another policy."""
    odd = {
        "encoded_slash": b"/pub%2Fadmin",
        "encoded_dot": b"/pub/%2e./admin",
        "dot_segments": b"/pub/../admin",
        "backslash": b"/pub\\..\\admin",
        "double_slash": b"//admin",
        "semicolon": b"/admin;x",
        "double_encoding": b"/pub/..%252fadmin",
        "non_utf8": b"/adm%ffin",
    }
    specs = [
        make_spec("/**", "public", allow_paths=FORMS),
        make_spec("/admin/**", "admin", allow_paths=FORMS),
        make_spec("/pub/admin", "admin", allow_paths=FORMS),
    ]

    assert payload(Router(specs).match("h", odd[form], "GET")) is Ambiguous


def test_p2_details_say_what_was_wrong_and_nothing_of_the_request():
    """The log learns which form, rule or reading it was; the path stands elsewhere."""
    router = Router([make_spec("/**"), make_spec("/admin/**", "admin")])

    details = {
        router.match("h", path, "GET").detail
        for path in (b"/zzz/../zzz", b"/zzz%00", b"/ADMIN/zzz", b"//admin/zzz")
    }
    assert len(details) == 4
    assert not any("zzz" in detail for detail in details)


# Foldings


def test_p5_a_path_in_another_case_is_ambiguous_where_policies_differ():
    """P5: Express would serve `/Admin` from the route for `/admin`."""
    router = Router(
        [make_spec("/**", "public"), make_spec("/admin/**"), make_spec("/same/**", "public")]
    )

    for path in (b"/Admin", b"/ADMIN/x", b"/admin./x", b"/%41dmin", b"/admin%20", b"/admin:$I30/x"):
        assert payload(router.match("h", path, "GET")) is Ambiguous
    assert payload(router.match("h", b"/Same/x", "GET")) == "/**"
    assert payload(router.match("h", b"/admin/X", "GET")) == "/admin/**"


def test_p5_patterns_with_capitals_are_folded_too():
    """P5: with a route for `/Admin`, the path `/admin` is the ambiguous one."""
    router = Router([make_spec("/**", "public"), make_spec("/Admin/**")])

    assert payload(router.match("h", b"/Admin/x", "GET")) == "/Admin/**"
    for path in (b"/admin/x", b"/aDMIN", b"/%61dmin"):
        assert payload(router.match("h", path, "GET")) is Ambiguous


def test_p5_case_alone_is_folded_apart_from_the_rest():
    """P5: a pattern with a final dot does not hide the route that folding case alone reaches."""
    router = Router(
        [
            make_spec("/**", "public"),
            make_spec("/ADMIN/**", "guarded"),
            make_spec("/admin./s", "public", is_folded=False),
        ]
    )

    assert payload(router.match("h", b"/admin/s", "GET")) is Ambiguous
    assert payload(router.match("h", b"/admin%2Fs", "GET")) is Ambiguous


@pytest.mark.parametrize("path", [b"/admin.", b"/x/admin.", b"/admin./", b"/admin..", b"/%61dmin."])
def test_p5_a_final_dot_is_folded_wherever_it_stands(path):
    """P5: Windows and others drop it, in plain paths too."""
    router = Router([make_spec("/**", "public"), make_spec("/admin"), make_spec("/x/admin")])

    assert payload(router.match("h", path, "GET")) is Ambiguous
    assert payload(router.match("h", path.replace(b"min", b"mit"), "GET")) == "/**"


def test_p5_a_pattern_that_ends_in_a_dot_is_folded_too():
    """P5: with a route for `/secret.`, the path `/secret` is the ambiguous one."""
    specs = [make_spec("/**", "public"), make_spec("/secret./x", is_folded=False)]

    assert payload(Router(specs).match("h", b"/secret/x", "GET")) is Ambiguous
    assert payload(Router(specs).match("h", b"/secret./x", "GET")) == "/secret./x"


def test_p5_folding_acts_on_what_other_transformations_uncover():
    """P2, P5: a segment that becomes `..` once `;…` and then the space is cut off."""
    router = Router([make_spec("/**", "public", allow_paths=FORMS), make_spec("/admin/**")])

    assert payload(router.match("h", b"/public/..%20;x/admin", "GET")) is Ambiguous


def test_p5_the_routes_upstream_decides_whether_it_folds():
    """P5: `paths: exact` counts for the route that matched."""
    router = Router(
        [
            make_spec("/**", "public", is_folded=False),
            make_spec("/{x}/y", "public", is_folded=True),
            make_spec("/admin/**"),
        ]
    )

    assert payload(router.match("h", b"/ADMIN", "GET")) == "/**"
    assert payload(router.match("h", b"/ADMIN/y", "GET")) is Ambiguous


# strip_prefix


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        (b"/api", b"/"),
        (b"/api/", b"/"),
        (b"/api/x", b"/x"),
        (b"/api/x/", b"/x/"),
        (b"/%61pi/x%20y", b"/x%20y"),
        (b"/api/api/x", b"/api/x"),
        (b"/api/a%2Fb;c", b"/a%2Fb;c"),
        (b"/api/a//b", b"/a//b"),
        (b"/api/X", b"/X"),
    ],
)
def test_p1_strip_prefix_cuts_whole_segments_once(path, sent):
    """P1: the rewritten path begins with exactly one slash, the rest is byte for byte."""
    router = Router([make_spec("/api/**", strip_prefix="/api")])

    assert Found("/api/**", sent) == router.match("h", path, "GET")


@pytest.mark.parametrize(
    "path",
    [
        b"/api//x",
        b"/api//",
        b"/api///evil.example",
        b"/api/../x",
        b"/api/..%2Fx",
        b"/api%2Fx",
        b"/api;/x",
    ],
)
def test_p1_what_a_stripped_path_may_not_be(path):
    """P1 (field.md §3 #12): no second slash at its beginning, and nothing above the prefix."""
    router = Router([make_spec("/api/**", strip_prefix="/api", allow_paths=FORMS)])

    assert payload(router.match("h", path, "GET")) is Ambiguous


def test_p1_a_stripped_path_passes_the_policy_again():
    """P1: behind the prefix the path is read anew: `/..` is the root there, not its parent."""
    router = Router(
        [
            make_spec("/api/**", strip_prefix="/api", allow_paths=FORMS),
            make_spec("/**", allow_paths=FORMS),
            make_spec("/api/admin", "admin", strip_prefix="/api"),
        ]
    )

    assert router.match("h", b"/api/x/../y", "GET") == Found("/api/**", b"/x/../y")
    for path in (b"/api/..%2Fadmin", b"/api/x/..%2F..%2Fadmin", b"/api/%EF%BC%8E%EF%BC%8E/admin"):
        outcome = router.match("h", path, "GET")
        assert payload(outcome) is Ambiguous
        assert outcome.detail.startswith("without strip_prefix")


def test_p1_a_stripped_path_is_not_routed_again():
    """P1: another route may match what is left; the one that was found stays."""
    router = Router([make_spec("/api/**", strip_prefix="/api"), make_spec("/admin/**", "admin")])

    assert router.match("h", b"/api/admin", "GET") == Found("/api/**", b"/admin")


# Mistakes


def test_all_mistakes_are_reported_at_once():
    """One run names every route that is wrong, each by its index."""
    found = conflicts(
        make_spec("/a"),
        make_spec("/a/"),
        make_spec("/b", methods=["GET"]),
        make_spec("/b", methods=["HEAD"]),
        make_spec("/c/{x}"),
        make_spec("/c/{y}", host=None),
        make_spec("nothing"),
        make_spec("/d", methods=[]),
        make_spec("/e", methods=["get"]),
        make_spec("/f", allow_paths=frozenset({"anything"})),
        make_spec("/g", host="a", name="fine"),
    )

    assert [1, 3, 5, 6, 7, 8, 9] == sorted(found)
    assert found[1] == "matches the same requests as '/a'"
    assert found[9] == "allow_paths: anything is not an odd form"


@pytest.mark.parametrize(
    ("specs", "wrong"),
    [
        ([make_spec("/a/**"), make_spec("/a"), make_spec("/a/{x}/**")], {0}),
        ([make_spec("/**"), make_spec("/"), make_spec("/{x}/**", methods=["GET"])], {0}),
        ([make_spec("/A", "one"), make_spec("/a", "two")], {0, 1}),
        ([make_spec("/A", "one", is_folded=False), make_spec("/a", "two")], {1}),
        ([make_spec("/a.", "one"), make_spec("/a", "two")], {0, 1}),
        ([make_spec("/a;b")], {0}),
        ([make_spec("/a\\b"), make_spec("/**")], {0}),
        (
            [make_spec("/A", "one", methods=["PUT"]), make_spec("/a", "two", methods=["GET"])],
            {0, 1},
        ),
    ],
)
def test_a_route_that_can_never_match_is_a_mistake(specs, wrong):
    """Covered by more specific routes, or by a folding or reading of another policy."""
    found = conflicts(*specs)

    assert wrong == set(found)
    assert all(message.startswith("never matches") for message in found.values())


@pytest.mark.parametrize(
    "specs",
    [
        [make_spec("/a/**"), make_spec("/a"), make_spec("/a/{x}")],
        [make_spec("/a/**"), make_spec("/a/{x}/**")],
        [make_spec("/A", "one", is_folded=False), make_spec("/a", "two", is_folded=False)],
        [make_spec("/A", "one"), make_spec("/a", "one")],
        [make_spec("/a;b"), make_spec("/**")],
        [make_spec("/x"), make_spec("/{id}", "other"), make_spec("/X/{id}", "other")],
        [make_spec("/a", methods=["GET"]), make_spec("/a", methods=["POST"]), make_spec("/a")],
        [make_spec("/a", methods=list(USUAL_METHODS)), make_spec("/a", "other")],
        [make_spec("/a", host="h"), make_spec("/a")],
        [make_spec("/caf\u00e9/ \u00fc/%25"), make_spec("/**")],
        [make_spec("/" + "a/" * MAX_SEGMENTS), make_spec("/" + "{x}/" * MAX_SEGMENTS)],
        [],
    ],
)
def test_routes_that_can_be_told_apart_are_accepted(specs):
    """The check for routes that never match has no false alarms here."""
    Router(specs)


@pytest.mark.parametrize(
    "prefix",
    ["", "api", "/", "/**", "/{x}", "/api/**", "/other", "/api/v1/x", "/API", "/api//v1", "/a"],
)
def test_strip_prefix_must_be_what_the_routes_paths_begin_with(prefix):
    """A prefix that the route's paths need not have cannot be cut off."""
    assert "strip_prefix:" in conflicts(make_spec("/api/v1/**", strip_prefix=prefix))[0]


def test_a_router_without_routes_finds_nothing():
    """No route matches: 404, nothing is forwarded."""
    assert Router([]).match("h", b"/", "GET") == NotFound()
