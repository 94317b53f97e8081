"""The router agrees with a naive matcher, and no server reads its way around it."""

from __future__ import annotations

import dataclasses

from hypothesis import event, given, settings
from hypothesis import strategies as st

from proxy.core.hosts import parse_host
from proxy.core.paths import FORMS, BadTarget, Target, fold, parse_target, readings
from proxy.core.routing import Ambiguous, Found, MethodNotAllowed, NotFound, RouteConflicts, Router
from tests import path_readers
from tests.naive_router import by_method, make_spec, matching_specs, policies, split

STEPS = st.sampled_from(["a", "b", "c", "B", "{x}", "{y}"])
HOSTS = st.sampled_from([None, None, "a.example", "*.example", "*.a.example", "b.a.example"])
METHODS = st.sampled_from([None, None, ("GET",), ("POST",), ("GET", "POST"), ("HEAD", "PUT")])
BOOLEANS = st.booleans()
POLICIES = st.sampled_from(["public", "public", "public", "guarded", "admin"])
ASKED_HOSTS = st.sampled_from(
    [None, "a.example", "b.a.example", "c.a.example", "d.c.a.example", "x.example", "example", "y"]
)


@st.composite
def patterns(draw):
    """Draw a pattern of up to four segments."""
    steps = draw(st.lists(STEPS, max_size=4))
    if draw(st.booleans()):
        steps.append("**")
    return "/" + "/".join(steps)


@st.composite
def specs(draw, *, is_folded=BOOLEANS):
    """Draw route specs of few words, so that they meet often."""
    return make_spec(
        draw(patterns()),
        draw(POLICIES),
        name=draw(st.uuids()).hex,
        host=draw(HOSTS),
        methods=draw(METHODS),
        is_folded=draw(is_folded),
        allow_paths=draw(st.sampled_from([frozenset(), FORMS])),
    )


def accepted(candidates):
    """Return the specs that make a valid configuration, leaving out what conflicts."""
    while True:
        try:
            return candidates, Router(candidates)
        except RouteConflicts as error:
            wrong = {index for index, _ in error.conflicts}
            candidates = [spec for index, spec in enumerate(candidates) if index not in wrong]


SPECS = st.lists(specs(), min_size=1, max_size=8)
EXACT = st.lists(specs(is_folded=st.just(False)), min_size=1, max_size=8)
PLAIN_PATHS = st.lists(st.sampled_from(["a", "b", "c", "B", "A", "d"]), max_size=5).map(
    lambda parts: "/" + "/".join(parts)
)


@given(
    EXACT,
    ASKED_HOSTS,
    PLAIN_PATHS,
    st.sampled_from(["", "/"]),
    st.sampled_from(["GET", "HEAD", "POST", "PUT", "X"]),
)
def test_plain_paths_match_as_the_naive_matcher_says(drawn, host, path, end, method):
    """Host, then pattern, then method: the tree finds what trying every route finds."""
    used, router = accepted(drawn)
    raw = (path.rstrip("/") + (end or "/" * (path == "/"))).encode()
    found = matching_specs(used, host, split(raw.decode()))
    chosen = by_method(found, method)

    outcome = router.match(host, raw, method)

    if not found:
        assert NotFound() == outcome
    elif chosen is None:
        assert isinstance(outcome, MethodNotAllowed)
        assert method not in outcome.allow
    else:
        assert Found(chosen.payload, raw) == outcome


@given(SPECS, ASKED_HOSTS, PLAIN_PATHS)
def test_p5_a_plain_path_is_refused_only_where_case_matters(drawn, host, path):
    """P5: with an upstream that folds, a path passes if and only if both foldings agree."""
    used, router = accepted(drawn)
    parts = split(path)
    chosen = by_method(matching_specs(used, host, parts), "GET")
    if chosen is None:
        return
    folded = policies(used, host, parts, "GET", str.lower)

    outcome = router.match(host, path.encode(), "GET")

    if chosen.is_folded and folded != {chosen.policy}:
        assert isinstance(outcome, Ambiguous)
    else:
        assert Found(chosen.payload, path.encode()) == outcome


