"""OpenID Connect, pure: metadata, request, callback, ID token, logout token, identity."""

from __future__ import annotations

import base64
import hashlib
import json
from urllib.parse import parse_qsl, urlsplit

import pytest

from proxy.core.jose import TokenVerifier
from proxy.core.keyset import KeySet
from proxy.core.mapping import compile_mapping
from proxy.core.oidc import (
    CallbackInvalid,
    IdTokens,
    Metadata,
    Question,
    access_token_hash,
    authorization_url,
    basic_credentials,
    challenge,
    check_callback_issuer,
    is_secure_url,
    merged,
    person_of,
    read_callback,
    read_metadata,
)
from proxy.errors import ProviderInvalid, TokenInvalid
from tests import token_workshop as workshop

ISSUER = "https://id.example.com"
CLIENT = "gate"
NONCE = "n" * 43
NOW = workshop.NOW
EVENT = "http://schemas.openid.net/event/backchannel-logout"
ALGORITHMS = ("RS256", "ES256", "EdDSA")

METADATA = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/auth",
    "token_endpoint": f"{ISSUER}/token",
    "jwks_uri": f"{ISSUER}/jwks",
}
READER = compile_mapping(subject="sub", email="email", name="name", roles="roles", scopes=None)


def described(**changes):
    """Return a discovery document; a change to `...` removes a member."""
    members = {k: v for k, v in (METADATA | changes).items() if v is not ...}
    return json.dumps(members).encode()


@pytest.fixture(scope="module")
def keys():
    """Give the provider's keys."""
    return KeySet.from_jwks(
        {"keys": [workshop.jwk("RSA", kid="r"), workshop.jwk("Ed25519", kid="e")]},
        algorithms=ALGORITHMS,
    )


@pytest.fixture
def rules():
    """Give the rules for the provider's tokens."""
    return IdTokens(issuer=ISSUER, client_id=CLIENT, algorithms=ALGORITHMS, leeway=30)


def id_token(algorithm="RS256", kind="RSA", **changes):
    """Return an ID token that is good but for `changes`."""
    changes = {"iss": ISSUER, "aud": CLIENT, "nonce": NONCE, "jti": ...} | changes
    return workshop.token(algorithm, kind, **changes).decode()


def logout_token(header=None, **changes):
    """Return a logout token that is good but for `changes`."""
    changes = {"iss": ISSUER, "aud": CLIENT, "sid": "s-1", "events": {EVENT: {}}} | changes
    return workshop.token(header={"typ": "logout+jwt"} | (header or {}), **changes).decode()


def verify(rules, keys, token, *, nonce=NONCE, access_token=None, now=NOW):
    """Verify an ID token."""
    return rules.verify(token, keys, now, nonce=nonce, access_token=access_token)


def test_the_request_has_what_core_pkce_and_the_nonce_ask_for():
    """Code flow, S256, state and nonce; the endpoint's own query stays."""
    metadata = read_metadata(described(authorization_endpoint=f"{ISSUER}/auth?tenant=a"), ISSUER)
    question = Question(CLIENT, "https://a.example/cb", ("openid", "email"), "s t&", "n", "v" * 43)

    url = authorization_url(metadata, question)

    assert f"{ISSUER}/auth" == url.partition("?")[0]
    assert {
        "tenant": "a",
        "response_type": "code",
        "client_id": CLIENT,
        "redirect_uri": "https://a.example/cb",
        "scope": "openid email",
        "state": "s t&",
        "nonce": "n",
        "code_challenge": challenge("v" * 43),
        "code_challenge_method": "S256",
    } == dict(parse_qsl(urlsplit(url).query))


def test_a_fresh_login_makes_the_provider_ask_again():
    """`max_age=0`, with which the provider also has to tell when it asked."""
    question = Question(CLIENT, "https://a.example/cb", ("openid",), "s", "n", "v", is_fresh=True)

    url = authorization_url(read_metadata(described(), ISSUER), question)

    assert ("max_age", "0") in parse_qsl(urlsplit(url).query)


def test_the_challenge_is_that_of_the_rfc():
    """RFC 7636, Appendix B."""
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"

    assert "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM" == challenge(verifier)


def test_k3_metadata_of_another_issuer_is_not_used():
    """Else whoever can answer for one address could speak for every provider."""
    with pytest.raises(ProviderInvalid, match="another issuer"):
        read_metadata(described(issuer=f"{ISSUER}/"), ISSUER)


