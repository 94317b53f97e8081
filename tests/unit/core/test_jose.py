"""What a token must say, and when, to be believed (K2, K4, K5)."""

from __future__ import annotations

import json

import pytest

from proxy.core.jose import KeyUnknown, SignatureInvalid, TokenVerifier, assertion_issuer
from proxy.core.keyset import KeySet
from proxy.core.revocation import digest
from proxy.errors import TokenExpired, TokenInvalid
from tests.token_workshop import AUDIENCE, ISSUER, NOW, assemble, claims, jwk, private_key, token

KEYS = KeySet.from_jwks({"keys": [jwk("RSA", kid="a")]}, algorithms=["RS256"])


def verifier(**changes):
    """Return the verifier of a scheme with the defaults of the reference."""
    settings = {
        "issuer": ISSUER,
        "audiences": frozenset({AUDIENCE, "other"}),
        "algorithms": ["RS256", "ES256", "EdDSA"],
        "leeway": 30.0,
        "max_lifetime": 86_400.0,
    }
    return TokenVerifier(**(settings | changes))


def refusal(raw, now=NOW, **changes):
    """Return why a token is refused; a token that is merely over is not meant."""
    with pytest.raises(TokenInvalid) as caught:
        verifier(**changes).verify(raw, KEYS, now)
    assert type(caught.value) in (TokenInvalid, SignatureInvalid)
    return caught.value.detail


def test_a_good_token_is_what_it_says():
    """Claims, key, name, and the time from which it is over."""
    verified = verifier().verify(token(header={"kid": "a", "typ": "JWT"}), KEYS, NOW)

    assert claims() == verified.claims
    assert (KEYS.keys[0], "t-1") == (verified.key, verified.jti_name)
    assert (int(NOW), NOW + 330) == (verified.issued_at, verified.expires_at)


def test_what_is_verified_is_not_shown():
    """The claims of a person do not appear where somebody prints the token."""
    assert "ann" not in repr(verifier().verify(token(), KEYS, NOW))


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": ...},
        {"iss": "https://id.example.com"},
        {"iss": "https://id.example.com/ "},
        {"iss": "HTTPS://ID.EXAMPLE.COM/"},
        {"iss": [ISSUER]},
        {"iss": None},
    ],
)
def test_the_issuer_is_compared_exactly(changes):
    """A missing, similar or oddly typed `iss` is another issuer's."""
    assert "iss is not the issuer of this scheme" == refusal(token(**changes))


@pytest.mark.parametrize("audience", [AUDIENCE, [AUDIENCE], ["x", "other"], ["other", AUDIENCE]])
def test_one_common_audience_is_enough(audience):
    """`aud` is a text or a list (RFC 7519 §4.1.3); any of the scheme's will do."""
    assert verifier().verify(token(aud=audience), KEYS, NOW)


@pytest.mark.parametrize(
    "audience", [..., "", "shop", "shop-api ", [], ["x"], [AUDIENCE, 1], {AUDIENCE: 1}, 1, None]
)
def test_a_token_for_somebody_else_is_refused(audience):
    """No audience, another one, or one that is no text, field.md §3 #26."""
    assert refusal(token(aud=audience)).startswith("aud is")


def test_any_audience_must_be_asked_for():
    """With `audience: any` a token needs none, but what it says must still be texts."""
    for audience in (..., "whatever", ["x", "y"]):
        assert verifier(audiences=None).verify(token(aud=audience), KEYS, NOW)
    assert refusal(token(aud=[1]), audiences=None).startswith("aud is")


@pytest.mark.parametrize("typ", [..., "JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt"])
def test_k2_usual_types_pass(typ):
    """`typ` is absent, JWT or at+jwt, without case and `application/`."""
    assert verifier().verify(token(header={"typ": typ}), KEYS, NOW)


@pytest.mark.parametrize(
    "typ",
    [
        "",
        None,
        1,
        ["JWT"],
        "JWT ",
        "logout+jwt",
        "dpop+jwt",
        "secevent+jwt",
        "id+jwt",
        "latchgate-assertion+jwt",
        "application/JOSE",
        "application/application/jwt",
        "at+jwt;x=1",
        "\u017fwt",
    ],
)
def test_k2_other_types_are_refused(typ):
    """A token that says to be something else opens nothing, field.md §3 #23."""
    assert "the type is not" in refusal(token(header={"typ": typ}))


