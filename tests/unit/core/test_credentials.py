from __future__ import annotations

import base64
import json

import pytest

from proxy.core.credentials import (
    MAX_TOKEN_BYTES,
    authorization_scheme,
    basic_password,
    bearer_token,
    claimed_issuers,
    query_parameter,
    remove_query_parameter,
    unverified_issuer,
)


def token_saying(payload):
    """Return an unsigned-looking token with `payload` (bytes or members) in it."""
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return b"e30." + base64.urlsafe_b64encode(raw).rstrip(b"=") + b".c2ln"


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (b"Bearer abc", "bearer"),
        (b"bEaReR", "bearer"),
        (b"Bearer\tabc", "bearer"),
        (b"Basic dTpw", "basic"),
        (b"AWS4-HMAC-SHA256 Credential=x", "aws4-hmac-sha256"),
        (b"", None),
        (b"B\xc3\xa4rer abc", None),
        (b"a,b c", None),
    ],
)
def test_the_kind_of_an_authorization_is_read(value, kind):
    """The scheme is compared without case; what is no token names none."""
    assert kind == authorization_scheme(value)


@pytest.mark.parametrize(
    ("value", "token"),
    [
        (None, None),
        (b"", None),
        (b"Basic dTpw", None),
        (b"Bearerabc", None),
        (b"Bearer=abc", None),
        (b"Bearer abc.def.ghi", b"abc.def.ghi"),
        (b"BEARER   abc", b"abc"),
        (b"Bearer\tabc", b"abc"),
        (b"Bearer", b""),
        (b"Bearer ", b""),
        (b"Bearer a b", b"a b"),
    ],
)
def test_a_bearer_is_what_stands_behind_its_name(value, token):
    """Another kind is absent; a bad bearer is there, for its scheme to reject."""
    assert token == bearer_token(value)


@pytest.mark.parametrize(
    ("value", "password"),
    [
        (None, None),
        (b"Bearer abc", None),
        (b"Basic " + base64.b64encode(b"git:tok.en"), b"tok.en"),
        (b"basic " + base64.b64encode(b":tok:en"), b"tok:en"),
        (b"Basic " + base64.b64encode(b"token"), b""),
        (b"Basic " + base64.b64encode(b"token:"), b""),
        (b"Basic", b""),
        (b"Basic !!!", b""),
        (b"Basic dTp", b""),
        (b"Basic dTpwdTpw\xff", b""),
    ],
)
def test_the_password_of_basic_is_a_credential(value, password):
    """What is no user and password opens nothing, and is not absent either."""
    assert password == basic_password(value)


@pytest.mark.parametrize(
    ("query", "value"),
    [
        (None, None),
        (b"", None),
        (b"a=1", None),
        (b"token=abc", b"abc"),
        (b"a=1&token=a%2Eb&c", b"a.b"),
        (b"%74oken=abc", b"abc"),
        (b"token=abc&token=%61bc", b"abc"),
        (b"token=abc&token=abd", b""),
        (b"token=abc&%74oken=abd", b""),
        (b"token", b""),
        (b"xtoken=1&token2=1&a=token=1", None),
    ],
)
def test_a_query_credential_is_read_once(query, value):
    """Two different values are the empty one, which opens nothing."""
    assert value == query_parameter(query, "token")


@pytest.mark.parametrize(
    ("query", "left"),
    [
        (None, None),
        (b"", b""),
        (b"a=1&b=%20+&c", b"a=1&b=%20+&c"),
        (b"&&a=1&", b"&&a=1&"),
        (b"token=x", None),
        (b"token=x&a=1", b"a=1"),
        (b"a=1&token=x", b"a=1"),
        (b"a=%31&token=x&b=2;c", b"a=%31&b=2;c"),
        (b"a=1&t%6fken=x&token=y&token", b"a=1"),
        (b"a=1&+token=x&token%20=y&token[]=z&token%5Ba%5D=z", b"a=1"),
        (b"a=1;token=x;b=2", b"a=1;b=2"),
        (b"token2=1&xtoken=2", b"token2=1&xtoken=2"),
    ],
)
def test_h6_a_query_credential_is_taken_out_in_every_spelling(query, left):
    """H6: nothing of the credential stays in the target, and nothing else changes."""
    assert left == remove_query_parameter(query, "token")