@pytest.mark.parametrize(
    "changes",
    [
        {"token_endpoint": "http://id.example.com/token"},
        {"token_endpoint": "http://127.0.0.1/token"},
        {"token_endpoint": "https://user@id.example.com/token"},
        {"token_endpoint": 7},
        {"token_endpoint": ...},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"authorization_endpoint": "https://id.example.com/auth\r\nSet-Cookie: a=b"},
        {"end_session_endpoint": "http://id.example.com/end"},
        {"userinfo_endpoint": "//id.example.com/me"},
        {"code_challenge_methods_supported": ["plain"]},
        {"response_types_supported": ["id_token"]},
    ],
)
def test_k3_an_endpoint_in_the_clear_or_without_pkce_is_refused(changes):
    """Everything that a code, a secret or a person is sent to is https; PKCE is S256."""
    with pytest.raises(ProviderInvalid):
        read_metadata(described(**changes), ISSUER)


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b'{"issuer": 1, "issuer": 2}', b"\xff"])
def test_what_is_no_metadata_is_refused(raw):
    """A page with a login form is what captive portals answer with."""
    with pytest.raises(ProviderInvalid):
        read_metadata(raw, ISSUER)


def test_plain_http_is_for_a_provider_on_this_machine():
    """An issuer in plain http is one of loopback (the configuration sees to it)."""
    assert is_secure_url("http://127.0.0.1:4000/token", "http://127.0.0.1:4000")
    assert not is_secure_url("http://id.example.com/token", "http://127.0.0.1:4000")


def test_a_callback_is_read():
    """Unknown parameters are ignored (RFC 6749 §4.1.2)."""
    callback = read_callback(
        b"code=c%2F1&state=0.x&iss=https%3A%2F%2Fid.example.com&session_state=1"
    )

    assert ("c/1", "0.x", ISSUER, None) == (
        callback.code,
        callback.state,
        callback.iss,
        callback.error,
    )


@pytest.mark.parametrize(
    "query",
    [
        None,
        b"",
        b"code=a",
        b"state=a",
        b"code=&state=a",
        b"code=a&state=",
        b"code=a&code=a&state=b",
        b"code=a&state=b&state=c",
        b"code=a&error=b&state=c",
        b"code=a&state=b&iss=x&iss=x",
        b"code=" + b"a" * 4097 + b"&state=b",
        b"code=a&state=" + b"b" * 129,
        b"code=a&state=b&x=" + b"y" * 9000,
        b"&".join(b"a%d=1" % n for n in range(40)) + b"&code=a&state=b",
        b"code=%00&state=b",
        b"code=%ff&state=b",
        b"code=a&state=%0d%0aSet-Cookie",
        b"\xff\xfe=1",
    ],
)
def test_a_callback_that_can_be_read_in_two_ways_is_none(query):
    """Missing, doubled, oversized and undecodable parameters (field.md, 25)."""
    with pytest.raises(CallbackInvalid):
        read_callback(query)


def test_rfc_9207_an_answer_says_whose_it_is():
    """Another issuer never passes, and none does not where the provider announces it."""
    silent = Metadata(ISSUER, f"{ISSUER}/auth", f"{ISSUER}/token")
    announcing = read_metadata(
        described(authorization_response_iss_parameter_supported=True), ISSUER
    )
    right, wrong, none = (
        read_callback(b"code=a&state=b" + tail)
        for tail in (b"&iss=" + ISSUER.encode(), b"&iss=https://evil.example", b"")
    )

    for metadata in (silent, announcing):
        check_callback_issuer(right, metadata)
        with pytest.raises(ProviderInvalid):
            check_callback_issuer(wrong, metadata)
    check_callback_issuer(none, silent)
    with pytest.raises(ProviderInvalid):
        check_callback_issuer(none, announcing)


