"""The gate's word about the caller, as headers."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from proxy.core.identity import (
    _READERS,
    MAX_BLOCK_BYTES,
    PRESETS,
    IdentityPlan,
    IdentityRefused,
    encode_member,
    encode_value,
)
from proxy.model import Identity

ALICE = Identity(
    "https://id.example.com/",
    "alice",
    "web",
    email="alice@example.com",
    name="Alice Ångström",
    roles=("customer", "a,b"),
    scopes=("orders:read",),
    claims={
        "sub": "raw",
        "email": "unverified@example.com",
        "name": "raw",
        "tenant": "acme",
        "groups": ["x", "y z"],
        "org": {"id": 7},
        "preferred_username": "al",
    },
)
BARE = Identity("o", "s", "web", claims={"email": "unverified@example.com", "roles": ["admin"]})


def rendered(headers=None, preset=None, identity=ALICE):
    """Return what a plan says of `identity`, by name."""
    block = IdentityPlan(headers, preset).render(identity)
    assert len(block) == len({name for name, _ in block})
    return {name.decode(): value.decode() for name, value in block}


def test_the_standard_names_are_always_set():
    """Reference.md §2, lists joined by commas."""
    assert rendered() == {
        "X-Auth-Subject": "alice",
        "X-Auth-Issuer": "https://id.example.com/",
        "X-Auth-Scheme": "web",
        "X-Auth-Email": "alice@example.com",
        "X-Auth-Name": "Alice %C3%85ngstr%C3%B6m",
        "X-Auth-Roles": "customer,a%2Cb",
        "X-Auth-Scopes": "orders:read",
    }


def test_what_the_identity_lacks_is_left_out():
    """No empty e-mail, no empty list: the application sees that there is none."""
    assert rendered(identity=BARE) == {
        "X-Auth-Subject": "s",
        "X-Auth-Issuer": "o",
        "X-Auth-Scheme": "web",
    }


def test_nobody_has_no_headers():
    """A public route says nothing about anybody."""
    assert IdentityPlan({"X-User": "{sub}"}, "remote-user").render(None) == ()


def test_templates_see_the_identity_and_its_claims():
    """Names of the identity mean what the scheme made of the claims, others are claims."""
    names = {
        "X-User": "{sub}",
        "X-Origin": "{iss}|{sub}",
        "X-Tenant": "{tenant}",
        "X-Groups": "{groups}",
        "X-Org": "org-{org.id}",
        "X-Who": "{name} <{email}>",
        "X-Mark": "gate 100%",
    }

    block = rendered(names)

    assert {name: block[name] for name in names} == {
        "X-User": "alice",
        "X-Origin": "https://id.example.com/|alice",
        "X-Tenant": "acme",
        "X-Groups": "x,y%20z",
        "X-Org": "org-7",
        "X-Who": "Alice%20%C3%85ngstr%C3%B6m <alice@example.com>",
        "X-Mark": "gate 100%25",
    }


def test_k6_an_unverified_claim_never_fills_a_name_of_the_identity():
    """`{email}` is the address that the scheme vouches for, or nothing; so are roles."""
    block = rendered({"X-Mail": "{email}", "X-Groups": "{roles}"}, "remote-user", BARE)

    assert "X-Mail" not in block
    assert "Remote-Email" not in block
    assert "X-Groups" not in block
    assert "Remote-Groups" not in block


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        (
            "remote-user",
            {
                "Remote-User": "alice",
                "Remote-Email": "alice@example.com",
                "Remote-Name": "Alice %C3%85ngstr%C3%B6m",
                "Remote-Groups": "customer,a%2Cb",
            },
        ),
        (
            "oauth2-proxy",
            {
                "X-Forwarded-User": "alice",
                "X-Forwarded-Email": "alice@example.com",
                "X-Forwarded-Groups": "customer,a%2Cb",
                "X-Forwarded-Preferred-Username": "al",
                "X-Auth-Request-User": "alice",
                "X-Auth-Request-Email": "alice@example.com",
                "X-Auth-Request-Groups": "customer,a%2Cb",
                "X-Auth-Request-Preferred-Username": "al",
            },
        ),
        ("cloudflare-access", {"Cf-Access-Authenticated-User-Email": "alice@example.com"}),
    ],
)
def test_presets_speak_as_other_gates(preset, expected):
    """Each preset sets what its model sets, beside the standard names."""
    assert rendered(preset=preset) == rendered() | expected


def test_a_mapped_name_replaces_the_presets():
    """One of a preset's headers can carry something else, in whatever spelling."""
    block = rendered({"remote-user": "{email}"}, "remote-user")

    assert block["remote-user"] == "alice@example.com"
    assert "Remote-User" not in block


@pytest.mark.parametrize("preset", PRESETS)
def test_h1_names_has_every_header_that_render_sets(preset):
    """What is set is removed from requests, by the same list."""
    plan = IdentityPlan({"X-Tenant": "{tenant}"}, preset)

    assert {name.decode() for name, _ in plan.render(ALICE)} <= plan.names
    assert "X-Auth-Assertion" in plan.names