def test_the_issuer_is_read_without_believing_it():
    """The unverified iss of a signed token is found, also when its base64 is not canonical."""
    payload = b'{"iss": "https://id.example/?\xc3\xbf>"}'
    loose = b"e30." + base64.b64encode(payload) + b"=.c2ln"

    assert unverified_issuer(token_saying({"iss": "https://id.example/"})) == "https://id.example/"
    assert unverified_issuer(loose) == "https://id.example/?\xff>"


def test_an_encrypted_token_names_its_issuer_in_the_header():
    """RFC 7519 §5.3: so that the gate's own is known on its way to others (H6)."""
    header = token_saying({"alg": "dir", "iss": "https://gate.test"}).split(b".")[1]

    assert unverified_issuer(header + b".a.b.c.d") == "https://gate.test"
    assert unverified_issuer(header + b".a.b") is None
    assert unverified_issuer(b"a." + header + b".b.c.d") is None


@pytest.mark.parametrize(
    "token",
    [
        b"",
        b"..",
        b"opaque",
        b"a.b.c.d.e",
        b"e30.%%%.x",
        b"e30.a.x",
        token_saying({}),
        token_saying({"iss": 42}),
        token_saying({"iss": None}),
        token_saying(b"[]"),
        token_saying(b"null"),
        token_saying(b'{"iss": "a", "iss": "b"}'),
        token_saying(b'{"iss": "\\ud800"}'),
        token_saying(b"\xff"),
        token_saying(b"[" * 20_000),
        token_saying(b'{"iss": "' + b"a" * MAX_TOKEN_BYTES + b'"}'),
    ],
)
def test_other_tokens_have_no_issuer(token):
    """Whatever is not a signed token with a text in iss names nobody, and raises nothing."""
    assert unverified_issuer(token) is None


OWN = token_saying({"iss": "https://gate.test"})


@pytest.mark.parametrize(
    "value",
    [
        b"Bearer " + OWN,
        b"Bearer\t" + OWN,
        b"bearer \t " + OWN + b" \t",
        b"Bearer other, " + OWN,
        b"Bearer:" + OWN,
        b"Bearer=" + OWN,
        OWN,
        b"\t" + OWN,
        b"Token " + OWN,
        b"DPoP " + OWN,
        b"JWT\t" + OWN,
        b"B\xc3\xa4rer " + OWN,
        b"Token token=" + OWN,
        b'Token token="' + OWN + b'", nonce="x"',
        b"Basic " + base64.b64encode(b"git:" + OWN),
        b"Basic " + base64.b64encode(OWN + b":"),
        b"Basic\t" + base64.b64encode(b"x:" + OWN).rstrip(b"="),
        b"Basic " + base64.urlsafe_b64encode(b"\xff\xfe:" + OWN),
    ],
)
def test_h6_a_token_is_found_in_every_spelling_of_an_authorization(value):
    """Some server takes a token in each of these forms, so none of them hides its issuer."""
    assert "https://gate.test" in list(claimed_issuers(value))


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"Bearer",
        b"Bearer opaque",
        b"Basic",
        b"Basic YTpi",
        b"Basic !",
        b"Basic YTpiY",
        b"Bearer a.b.c",
        b'Digest username="a.b.c", uri="/x"',
        b"AWS4-HMAC-SHA256 Credential=a/b/c, Signature=0",
    ],
)
def test_an_authorization_without_a_signed_token_claims_no_issuer(value):
    """What is no signed token stays what it is: the application's own business."""
    assert list(claimed_issuers(value)) == []
