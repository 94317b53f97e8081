"""Templates over claims."""

from __future__ import annotations

import math

import pytest

from proxy.core.templates import (
    Placeholder,
    claim_at,
    compile_template,
    parse_template,
    scalar_text,
)

CLAIMS = {
    "sub": "alice",
    "iss": "https://id.example.com/",
    "n": 7,
    "yes": True,
    "roles": ["a", "b"],
    "realm": {"roles": ["admin"], "deep": {"er": "x"}},
    "https://example.com/roles": ["r"],
    "https://example.com/app": {"tenant": "acme"},
    "a.b": "whole",
    "a": {"b": "inner", "c": "c"},
    "empty": "",
    "none": None,
    "list": [],
    "warden.user.user.key": [[42], "$2a$12$abc"],
    "people": [{"id": 7}, {"id": 8}],
}


def fill(text):
    """Return `text` filled from CLAIMS."""
    return compile_template(text)(CLAIMS)


@pytest.mark.parametrize(
    ("dotted", "expected"),
    [
        ("sub", "alice"),
        ("realm.roles", ["admin"]),
        ("realm.deep.er", "x"),
        ("https://example.com/roles", ["r"]),
        ("https://example.com/app.tenant", "acme"),
        ("a.b", "whole"),
        ("a.c", "c"),
        ("missing", None),
        ("sub.x", None),
        ("realm.missing.er", None),
        ("none", None),
        (".sub", None),
        ("roles.1", "b"),
        ("roles.2", None),
        ("roles.-1", None),
        ("roles.01", None),
        ("roles.\N{SUPERSCRIPT TWO}", None),
        ("roles.", None),
        ("roles.0.x", None),
        ("realm.roles.0", "admin"),
        ("warden.user.user.key.0.0", 42),
        ("people.1.id", 8),
        ("people.id", None),
    ],
)
def test_a_claim_is_found_by_its_path(dotted, expected):
    """The whole name wins over a path, names may contain dots, and lists are numbered from 0."""
    assert expected == claim_at(CLAIMS, dotted)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{sub}", "alice"),
        ("{iss}|{sub}", "https://id.example.com/|alice"),
        ("user-{n}", "user-7"),
        ("{yes}", "true"),
        ("{roles}", "a,b"),
        ("{realm.roles}", "admin"),
        ("{{{sub}}}", "{alice}"),
        ("plain", "plain"),
        ("{missing}", None),
        ("{iss}|{missing}", None),
        ("{realm}", None),
        ("{list}", None),
        ("{empty}", None),
        ("x{empty}", None),
        ("{none}", None),
    ],
)
def test_a_template_is_filled(text, expected):
    """What is missing, empty or no text leaves nothing, never half a template."""
    assert expected == fill(text)


def test_h4_values_cannot_shift_a_separator():
    """Two pairs of values never make one text: the separator is encoded in what precedes it."""
    template = compile_template("{a}|{b}")

    assert template({"a": "x|y", "b": "z"}) == "x%7Cy|z"
    assert template({"a": "x", "b": "y|z"}) == "x|y|z"
    assert template({"a": "x%7Cy", "b": "z"}) == "x%257Cy|z"


def test_h4_members_of_a_list_keep_their_commas_apart():
    """A comma in a member is not one between members."""
    assert compile_template("{l}")({"l": ["a,b", "c"]}) == "a%2Cb,c"


def test_h4_a_list_with_a_member_that_is_no_text_is_not_shortened():
    """An object in a list leaves nothing, instead of a list with fewer members."""
    assert compile_template("{l}")({"l": ["a", {"b": 1}]}) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "brace"),
        ("}", "brace"),
        ("{a", "brace"),
        ("a}", "brace"),
        ("{}", "names a claim"),
        ("{ a}", "names a claim"),
        ("{a}{b}", "between them"),
        ("{a}x{b}", "between them"),
        ("{a}%{b}", "between them"),
        ("{a}ä{b}", "between them"),
        ("", "empty"),
        (" {a}", "white space"),
        ("{a}\n", "control"),
    ],
)
def test_a_bad_template_is_refused(text, reason):
    """The message says what is wrong with it."""
    with pytest.raises(ValueError, match=reason):
        parse_template(text)


def test_a_template_is_split_into_literals_and_placeholders():
    """Escaped braces belong to the literal; a placeholder knows what ends it."""
    assert parse_template("a{{b{c.d}/}}{e}f") == (
        "a{b",
        Placeholder("c.d", "/"),
        "/}",
        Placeholder("e", ""),
        "f",
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("x", "x"),
        (True, "true"),
        (False, "false"),
        (-3, "-3"),
        (1.5, "1.5"),
        (math.nan, None),
        (math.inf, None),
        (1 << 130, None),
        (None, None),
        ({}, None),
        (b"x", None),
    ],
)
def test_scalars_are_said_as_json_says_them(value, expected):
    """Numbers without an end, objects and bytes are no text."""
    assert expected == scalar_text(value)
