from __future__ import annotations

import pytest

from proxy.core.rules import ClaimRule, compile_require, is_same_subject
from proxy.model import Identity


def person(**facts):
    """Return an identity with the facts given."""
    return Identity(origin="local", subject="alice", scheme="web", **facts)


def code_of(refusal):
    """Return the code, or `None` where nothing is refused."""
    return refusal.code if refusal else None


def test_nothing_required_lets_everybody_in():
    """A route without `require` asks for nothing beyond the credential."""
    assert compile_require()(person()) is None


@pytest.mark.parametrize(
    ("roles", "code"),
    [
        (("customer",), None),
        (("x", "staff"), None),
        (("Customer",), "role_missing"),
        (("customers", "custom"), "role_missing"),
        (("customer,staff",), "role_missing"),
        ((), "role_missing"),
    ],
)
def test_any_role_is_enough(roles, code):
    """`roles: [a, b]` is any of them, compared whole and with case."""
    require = compile_require(roles_any=["customer", "staff"])

    assert code == code_of(require(person(roles=roles)))


@pytest.mark.parametrize(
    ("roles", "code"),
    [(("a", "b"), None), (("b", "c", "a"), None), (("a",), "role_missing"), ((), "role_missing")],
)
def test_all_roles_are_all_of_them(roles, code):
    """`roles: {all: […]}` wants every one."""
    assert code == code_of(compile_require(roles_all=["a", "b"])(person(roles=roles)))


@pytest.mark.parametrize(
    ("scopes", "code"),
    [
        (("orders:read", "orders:write"), None),
        (("orders:read",), "scope_missing"),
        (("orders:read orders:write",), "scope_missing"),
        ((), "scope_missing"),
    ],
)
def test_scopes_are_all_of_them(scopes, code):
    """`scopes` wants every one."""
    require = compile_require(scopes=["orders:read", "orders:write"])

    assert code == code_of(require(person(scopes=scopes)))


@pytest.mark.parametrize(
    ("rule", "claim", "is_met"),
    [
        (ClaimRule(("acme",)), "acme", True),
        (ClaimRule(("acme",)), ["x", "acme"], True),
        (ClaimRule(("acme",)), "acme2", False),
        (ClaimRule(("acme",)), "x acme", False),
        (ClaimRule(("acme",)), {"acme": 1}, False),
        (ClaimRule(("acme",)), [["acme"]], False),
        (ClaimRule(("acme",)), None, False),
        (ClaimRule((1,)), 1, True),
        (ClaimRule((1,)), 1.0, True),
        (ClaimRule((1,)), "1", False),
        (ClaimRule((1,)), True, False),
        (ClaimRule((True,)), True, True),
        (ClaimRule((True,)), 1, False),
        (ClaimRule((True,)), "true", False),
        (ClaimRule((False,)), 0, False),
        (ClaimRule(("a", "b")), "b", True),
        (ClaimRule(("a", "b")), ["c"], False),
        (ClaimRule(("a", "b"), is_all=True), ["b", "c", "a"], True),
        (ClaimRule(("a", "b"), is_all=True), ["a"], False),
        (ClaimRule(("a", "b"), is_all=True), "a", False),
        (ClaimRule(("a",), is_all=True), "a", True),
    ],
)
def test_a_claim_equals_or_contains(rule, claim, is_met):
    """Values are compared whole and by kind; only lists contain anything."""
    require = compile_require(claims={"org.tenant": rule})
    expected = None if is_met else "claim_mismatch"

    assert expected == code_of(require(person(claims={"org": {"tenant": claim}})))


def test_a_missing_claim_is_a_mismatch():
    """A claim that is not there says nothing."""
    require = compile_require(claims={"a.b": ClaimRule(("x",))})

    for claims in ({}, {"a": "x"}, {"a": []}, {"b": "x"}):
        assert code_of(require(person(claims=claims))) == "claim_mismatch"


def test_every_rule_has_to_be_met():
    """Roles, scopes and claims are asked in this order, and all of them."""
    require = compile_require(
        roles_any=["r"], roles_all=["q"], scopes=["s"], claims={"c": ClaimRule(("x",))}
    )
    steps = [
        ({}, "role_missing"),
        ({"roles": ("r",)}, "role_missing"),
        ({"roles": ("r", "q")}, "scope_missing"),
        ({"roles": ("r", "q"), "scopes": ("s",)}, "claim_mismatch"),
        ({"roles": ("r", "q"), "scopes": ("s",), "claims": {"c": "x"}}, None),
    ]

    for facts, code in steps:
        assert code == code_of(require(person(**facts)))


def test_the_log_is_told_what_was_wanted():
    """The detail names what is there and what the route wants, and stays short."""
    few = compile_require(roles_any=["admin"])(person(roles=("user",)))
    many = compile_require(roles_all=[f"r{n:03}" for n in range(500)])(person())

    assert few is not None
    assert few.detail == "has user, the route wants one of the roles admin"
    assert many is not None
    assert many.detail.endswith("r011 and 488 more")


def test_a_rule_without_values_cannot_be_made():
    """`{any: []}` would open to nobody, or to everybody: it is a mistake."""
    with pytest.raises(ValueError, match="without values"):
        ClaimRule(())


@pytest.mark.parametrize(
    ("first", "second", "has_same_subjects", "expected"),
    [
        (("o", "alice"), ("o", "alice"), False, True),
        (("o", "alice"), ("p", "alice"), False, False),
        (("o", "alice"), ("p", "alice"), True, True),
        (("o", "alice"), ("o", "Alice"), True, False),
        (("o", "alice"), ("o", "bob"), False, False),
    ],
)
def test_k6_origin_and_subject_name_a_person(first, second, has_same_subjects, expected):
    """K6: the pair is compared; the subject alone only where the route says names are shared."""
    one, other = (Identity(origin=o, subject=s, scheme="x") for o, s in (first, second))

    assert expected == is_same_subject(one, other, has_same_subjects=has_same_subjects)