TOKENS = st.sampled_from(
    [
        *(
            "a",
            "b",
            "c",
            "B",
            "d",
            "/",
            "/",
            "/",
            "//",
            "..",
            ".",
            "%2e",
            "%2E",
            "%2f",
            "%2F",
            "\\",
        ),
        *(
            "%5c",
            ";",
            ";x",
            "%3b",
            "%25",
            "%252f",
            "%252e",
            "%255c",
            "%61",
            "%2561",
            "%42",
            "?",
            "#",
        ),
        *(
            "%3f",
            "%23",
            "%20",
            "%ff",
            "%c3%a9",
            "é",
            "%ef%bc%8f",
            ":$I",
            "%00",
            "%c0%af",
            "%c2",
            "%C0",
        ),
    ]
)
TARGETS = st.lists(TOKENS, max_size=9).map(lambda tokens: ("/" + "".join(tokens)).encode())
STEPS_OF_A_READER = st.lists(
    st.sampled_from(
        [
            path_readers.decode,
            path_readers.decode_parts,
            path_readers.squeeze,
            path_readers.resolve,
            path_readers.cut_parameters,
            path_readers.backslashes,
            lambda text: text.split(";")[0] or "/",
            lambda text: text.replace("\0", "/"),
        ]
    ),
    max_size=6,
)
READERS = st.lists(st.tuples(STEPS_OF_A_READER, STEPS_OF_A_READER), min_size=3, max_size=10)
MOSTLY_OPEN = st.lists(specs(), max_size=6).map(
    lambda drawn: [
        *(dataclasses.replace(spec, host=None, allow_paths=FORMS) for spec in drawn),
        make_spec("/**", "public", allow_paths=FORMS, is_folded=len(drawn) % 2 == 0),
    ]
)
"""Routes that let odd forms through as far as their policies allow."""


def passing(drawn, target):
    """Return the specs in use, and the one that lets the target pass, if one does."""
    used, router = accepted(drawn)
    try:
        path = parse_target(target, "GET").path
    except BadTarget:
        return used, None
    outcome = router.match(None, path, "GET")
    if not isinstance(outcome, Found):
        return used, None
    assert path == outcome.path
    return used, next(spec for spec in used if spec.payload == outcome.payload)


@settings(max_examples=300)
@given(MOSTLY_OPEN, TARGETS)
def test_p2_no_known_reader_reaches_another_policy(drawn, target):
    """P2, P5: whatever the routes are, a path that passes is guarded alike for every server."""
    used, chosen = passing(drawn, target)
    text = target.partition(b"?")[0].decode("latin-1")
    for name, reader in path_readers.READERS.items() if chosen else ():
        if chosen.is_folded or not (reader.is_folding or name in path_readers.FOLDING_FILE_NAMES):
            key = str.lower if reader.is_folding else str
            parts = split(reader.serves(text))
            assert {chosen.policy} == policies(used, None, parts, "GET", key), name


@settings(max_examples=300)
@given(MOSTLY_OPEN, TARGETS, READERS)
def test_p2_no_conceivable_reader_reaches_another_policy(drawn, target, readers):
    """P2: the same for servers that do the usual things in any order, decoding in between."""
    used, chosen = passing(drawn, target)
    for before, after in readers if chosen else ():
        text = target.partition(b"?")[0].decode("latin-1")
        for step in (*before, path_readers.decode_parts, *after):
            text = step(text)
        assert {chosen.policy} == policies(used, None, split(text), "GET")


@given(st.binary(max_size=60), st.sampled_from(["GET", "OPTIONS", "POST"]))
def test_p3_a_target_is_parsed_or_refused_and_loses_no_byte(raw, method):
    """P1, P3: any bytes are a target or a BadTarget; what is taken apart can be put together."""
    try:
        target = parse_target(raw, method)
    except BadTarget as bad:
        event(bad.code)
        return
    assert isinstance(target, Target)
    if target.form == "origin":
        query = b"" if target.query is None else b"?" + target.query
        assert raw == target.path + query


@given(TARGETS)
def test_readings_are_closed_and_begin_with_the_gates_own(target):
    """P2: every reading is a path, the first is the gate's, and folding only adds readings."""
    path = target.partition(b"?")[0]
    try:
        found, folded = readings(path), readings(path, is_folded=True)
    except BadTarget:
        return
    assert {b"/"} == {text[:1] for text in folded.paths}
    assert found.paths[0] == folded.paths[0]
    assert set(found.paths) <= set(folded.paths)
    assert len(set(found.paths)) == len(found.paths)
    assert found.forms <= folded.forms <= FORMS


@given(st.text(max_size=8))
def test_p5_folding_is_done_once(text):
    """P5: a folded segment is its own folding, and upper and lower case fold alike."""
    raw = text.encode("utf-8", "surrogatepass")

    assert fold(raw) == fold(fold(raw))


@given(st.binary(max_size=40))
def test_p3_a_host_has_one_spelling(value):
    """P3: a host that is accepted, written as it was understood, is the same host."""
    try:
        host = parse_host(value)
    except BadTarget:
        return
    assert host.name == host.name.lower()
    assert host.name == parse_host(host.name.encode()).name
