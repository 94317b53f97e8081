"""What OAuth clients say of themselves (RFC 6749)."""

from __future__ import annotations

import base64
from urllib.parse import quote_plus

import pytest

from proxy.core.oauth import (
    Client,
    OAuthRefused,
    authenticate,
    claimed_client,
    required,
    scopes_of,
)

SECRET = "0123456789abcdef0123456789abcdef"
OLDER = "fedcba9876543210fedcba9876543210"
CLIENTS = {
    "spa": Client.make("spa", [], ["refresh_token"]),
    "backend": Client.make("backend", [SECRET.encode(), OLDER.encode()], ["client_credentials"]),
}


def basic(name, secret):
    pair = f"{quote_plus(name)}:{quote_plus(secret)}".encode()
    return b"Basic " + base64.b64encode(pair)


def proved(authorization=None, **form):
    return authenticate(CLIENTS, claimed_client(authorization, form))


def error_of(authorization=None, **form):
    with pytest.raises(OAuthRefused) as caught:
        proved(authorization, **form)
    return caught.value.error, caught.value.status


@pytest.mark.parametrize("secret", [SECRET, OLDER])
def test_a_secret_may_stand_in_the_header_or_in_the_form(secret):
    """RFC 6749 §2.3.1: both ways; while a secret is replaced both secrets."""
    assert proved(basic("backend", secret)).name == "backend"
    assert proved(client_id="backend", client_secret=secret).name == "backend"
    assert proved(basic("backend", secret), client_id="backend").name == "backend"


def test_a_public_client_says_its_name_alone():
    """RFC 6749 §2.1: it has nothing to prove."""
    assert proved(client_id="spa").is_public
    assert ("invalid_client", 401) == error_of(client_id="spa", client_secret=SECRET)
    assert ("invalid_client", 401) == error_of(basic("spa", SECRET))


def test_names_and_secrets_are_encoded_as_in_a_form():
    """RFC 6749 §2.3.1: signs and colons in them do not move the boundary."""
    secret = "a b:c+d%/ü" * 4
    clients = {"a:b": Client.make("a:b", [secret.encode()], [])}

    assert authenticate(clients, claimed_client(basic("a:b", secret), {})).name == "a:b"


def test_a_secret_in_base64_may_stand_there_as_it_is():
    """Curl and others do not encode: a `+` is then a `+`."""
    secret = "a+b/c=" * 8
    clients = {"backend": Client.make("backend", [secret.encode()], [])}
    plain = b"Basic " + base64.b64encode(f"backend:{secret}".encode())

    for authorization in (plain, basic("backend", secret)):
        assert authenticate(clients, claimed_client(authorization, {})).name == "backend"
    assert secret not in repr(claimed_client(plain, {}))


@pytest.mark.parametrize(
    ("authorization", "form"),
    [
        (None, {}),
        (None, {"client_id": ""}),
        (None, {"client_id": "backend"}),
        (None, {"client_id": "backend", "client_secret": ""}),
        (None, {"client_id": "backend", "client_secret": SECRET[:-1]}),
        (None, {"client_id": "Backend", "client_secret": SECRET}),
        (None, {"client_id": "nobody", "client_secret": SECRET}),
        (None, {"client_id": "nobody"}),
        (basic("backend", ""), {}),
        (basic("", SECRET), {}),
        (basic("backend", SECRET + "x"), {}),
        (b"Basic", {}),
        (b"Basic !!!", {}),
        (b"Basic " + base64.b64encode(b"backend"), {}),
        (b"Basic " + base64.b64encode(b"\xff:x"), {}),
        (b"Bearer x", {"client_id": "spa"}),
        (b"", {"client_id": "spa"}),
    ],
)
def test_who_proves_nothing_is_nobody(authorization, form):
    """RFC 6749 §5.2: invalid_client, and 401."""
    assert ("invalid_client", 401) == error_of(authorization, **form)


@pytest.mark.parametrize(
    ("authorization", "form"),
    [
        (basic("backend", SECRET), {"client_secret": SECRET}),
        (basic("backend", SECRET), {"client_id": "spa"}),
        (None, {"client_secret": SECRET}),
    ],
)
def test_a_client_says_it_in_one_way(authorization, form):
    """RFC 6749 §2.3: more than one way in a request is none."""
    assert ("invalid_request", 400) == error_of(authorization, **form)


def test_secrets_are_kept_as_digests():
    """Nothing that holds clients can show a secret."""
    assert SECRET not in repr(CLIENTS)
    assert SECRET not in repr(claimed_client(None, {"client_id": "a", "client_secret": SECRET}))


def test_scopes_are_narrowed_never_widened():
    """RFC 6749 §3.3 and §6: all that was granted, or a part of it."""
    assert scopes_of(None)(["a", "b"]) == ("a", "b")
    assert scopes_of("")(["a"]) == ("a",)
    assert scopes_of("b b a")(["a", "b", "c"]) == ("b", "a")
    with pytest.raises(OAuthRefused) as caught:
        scopes_of("a d")(["a", "b"])
    assert "invalid_scope" == caught.value.error


@pytest.mark.parametrize("text", [" ", " a", "a ", "a  b", 'a"b', "a\\b", "ä", "a\tb"])
def test_what_is_no_list_of_scopes_is_refused(text):
    """RFC 6749 §3.3: single spaces, printable ASCII."""
    with pytest.raises(OAuthRefused) as caught:
        scopes_of(text)
    assert "invalid_scope" == caught.value.error


def test_a_missing_parameter_is_named():
    """RFC 6749 §3.2: one without a value counts as omitted."""
    assert required({"token": "x"}, "token") == "x"
    for form in ({}, {"token": ""}):
        with pytest.raises(OAuthRefused) as caught:
            required(form, "token")
        assert ("invalid_request", "token is missing") == (
            caught.value.error,
            caught.value.description,
        )