def test_an_id_token_is_verified(rules, keys):
    """Signature, issuer, audience, nonce and times."""
    assert "ann" == verify(rules, keys, id_token())["sub"]


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://evil.example"},
        {"iss": f"{ISSUER}/"},
        {"aud": "another"},
        {"aud": []},
        {"aud": ...},
        {"aud": [CLIENT, "another"]},
        {"aud": [CLIENT, "another"], "azp": "another"},
        {"azp": "another"},
        {"nonce": "another"},
        {"nonce": ...},
        {"nonce": 7},
        {"exp": int(NOW) - 31},
        {"exp": ...},
        {"iat": int(NOW) + 31},
        {"iat": ...},
        {"sub": ""},
        {"sub": " "},
        {"sub": "x" * 256},
        {"sub": ...},
        {"events": {EVENT: {}}},
    ],
)
def test_an_id_token_that_is_not_this_logins_is_refused(rules, keys, changes):
    """Core §3.1.3.7, point by point."""
    with pytest.raises(TokenInvalid):
        verify(rules, keys, id_token(**changes))


@pytest.mark.parametrize("typ", ["at+jwt", "logout+jwt", "dpop+jwt", "latchgate-assertion+jwt"])
def test_k4_another_kind_of_token_is_no_id_token(rules, keys, typ):
    """No kind of token is accepted in the place of another."""
    token = id_token(header={"typ": typ})

    with pytest.raises(TokenInvalid, match="not one of id tokens"):
        verify(rules, keys, token)


def test_k1_an_unsigned_or_symmetric_id_token_is_refused(rules, keys):
    """`none` is not offered, and a client's secret signs nothing."""
    unsigned = ".".join([workshop.b64(b'{"alg":"none"}'), id_token().split(".")[1], ""])
    symmetric = id_token("HS256", "RSA", key=b"secret" * 8)

    for token in (unsigned, symmetric):
        with pytest.raises(TokenInvalid):
            verify(rules, keys, token)


def test_another_audience_passes_when_the_token_was_made_for_this_client(rules, keys):
    """Azp says for whom, where aud has several."""
    assert verify(rules, keys, id_token(aud=[CLIENT, "another"], azp=CLIENT))


def test_a_refreshed_id_token_needs_no_nonce(rules, keys):
    """Core §12.2: it should not have one."""
    assert verify(rules, keys, id_token(nonce=...), nonce=None)


@pytest.mark.parametrize(("algorithm", "kind"), [("RS256", "RSA"), ("EdDSA", "Ed25519")])
def test_at_hash_binds_the_access_token(rules, keys, algorithm, kind):
    """An access token that was exchanged on the way is noticed where the provider says its hash."""
    digest = hashlib.sha256 if algorithm == "RS256" else hashlib.sha512
    raw = digest(b"access").digest()
    good = base64.urlsafe_b64encode(raw[: len(raw) // 2]).rstrip(b"=").decode()
    token = id_token(algorithm, kind, at_hash=good)

    assert good == access_token_hash("access", algorithm)
    assert verify(rules, keys, token, access_token="access")
    with pytest.raises(TokenInvalid, match="at_hash"):
        verify(rules, keys, token, access_token="another")


def test_a_logout_token_is_verified(rules, keys):
    """It says whose sessions end, and for how long its jti counts."""
    said = rules.verify_logout(logout_token(sub=...), keys, NOW)

    assert (None, "s-1", "t-1", NOW + 330) == (said.subject, said.sid, said.jti, said.expires_at)


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://evil.example"},
        {"aud": "another"},
        {"exp": ...},
        {"exp": int(NOW) - 31},
        {"exp": int(NOW) + 90_000},
        {"iat": ...},
        {"iat": int(NOW) + 31},
        {"jti": ...},
        {"jti": ""},
        {"jti": 7},
        {"jti": "x" * 256},
        {"nonce": NONCE},
        {"events": ...},
        {"events": {}},
        {"events": {EVENT: True}},
        {"events": [EVENT]},
        {"sub": ..., "sid": ...},
        {"sub": ""},
        {"sid": ""},
        {"sid": ["s-1"]},
    ],
)
def test_a_logout_token_that_does_not_fit_is_refused(rules, keys, changes):
    """Back-Channel Logout §2.6, point by point; without iat or jti it would count for ever."""
    with pytest.raises(TokenInvalid):
        rules.verify_logout(logout_token(**changes), keys, NOW)


def test_k4_an_id_token_ends_no_session(rules, keys):
    """Every application of a provider has one of each person."""
    with pytest.raises(TokenInvalid):
        rules.verify_logout(id_token(nonce=..., jti="1", sid="s-1"), keys, NOW)
    with pytest.raises(TokenInvalid):
        rules.verify_logout(logout_token(header={"typ": "at+jwt"}), keys, NOW)