@pytest.mark.parametrize("typ", [..., "JWT", "jwt"])
def test_k2_local_tokens_are_at_jwt_only(typ):
    """What the gate's own issuer signs as something else is no access token."""
    local = verifier(is_local=True)

    assert local.verify(token(header={"typ": "at+jwt"}), KEYS, NOW)
    with pytest.raises(TokenInvalid, match="type"):
        local.verify(token(header={"typ": typ}), KEYS, NOW)


def test_k2_exp_is_required():
    """A token that never ends is refused, field.md §3 #26."""
    assert "exp is missing" == refusal(token(exp=...))


@pytest.mark.parametrize("name", ["exp", "iat", "nbf"])
@pytest.mark.parametrize(
    "value",
    [None, "1800000000", True, False, [], {}, -1, -0.5, 1e18, 10**15, 253_402_300_801],
)
def test_k2_times_are_numbers_that_are_times(name, value):
    """Texts, booleans, null, negative and absurd numbers are no NumericDate."""
    assert refusal(token(**{name: value})).startswith(f"{name} is not a")


@pytest.mark.parametrize("raw", [b"1e999", b"NaN", b"Infinity", b"-Infinity", b"9" * 400, b"01"])
def test_k2_numbers_that_overflow_are_refused(raw):
    """What JSON does not have, or no number type can hold, is no time and no claim."""
    body = json.dumps(claims(exp="@")).encode().replace(b'"@"', raw)

    assert refusal(token(payload=body)).startswith("payload: ")


def test_k2_fractions_are_dropped():
    """Exp 100.9 is 100, and iat 100.9 is 100."""
    now = NOW + 300
    verified = verifier(leeway=0.0).verify(token(exp=now + 1.9, iat=NOW + 0.9), KEYS, NOW + 1)

    assert (int(NOW), now + 1) == (verified.issued_at, verified.expires_at)


def test_an_expired_token_is_told_apart():
    """From `exp` and the leeway on it is expired, not before; only if all else is right."""
    good = token(exp=NOW + 10)

    assert verifier().verify(good, KEYS, NOW + 39.999)
    with pytest.raises(TokenExpired):
        verifier().verify(good, KEYS, NOW + 40)
    late = NOW + 4000
    assert refusal(token(aud="x"), now=late)
    assert refusal(token()[:-8] + b"AAAAAAAA", now=late)
    assert refusal(token(cnf={}), now=late)


def test_tokens_of_the_future_are_refused():
    """A token may be dated ahead (nbf, iat) by the leeway at most."""
    assert verifier().verify(token(nbf=NOW + 30, iat=NOW + 30), KEYS, NOW)
    assert "nbf lies in the future" == refusal(token(nbf=NOW + 31))
    assert "iat lies in the future" == refusal(token(iat=NOW + 31))


def test_r3_iat_is_required_with_revocation():
    """A token that does not say when it was issued could not be revoked by time."""
    assert "iat is missing" == refusal(token(iat=...))
    assert verifier(requires_iat=False).verify(token(iat=...), KEYS, NOW).issued_at is None


def test_r3_max_lifetime_bounds_exp_minus_iat():
    """A token that lives longer than markers do is refused; also where `iat` is not there."""
    bounded = {"max_lifetime": 900.0}
    assert verifier(**bounded).verify(token(exp=NOW + 900), KEYS, NOW)
    assert refusal(token(exp=NOW + 901), **bounded).startswith("its lifetime")
    assert refusal(token(iat=NOW - 700, exp=NOW + 300), **bounded).startswith("its lifetime")
    free = bounded | {"requires_iat": False}
    assert verifier(**free).verify(token(iat=..., exp=NOW + 900), KEYS, NOW)
    assert refusal(token(iat=..., exp=NOW + 931), **free).startswith("its lifetime")
    assert verifier(max_lifetime=None).verify(token(exp=NOW + 10**8), KEYS, NOW)


@pytest.mark.parametrize(("subject", "text"), [(7, "7"), (-1, "-1"), ("ann", "ann"), ("", "")])
def test_k2_a_numeric_subject_is_taken_as_text(subject, text):
    """Whole numbers are names; what else is no text is refused."""
    assert text == verifier().verify(token(sub=subject), KEYS, NOW).claims["sub"]


@pytest.mark.parametrize("subject", [None, True, 1.5, ["ann"], {"a": 1}])
def test_an_odd_subject_is_refused(subject):
    """A subject that is neither text nor whole number has no one spelling."""
    assert "sub is not a text" == refusal(token(sub=subject))