def test_h1_a_jwt_that_only_cloudflare_sends_is_removed_with_its_preset():
    """An application written for that gate reads it, so no client may send it."""
    assert "Cf-Access-Jwt-Assertion" in IdentityPlan({}, "cloudflare-access").names


@pytest.mark.parametrize(
    ("headers", "preset", "reason"),
    [
        ({"Host": "{sub}"}, None, "belongs to the request"),
        ({"Cookie": "{sub}"}, None, "belongs to the request"),
        ({"Sec-Who": "{sub}"}, None, "belongs to the request"),
        ({"X-Auth-Subject": "{email}"}, None, "every guarded route"),
        ({"X-User": "{sub}", "x_user": "{sub}"}, None, "mapped twice"),
        ({"X-User": "{"}, None, "brace"),
        ({}, "nginx", "not a preset"),
    ],
)
def test_h1_a_plan_that_cannot_be_is_refused(headers, preset, reason):
    """Names that the request needs, two spellings of one name, bad templates, unknown presets."""
    with pytest.raises(ValueError, match=reason):
        IdentityPlan(headers, preset)


@pytest.mark.parametrize("subject", ["", " ", "\t\n", "\u3000"])
def test_h4_an_empty_subject_is_a_refusal(subject):
    """Nobody is let through as nobody."""
    with pytest.raises(IdentityRefused) as refused:
        IdentityPlan().render(Identity("o", subject, "web"))

    assert refused.value.code == "subject_missing"
    assert refused.value.status == 403


def test_h4_a_block_over_8_kib_is_a_refusal():
    """Exactly 8 KiB pass; one byte more is refused, and nothing is cut."""
    plan = IdentityPlan({"X-Long": "{long}"})

    def size(length):
        block = plan.render(Identity("o", "s", "web", claims={"long": "x" * length}))
        return sum(len(name) + len(value) + 4 for name, value in block)

    rest = MAX_BLOCK_BYTES - size(0)
    assert size(rest) == MAX_BLOCK_BYTES
    with pytest.raises(IdentityRefused) as refused:
        size(rest + 1)
    assert refused.value.code == "identity_too_large"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("alice", b"alice"),
        ('Doe, John; "J"', b'Doe, John; "J"'),
        ("100%", b"100%25"),
        ("é", b"%C3%A9"),
        ("\r\nX: y", b"%0D%0AX: y"),
        ("\x00\x7f", b"%00%7F"),
        (" a ", b"%20a%20"),
        ("  ", b"%20%20"),
        ("é ", b"%C3%A9%20"),
        ("a  b", b"a  b"),
        ("", b""),
        ("\ud800", b"%ED%A0%80"),
    ],
)
def test_h4_values_are_percent_encoded(text, expected):
    """Printable ASCII stays, but `%`, and white space that no server would keep."""
    assert expected == encode_value(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", b"a"),
        ("a,b", b"a%2Cb"),
        ('a;"b" c', b"a%3B%22b%22%20c"),
        ("%2C", b"%252C"),
        ("orders:read/*", b"orders:read/*"),
    ],
)
def test_h4_members_are_encoded_further(text, expected):
    """Nothing in a member looks like the end of it."""
    assert expected == encode_member(text)


def test_h4_a_list_header_has_as_many_members_as_the_identity():
    """Empty members and members full of commas are counted as they are."""
    roles = ("", "a,b,c", "", "d")
    block = rendered(identity=Identity("o", "s", "web", roles=roles))

    assert tuple(map(unquote, block["X-Auth-Roles"].split(","))) == roles


def test_h4_a_claim_that_no_header_can_say_is_left_out():
    """Objects and lists with objects in them are no header value."""
    claims = {"o": {"a": 1}, "l": ["a", ["b"]], "e": []}
    headers = {"X-O": "{o}", "X-L": "{l}", "X-E": "{e}", "X-C": "a-{o}", "X-N": "{nothing}"}
    block = rendered(headers, identity=Identity("o", "s", "web", claims=claims))

    assert not set(headers) & set(block)


def test_h4_an_empty_part_leaves_the_whole_header_out():
    """`{tenant}/{sub}` without a tenant is no name of anybody."""
    block = rendered({"X-T": "{t}/{sub}"}, identity=Identity("o", "s", "web", claims={"t": ""}))

    assert "X-T" not in block


def test_the_page_names_every_placeholder_that_has_a_meaning_of_its_own():
    """docs/configuration.md says what each may be; a name that it does not have is a claim."""
    page = Path(__file__).parents[3] / "docs" / "configuration.md"
    section = (
        page.read_text().partition("### Templates of `identity.headers`")[2].partition("\n## ")[0]
    )
    told = set(re.findall(r"`\{(\w+)\}`", section)) - {"tenant"}

    assert set(_READERS) == told