def test_k4_a_logout_or_id_token_opens_nothing_as_an_access_token(keys):
    """An access verifier refuses the typ and the event."""
    access = TokenVerifier(
        issuer=ISSUER, audiences=frozenset({CLIENT}), algorithms=ALGORITHMS, leeway=30
    )

    for header in ({"typ": "logout+jwt"}, {"typ": "JWT"}):
        with pytest.raises(TokenInvalid):
            access.verify(logout_token(header=header).encode(), keys, NOW)


@pytest.mark.parametrize("verified", [False, ..., None, "yes", 1, "false"])
def test_k6_an_email_counts_when_it_is_verified_only(verified):
    """Else whoever may write any address into their profile is whoever has it here."""
    claims = {"sub": "ann", "email": "ceo@example.com", "email_verified": verified, "upn": "x@y"}
    claims = {name: value for name, value in claims.items() if value is not ...}
    by_address = compile_mapping(subject="email", email="upn", name=None, roles=None, scopes=None)
    by_other = compile_mapping(subject="sub", email="upn", name=None, roles=None, scopes=None)

    person = person_of(claims, READER)

    assert person.email is None
    assert "email" not in person.claims
    assert person_of(claims, by_other).email is None
    with pytest.raises(TokenInvalid, match="names nobody"):
        person_of(claims, by_address)


def test_k6_a_verified_email_counts():
    """As text too: some providers say "true"."""
    for verified in (True, "true"):
        claims = {"sub": "ann", "email": "ann@example.com", "email_verified": verified}
        assert "ann@example.com" == person_of(claims, READER).email


def test_k6_a_verified_address_vouches_for_no_other():
    """`email_verified` is about the claim `email`, and about that of the same document."""
    claims = {"sub": "ann", "email": "ann@example.com", "email_verified": True, "upn": "ceo@b"}
    by_other = compile_mapping(subject="sub", email="upn", name=None, roles=None, scopes=None)
    both = merged(
        {"sub": "ann", "email": "ceo@b"}, {"sub": "ann", "email": "a@b", "email_verified": True}
    )

    assert person_of(claims, by_other).email is None
    assert person_of(both, READER).email is None


def test_a_session_keeps_the_claims_about_the_person_alone():
    """Claims about the token would say less and less, and a nonce is nobody's business."""
    claims = {
        "iss": ISSUER, "sub": "ann", "aud": CLIENT, "exp": 2, "iat": 1, "nonce": "n", "at_hash": "h",
        "sid": "s", "azp": CLIENT, "tenant": "acme", "roles": ["a", "b"], "amr": ["pwd", "otp", 7],
        "auth_time": 12,
    }  # fmt: skip

    person = person_of(claims, READER)

    assert {"sub", "tenant", "roles", "amr", "auth_time"} == set(person.claims)
    assert (("a", "b"), ("pwd", "otp"), 12.0) == (person.roles, person.amr, person.auth_time)


def test_k6_a_flag_of_the_token_vouches_for_no_address_of_userinfo():
    """K6: `email_verified` is about the address beside which it stands."""
    token = {"sub": "ann", "email_verified": True}
    told = {"sub": "ann", "email": "x@y", "email_verified": False}
    assert {"sub": "ann", "email": "x@y", "email_verified": False} == merged(token, told)
    assert {"sub": "ann", "email": "x@y"} == merged(token, {"sub": "ann", "email": "x@y"})


def test_userinfo_about_somebody_else_is_not_used():
    """Core §5.3.2; what both say, the signed token says."""
    token = {"sub": "ann", "name": "Ann"}

    assert {"sub": "ann", "name": "Ann", "email": "a@b"} == merged(
        token, {"sub": "ann", "name": "Eve", "email": "a@b"}
    )
    for userinfo in ({"sub": "eve"}, {}, {"sub": 7}):
        with pytest.raises(ProviderInvalid):
            merged(token, userinfo)


def test_a_clients_name_and_secret_are_form_encoded():
    """RFC 6749 §2.3.1: a colon or percent in them must not be read as anything else."""
    text = basic_credentials("a:b", "p%+ w")

    assert "a%3Ab:p%25%2B+w" == base64.b64decode(text.removeprefix("Basic ")).decode()
