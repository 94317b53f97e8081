"""Headers, identity and answers that nobody thought of."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from hypothesis import given
from hypothesis import strategies as st

from proxy.core.headers import (
    CONNECTION_NAMES,
    FORWARDING_NAMES,
    HeaderRules,
    compile_pass_headers,
    fold,
    is_token,
    nominations,
)
from proxy.core.identity import (
    MAX_BLOCK_BYTES,
    IdentityPlan,
    IdentityRefused,
    encode_member,
    encode_value,
)
from proxy.core.responses import ResponsePlan, private_cache_control
from proxy.core.templates import compile_template
from proxy.model import Identity

KNOWN = [
    "X-Auth-Subject",
    "X-Auth-Token",
    "X-Remote-User",
    "X-Forwarded-For",
    "X-Forwarded-User",
    "X-Forwarded-Client-Cert",
    "Client-Cert",
    "X-Real-IP",
    "X-HTTP-Method-Override",
    "Ssl-Client-Verify",
    "Content-Length",
    "Transfer-Encoding",
    "Connection",
    "Upgrade",
    "Cookie",
    "Authorization",
    "Sec-Fetch-Site",
    "Set-Cookie",
    "Cache-Control",
    "Accept",
]
RULES = HeaderRules(["X-Remote-User", "X-Forwarded-User"])
PASSED = compile_pass_headers(["X-Auth-Token", "X-Forwarded-Client-Cert"], RULES)
PLAN = ResponsePlan(
    is_guarded=True,
    identity_names=["X-Remote-User"],
    protected_cookies=frozenset({b"__Host-sid"}),
    replaces_cors=True,
)


@st.composite
def disguised(draw):
    """Write a known name with other marks and other cases."""
    name = draw(st.sampled_from(KNOWN))
    marks = st.sampled_from("-_.!~ -----")
    cases = st.booleans()
    return "".join(
        draw(marks) if char == "-" else char.swapcase() if draw(cases) else char for char in name
    ).encode()


NAMES = st.one_of(disguised(), st.binary(max_size=20), st.sampled_from([k.encode() for k in KNOWN]))
VALUES = st.one_of(
    st.binary(max_size=30),
    st.lists(NAMES, max_size=3).map(b", ".join),
)
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=12)
TEXTS = st.text(max_size=20)
SURROGATES = st.text(st.characters(exclude_categories=()), max_size=20)


def is_subsequence(part, whole):
    """Tell whether `part` is `whole` with some elements left out."""
    rest = iter(whole)
    return all(item in rest for item in part)


@given(HEADERS, st.booleans())
def test_h1_h2_strip_only_removes_and_removing_twice_changes_nothing(headers, trusted):
    """What is left is a part of what came, in order, and is left again."""
    left = RULES.strip(headers, is_trusted=trusted, passed=PASSED)

    assert is_subsequence(left, headers)
    assert left == RULES.strip(left, is_trusted=trusted, passed=PASSED)


@given(HEADERS, st.booleans())
def test_h1_h2_h3_nothing_that_folds_to_a_removed_name_is_left(headers, trusted):
    """Whatever the spelling, a server that folds sees none of the names of the gate."""
    left = RULES.strip(headers, is_trusted=trusted, passed=PASSED)
    for name, _ in left:
        folded = fold(name)

        assert is_token(name)
        assert not RULES.is_own(folded) or name.lower() == b"x-auth-token"
        assert not folded.startswith(b"x-forwarded-") or (
            trusted and name.lower() == b"x-forwarded-client-cert"
        )
        assert folded not in CONNECTION_NAMES | FORWARDING_NAMES
        assert not folded.startswith(b"sec-") or name.lower() == folded


@given(HEADERS)
def test_h3_what_passes_the_check_has_one_reading(headers):
    """No guarded name in disguise, one Authorization, no nomination of what counts."""
    if RULES.check(headers) is not None:
        return
    names = [name.lower() for name, _ in headers]

    assert names.count(b"authorization") <= 1
    assert all(is_token(name) for name in names)
    for name in names:
        assert fold(name) not in (b"content-length", b"transfer-encoding") or name == fold(name)
    for name, value in headers:
        if name.lower() == b"connection":
            assert not any(map(RULES.is_own, map(fold, nominations(value))))


@given(HEADERS)
def test_the_memo_changes_no_answer(headers):
    """Fresh rules and rules that have seen everything agree."""
    fresh = HeaderRules(["X-Remote-User", "X-Forwarded-User"])
    known, new = RULES.check(headers), fresh.check(headers)

    assert known == new
    assert RULES.strip(headers, is_trusted=False) == fresh.strip(headers, is_trusted=False)


@given(SURROGATES)
def test_h4_a_value_is_printable_and_says_what_it_was(text):
    """Decoding gives the text back, so no two values look alike."""
    value = encode_value(text)

    assert unquote_to_bytes(value) == text.encode("utf-8", "surrogatepass")
    assert value.strip() == value
    assert all(0x20 <= byte <= 0x7E for byte in value)


@given(st.lists(SURROGATES, min_size=1, max_size=5))
def test_h4_a_list_is_as_long_as_it_was(members):
    """Splitting at commas gives the members back, each free of what ends one."""
    value = b",".join(map(encode_member, members))

    assert [unquote_to_bytes(member) for member in value.split(b",")] == [
        member.encode("utf-8", "surrogatepass") for member in members
    ]
    assert not re.search(rb'[; "]', value)


@given(st.tuples(TEXTS, TEXTS, TEXTS), st.tuples(TEXTS, TEXTS, TEXTS))
def test_h4_two_sets_of_values_never_fill_a_template_alike(one, other):
    """Neither a text nor a header lets a separator wander."""
    names = ("a", "b", "c")
    template = compile_template("{a}|{b}: {c}")
    plan = IdentityPlan({"X-T": "{a}|{b}: {c}"})
    filled = [template(dict(zip(names, values, strict=True))) for values in (one, other)]
    headers = [
        dict(plan.render(Identity("o", "s", "w", claims=dict(zip(names, v, strict=True))))).get(
            b"X-T"
        )
        for v in (one, other)
    ]

    for texts in (filled, headers):
        if None not in texts:
            assert (texts[0] == texts[1]) is (one == other)


@given(
    SURROGATES,
    st.lists(SURROGATES, max_size=4),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | SURROGATES,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
        max_leaves=6,
    ),
)
def test_h4_an_identity_is_told_in_bounded_printable_headers_or_refused(subject, roles, claim):
    """Any claims give a block that is a request's headers, or IdentityRefused, and nothing else."""
    plan = IdentityPlan({"X-C": "{c}", "X-D": "<{c}> {c.a} {sub}"}, "oauth2-proxy")
    try:
        block = plan.render(Identity("o", subject, "w", roles=tuple(roles), claims={"c": claim}))
    except IdentityRefused:
        assert not subject.strip()
        return
    names = [name.lower() for name, _ in block]

    assert sum(len(name) + len(value) + 4 for name, value in block) <= MAX_BLOCK_BYTES
    assert len(names) == len(set(names))
    assert {name.decode() for name, _ in block} <= plan.names
    for _, value in block:
        assert value.strip() == value
        assert all(0x20 <= byte <= 0x7E for byte in value)


