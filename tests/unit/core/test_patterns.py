from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.paths import fold
from proxy.core.patterns import (
    MAX_SEGMENTS,
    Node,
    Pattern,
    examples,
    find,
    parse_pattern,
    told_apart,
)


@pytest.mark.parametrize(
    ("text", "steps", "has_rest"),
    [
        ("/", (), False),
        ("/**", (), True),
        ("/a", (b"a",), False),
        ("/a/", (b"a",), False),
        ("/a/**", (b"a",), True),
        ("/a/{x}/b", (b"a", None, b"b"), False),
        ("/{user_id}/**", (None,), True),
        ("/caf\u00e9", ("caf\u00e9".encode(),), False),
        ("/caf%C3%A9", ("caf\u00e9".encode(),), False),
        ("/a%20b", (b"a b",), False),
        ("/100%25", (b"100%",), False),
        ("/a;b", (b"a;b",), False),
        ("/a%3Fb%23", (b"a?b#",), False),
        ("/a.b/...", (b"a.b", b"..."), False),
    ],
)
def test_a_pattern_is_literals_parameters_and_a_rest(text, steps, has_rest):
    """Patterns are decoded once, as the paths are; a final slash says nothing."""
    assert Pattern(steps, has_rest) == parse_pattern(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "begins with '/'"),
        ("a", "begins with '/'"),
        ("**", "begins with '/'"),
        ("//", "empty segment"),
        ("/a//b", "empty segment"),
        ("/a//", "empty segment"),
        ("/**/a", "final '/**'"),
        ("/**/", "final '/**'"),
        ("/*", "final '/**'"),
        ("/a*", "final '/**'"),
        ("/a**", "final '/**'"),
        ("/{}", "whole segment"),
        ("/{x", "whole segment"),
        ("/x}", "whole segment"),
        ("/a{x}", "whole segment"),
        ("/{x}.json", "whole segment"),
        ("/{1}", "whole segment"),
        ("/a?b", "query"),
        ("/a#b", "fragment"),
        ("/a%", "hexadecimal"),
        ("/a%zz", "hexadecimal"),
        ("/a%2", "hexadecimal"),
        ("/.", "dot segment"),
        ("/a/..", "dot segment"),
        ("/%2e%2E", "dot segment"),
        ("/a%2Fb", "never matches"),
        ("/a%00", "never matches"),
        ("/a\nb", "never matches"),
        ("/a\x85b", "never matches"),
        ("/a" * (MAX_SEGMENTS + 1), "segments"),
    ],
)
def test_what_is_no_pattern_says_why(text, reason):
    """A pattern that could never match, or that means something else elsewhere, is an error."""
    with pytest.raises(ValueError, match=reason.replace("*", r"\*")):
        parse_pattern(text)


def tree(*texts):
    """Return a tree in which each pattern holds its own text."""
    root: Node[str] = Node()
    for text in texts:
        root.put(parse_pattern(text), text)
    return root


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", "/"),
        ("a", "/a"),
        ("b", "/{x}"),
        ("a/b", "/a/{x}"),
        ("a/b/c", "/a/**"),
        ("b/c/d", "/{x}/c/d"),
        ("b/c/e", "/**"),
        ("b/c", "/**"),
        ("a/c/d", "/a/**"),
        ("api/x", "/api/**"),
        ("api", "/api/**"),
        ("a/b/deep/end", "/a/b/deep/end"),
        ("a/b/deep/other", "/a/**"),
        ("a/z/deep/end", "/a/**"),
    ],
)
def test_the_most_specific_pattern_wins(path, expected):
    """Literal before `{x}` before `**`, decided at the first segment where patterns differ."""
    root = tree(
        *("/", "/a", "/{x}", "/a/{x}", "/a/**", "/{x}/c/d", "/**", "/api/**", "/a/b/deep/end")
    )
    parts = path.encode().split(b"/") if path else []

    assert expected == find(root, parts, 0)


def test_a_parameter_matches_no_empty_segment():
    """`{x}` is one segment that is not empty; `**` may begin with an empty one."""
    assert find(tree("/a/{x}"), (b"a", b""), 0) is None
    assert find(tree("/a/{x}", "/a/**"), (b"a", b""), 0) == "/a/**"
    assert find(tree("/a/{x}/b"), (b"a",), 0) is None


def test_a_pattern_folds_its_literals():
    """Parameters and rest stay what they are."""
    pattern = parse_pattern("/A./{x}/B/**")

    assert Pattern((b"a", None, b"b"), True) == pattern.folded(fold)
    assert not pattern.is_literal
    assert parse_pattern("/a/b").is_literal


def test_examples_are_paths_that_the_pattern_matches():
    """A rest is tried with nothing, one segment, and more."""
    pattern = parse_pattern("/a/{x}/**")

    assert [(b"a", b"z"), (b"a", b"z", b"z")] == list(examples(pattern, b"z", longest=1))
    assert [(b"a",)] == list(examples(parse_pattern("/a"), b"z", longest=5))


def test_what_a_pattern_holds_can_be_asked():
    """A tree tells what it holds for a pattern, with `**` and without."""
    root = tree("/a", "/a/**")

    assert root.get(parse_pattern("/a")) == "/a"
    assert root.get(parse_pattern("/a/**")) == "/a/**"
    assert root.get(parse_pattern("/b")) is None


PATTERNS = st.builds(
    Pattern,
    st.lists(st.sampled_from([b"a", b"b", None]), max_size=3).map(tuple),
    st.booleans(),
)


def matches(pattern, path):
    """Tell whether a pattern matches a path, without a tree."""
    steps = pattern.steps
    return (len(path) >= len(steps) if pattern.has_rest else len(path) == len(steps)) and all(
        step in (None, segment) for step, segment in zip(steps, path, strict=False)
    )


@given(st.lists(PATTERNS, max_size=6))
def test_every_set_of_patterns_that_some_path_matches_has_its_example(patterns):
    """As many as all paths of all words make; no pattern meets another one unseen."""
    words = (b"a", b"b", b"x")
    paths = [path for count in range(5) for path in itertools.product(words, repeat=count)]
    sets = {tuple(matches(one, path) for one in patterns) for path in paths}
    sets.discard((False,) * len(patterns))
    found = {
        tuple(matches(one, path) for one in patterns)
        for path in told_apart(patterns, b"x", most=1000)
    }
    assert found == sets


def test_patterns_that_overlap_in_too_many_ways_are_not_told_apart_in_part():
    """Whoever asks is told that there are more, and does not take a part for all."""
    with pytest.raises(ValueError, match="too many"):
        list(told_apart([parse_pattern("/a/b/c")], b"x", most=3))