def test_a_token_without_a_subject_is_the_schemes_business():
    """The subject may be taken from another claim."""
    assert "sub" not in verifier().verify(token(sub=...), KEYS, NOW).claims


@pytest.mark.parametrize("cnf", [{"jkt": "x"}, {}, None, {"x5t#S256": "x"}, {"new": 1}])
def test_k5_a_bound_token_is_refused(cnf):
    """`cnf` asks for a proof; without a check of it the token might be stolen."""
    assert "cnf" in refusal(token(cnf=cnf))


@pytest.mark.parametrize("name", [7, None, ["t"], True, {}])
def test_a_jti_that_is_no_text_is_refused(name):
    """A token that revocation could not name is not accepted."""
    assert "jti is not a text" == refusal(token(jti=name))


def test_r3_a_token_without_jti_is_named_by_what_it_says():
    """The name is made of decoded header and payload, and differs where they do."""
    verify = verifier().verify
    body = json.dumps(claims(jti=...)).encode()
    head = b'{"alg":"RS256"}'
    first = verify(assemble(head, body, "RS256", private_key("RSA")), KEYS, NOW).jti_name
    other = verify(assemble(head + b" ", body, "RS256", private_key("RSA")), KEYS, NOW).jti_name
    later = verify(token(jti=..., iat=NOW - 1), KEYS, NOW).jti_name
    empty = verify(token(jti=""), KEYS, NOW).jti_name

    assert digest(head.decode(), body.decode()) == first
    assert 4 == len({first, other, later, empty})


def test_k3_an_unknown_key_is_told_apart():
    """The scheme may ask for one refetch, and only where the name is unknown."""
    with pytest.raises(KeyUnknown) as caught:
        verifier().verify(token(header={"kid": "b"}), KEYS, NOW)

    assert "b" == caught.value.kid
    assert "token_invalid" == caught.value.code
    assert refusal(token("ES256", "P-256", header={"kid": "a"}))
    assert refusal(token(kind="RSA-other", header={"kid": "a"}))


def test_k3_an_unsigned_token_asks_for_nothing_but_by_a_good_header():
    """What is refused anyway costs no refetch: structure, algorithm, type and name come first."""
    for header in ({"kid": "b", "alg": "none"}, {"kid": "b", "typ": "x"}, {"kid": "../b\n"}):
        assert refusal(token(header=header))


def test_headers_that_were_proved_good_are_kept_and_bounded():
    """A header is parsed once; only a good signature makes it known, and never too many."""
    own = verifier()
    with pytest.raises(TokenInvalid):
        own.verify(token(kind="RSA-other"), KEYS, NOW)
    assert 0 == len(own._headers)
    for number in range(70):
        own.verify(token(header={"x": number}), KEYS, NOW)
    assert 0 < len(own._headers) <= 64


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": ""},
        {"issuer": "https://shop.example.com/assertion"},
        {"audiences": frozenset()},
        {"audiences": frozenset({""})},
        {"algorithms": ["RS256", "HS256"]},
        {"algorithms": []},
        {"algorithms": ["none"]},
        {"leeway": -1.0},
        {"max_lifetime": 0.0},
    ],
)
def test_a_contradiction_is_an_error_at_once(changes):
    """A verifier that could not be right is never made."""
    with pytest.raises(ValueError):
        verifier(**changes)


def test_k4_assertions_have_an_issuer_of_their_own():
    """It is the gate's, with `/assertion` behind it."""
    assert "https://shop.example.com/assertion" == assertion_issuer("https://shop.example.com")
    assert "https://shop.example.com/assertion" == assertion_issuer("https://shop.example.com/")


def test_a_verdict_can_keep_the_times():
    """From when to when a token is good: the later of `iat` and `nbf`, and `exp`, with the leeway."""
    verified = verifier().verify(token(iat=NOW - 5, nbf=NOW + 20, exp=NOW + 60), KEYS, NOW)

    assert (NOW - 10, NOW + 90) == (verified.begins_at, verified.expires_at)


def test_r9_a_bad_signature_is_told_apart():
    """R9: what no key made is worth remembering; what a key made and is not for us, is not."""
    with pytest.raises(SignatureInvalid):
        verifier().verify(token()[:-8] + b"AAAAAAAA", KEYS, NOW)
    with pytest.raises(TokenInvalid) as caught:
        verifier().verify(token(aud="x"), KEYS, NOW)
    assert type(caught.value) is TokenInvalid