DIRECTIVES = st.lists(
    st.sampled_from(
        [
            *(b"public", b"private", b"s-maxage=5", b"max-age=9", b"no-store", b"PUBLIC"),
            *(b"S-MaxAge", b'x="', b'"', b",", b" ", b"=", b";", b"\\", b"\t", b"\xff"),
        ]
    ),
    max_size=8,
).map(b"".join)


@given(st.lists(DIRECTIVES, max_size=3))
def test_h8_no_cache_that_splits_at_commas_finds_a_reason_to_share(lines):
    """Neither with quotes nor without does anything but private come out, and it stays so."""
    value = private_cache_control(lines)
    naive = [part.strip().lower().partition(b"=")[0].strip() for part in value.split(b",")]

    assert b"private" in naive
    assert b"public" not in naive
    assert b"s-maxage" not in naive
    assert private_cache_control([value]) == value


@given(HEADERS, st.lists(st.tuples(st.sampled_from([b"Vary", b"X-R"]), VALUES), max_size=2))
def test_h7_h8_an_answer_never_carries_what_it_must_not(headers, extra):
    """No identity, framing, CORS or session cookie of the upstream's, whatever it sends."""
    answered = PLAN.apply(headers, extra)
    own = answered[len(answered) - len(extra) :]

    assert own == extra
    for name, value in answered[: len(answered) - len(extra)]:
        folded = fold(name)
        assert is_token(name)
        assert not folded.startswith((b"x-auth-", b"access-control-"))
        assert folded not in CONNECTION_NAMES | {b"x-remote-user"}
        assert folded != b"set-cookie" or not value.lstrip(b"= \t").startswith(b"__Host-sid=")
    assert sum(name.lower() == b"cache-control" for name, _ in answered) == 1


@given(HEADERS)
def test_f5_trailers_are_a_part_of_what_would_pass_as_headers(headers):
    """Nothing passes behind a body that would not pass before it."""
    plan = ResponsePlan(is_guarded=True)
    trailers = plan.trailers(headers)

    assert is_subsequence(trailers, headers)
    assert all(trailer in plan.apply([trailer]) for trailer in trailers)
    assert not any(fold(name) == b"set-cookie" for name, _ in trailers)
