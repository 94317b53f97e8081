from __future__ import annotations

import pytest

from proxy.config.models import JwtSchemeConfig, SessionSchemeConfig
from proxy.config.scheme_models import TokenSource, parse_source

API = "type: jwt, issuer: 'https://i', audience: x, keys: {jwks_url: 'https://i/k'}"


def test_session_schemes_have_the_defaults_of_the_reference(reading):
    """A native scheme needs its type and format alone."""
    web = reading.config(reading.good).schemes["web"]

    assert isinstance(web, SessionSchemeConfig)
    assert ("__Host-sid", 1_800.0, 43_200.0, [], None) == (
        web.cookie,
        web.idle_timeout,
        web.lifetime,
        web.issued_by,
        web.identity,
    )


def test_jwt_schemes_have_the_defaults_of_the_reference(reading):
    """Issuer, audience and keys must be said."""
    api = reading.config(f"schemes: {{api: {{{API}}}}}\n").schemes["api"]

    assert isinstance(api, JwtSchemeConfig)
    assert (["x"], ["RS256", "ES256", "EdDSA"], [TokenSource("bearer")]) == (
        api.audience,
        api.algorithms,
        api.from_,
    )
    assert (30.0, 86_400.0, "store", 86_400.0, "refuse") == (
        api.leeway,
        api.max_lifetime,
        api.revocation,
        api.keys.max_stale,
        api.keys.http,
    )
    assert {
        "subject": "sub",
        "email": "email",
        "name": "name",
        "roles": "roles",
        "scopes": "scope",
    } == api.identity.model_dump()


def test_one_key_of_the_mapping_leaves_the_others(reading):
    """Who has roles elsewhere still has the subject where it always is; none switches one off."""
    text = f"schemes: {{api: {{{API}, identity: {{roles: realm.roles, email: none}}}}}}\n"
    identity = reading.config(text).schemes["api"].identity

    assert ("sub", "realm.roles", None, "scope") == (
        identity.subject,
        identity.roles,
        identity.email,
        identity.scopes,
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("bearer", TokenSource("bearer")),
        ("basic", TokenSource("basic")),
        ({"cookie": "jwt"}, TokenSource("cookie", "jwt")),
        ({"header": "X-Token"}, TokenSource("header", "X-Token")),
        ({"query": "access token"}, TokenSource("query", "access token")),
    ],
)
def test_a_token_is_looked_for_in_a_place(value, expected):
    """bearer, basic, a cookie, a header or a query parameter."""
    assert expected == parse_source(value)
    assert parse_source(expected) is expected


@pytest.mark.parametrize(
    "value",
    ["Bearer", "cookie", {}, {"cookie": "a", "header": "b"}, {"body": "x"}, {"cookie": 7}, 7, None,
     {"cookie": "a b"}, {"header": "a:b"}, {"cookie": ""}, {"query": ""}, {"header": "é"}],
)  # fmt: skip
def test_what_is_no_place_is_refused(value):
    """A place has a kind and, but for bearer and basic, a name that can be one."""
    with pytest.raises(ValueError, match="must"):
        parse_source(value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7", ": must be a mapping of keys"),
        ("{}", ": `type` must be session, jwt or mtls"),
        ("{type: basic}", ": `type` must be session, jwt or mtls"),
        ("{type: [jwt]}", ": `type` must be session, jwt or mtls"),
        ("{type: session}", ".format: is required"),
        ("{type: session, format: rack}", ".format: must be native, json, "),
        (
            "{type: session, format: nativ}",
            ".format: must be native, json, ",
        ),
        ("{type: session, format: native, cookie: 'a b'}", ".cookie: must be one word"),
        ("{type: session, format: native, lifetime: 12}", ".lifetime: must be a duration"),
        ("{type: session, format: native, issuer: x}", ".issuer: unknown key"),
        (
            "{type: session, format: json, cookie: a, prefix: s, identity: {}}",
            ".identity.subject: is required",
        ),
        (
            "{type: session, format: json, cookie: a, prefix: 'a b', identity: {subject: a}}",
            ".prefix",
        ),
        (
            "{type: session, format: json, cookie: a, prefix: s, secrets: [x], identity: {subject: a}}",
            ".secrets",
        ),
        (f"{{{API}, algorithms: [none]}}", ".algorithms[0]: must be HS256"),
        (f"{{{API}, algorithms: []}}", ".algorithms: must not be empty"),
        (f"{{{API}, algorithms: [RS256, RS256]}}", ".algorithms: item 2 repeats an earlier one"),
        (f"{{{API}, algorithms: RS256}}", ".algorithms: must be a list"),
        (f"{{{API}, leeway: '30'}}", ".leeway: must be a duration"),
        (f"{{{API}, from: [cookie]}}", ".from[0]: must be bearer, basic, {cookie: name}"),
        (f"{{{API}, from: []}}", ".from: must not be empty"),
        (f"{{{API}, from_: [bearer]}}", ".from_: unknown key; did you mean `from`?"),
        (f"{{{API}, revocation: never}}", ".revocation: must be store or none"),
        (f"{{{API}, cookie: sid}}", ".cookie: unknown key"),
        ("{type: jwt, issuer: i, audience: x}", ".keys: is required"),
        ("{type: jwt, issuer: i, audience: 7, keys: {file: f.pem}}", ".audience: must be text"),
    ],
)
def test_what_does_not_fit_is_told(reading, text, expected):
    """One mistake, one sentence, at its key."""
    (reading.base / "f.pem").write_text("x")
    found = reading.mistakes(f"schemes: {{a: {text}}}\n")

    assert len(found) == 1, found
    assert found[0].split(" ", 1)[1].startswith("schemes.a" + expected)


def test_a_secret_may_stand_in_the_file_or_beside_it(reading):
    """`{file: …}` of keys is a public key, `{file: …}` of a secret is the secret."""
    (reading.base / "s").write_text("x" * 40 + "\n")
    text = """\
        schemes:
          a: {type: jwt, issuer: i, audience: any, algorithms: [HS256], keys: {secret: {file: s}}}
        """
    keys = reading.config(text).schemes["a"].keys

    assert keys.secret.reveal() == "x" * 40
    assert keys.file is None
