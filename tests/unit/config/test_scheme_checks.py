from __future__ import annotations

import pytest

UPSTREAMS = 'upstreams: {shop: {servers: ["http://a"]}}\n'
TOKENS = "tokens: {issuer: 'https://g', audience: shop}\n"
NATIVE = "type: session, format: native"
JSON = "type: session, format: json, cookie: sid, identity: {subject: user.id}"
JWT = "type: jwt, issuer: 'https://i', audience: x"
URL = "keys: {jwks_url: 'https://i/k'}"
SECRET = "s" * 32
ROUTE = "routes: [{auth: none, upstream: shop}]\n"


def messages(reading, schemes, extra="", environment=None):
    """Return what is wrong with `schemes`, without line and column."""
    text = UPSTREAMS + ROUTE + extra + f"schemes: {{{schemes}}}\n"
    return [found.split(" ", 1)[1] for found in reading.mistakes(text, environment)]


def warnings(reading, schemes, extra=""):
    """Return the warnings about `schemes`."""
    return reading.warnings(UPSTREAMS + ROUTE + extra + f"schemes: {{{schemes}}}\n")


def test_keys_of_another_format_are_told(reading):
    """A key that means nothing where it stands is a slip."""
    text = f"a: {{{NATIVE}, prefix: x, store: 'redis://a', identity: {{subject: a}}}}"

    assert messages(reading, text) == [
        f"schemes.a.{key}: is for the sessions of applications only, not for `format: native`"
        for key in ("prefix", "store", "identity")
    ]
    found = messages(reading, f"a: {{{JSON}, prefix: s, lifetime: 1h, idle_timeout: 1m}}")
    assert [line.split(": ")[0] for line in found] == [
        "schemes.a.lifetime",
        "schemes.a.idle_timeout",
    ]


def test_json_sessions_say_cookie_and_identity(reading):
    """S12: without a field that says whose it is, a record opens nothing."""
    assert messages(reading, "a: {type: session, format: json, prefix: s}") == [
        "schemes.a.cookie: is required with `format: json`",
        "schemes.a.identity: is required with `format: json`",
    ]


def test_an_idle_time_beyond_the_lifetime_is_a_warning(reading):
    """It never takes effect."""
    found = warnings(reading, f"a: {{{NATIVE}, lifetime: 10m}}")

    assert found == [
        "schemes.a.idle_timeout: is longer than lifetime, which ends the session first"
    ]


def test_a_native_cookie_has_one_reader(reading):
    """What one scheme sets, another must not take for its own."""
    for other in (
        f"b: {{{NATIVE}}}",
        f"b: {{{JSON.replace('sid', '__Host-sid')}, prefix: s}}",
        f"b: {{{JWT}, {URL}, from: [{{cookie: __Host-sid}}]}}",
    ):
        found = messages(reading, f"a: {{{NATIVE}}}, {other}")

        assert "schemes.a.cookie: scheme `b` reads this cookie too" in found
    assert messages(reading, f"a: {{{NATIVE}}}, b: {{{NATIVE}, cookie: __Host-b}}") == []


def test_a_cookies_prefix_is_written_as_browsers_compare_it(reading):
    """A prefix in other letters promises nothing; none at all is a warning."""
    assert messages(reading, f"a: {{{NATIVE}, cookie: __host-sid}}") == [
        "schemes.a.cookie: browsers read this as __Host-; write it so"
    ]
    assert "without __Host-" in warnings(reading, f"a: {{{NATIVE}, cookie: sid}}")[0]
    assert warnings(reading, f"a: {{{NATIVE}, cookie: __Secure-sid}}") == []


REDIS = "secrets: {key: " + "ab" * 32 + "}\nstore: {url: 'redis://r:6379/1'}\n"


@pytest.mark.parametrize(
    "scheme",
    [
        "",
        "prefix: 'latchgate:'",
        "prefix: 'latchgate:session:'",
        "prefix: latch",
        "store: 'redis://r/1'",
        "store: 'redis://u:p@R:6379/1', prefix: l",
    ],
)
def test_s12_foreign_keys_never_overlap_the_gates(reading, scheme):
    """S12: no cookie can name a key of the gate's own."""
    found = messages(reading, f"a: {{{JSON}{', ' if scheme else ''}{scheme}}}", REDIS)

    assert ["schemes.a.prefix"] == [line.split(": ")[0] for line in found]
    assert "overlaps store.prefix" in found[0]


@pytest.mark.parametrize(
    "scheme",
    ["prefix: 'sess:'", "store: 'redis://r/2'", "store: 'redis://s/1'", "store: 'unix:///r?db=1'"],
)
def test_s12_another_prefix_or_database_is_enough(reading, scheme):
    """S12: an application's keys are apart by their prefix, or by where they are."""
    assert messages(reading, f"a: {{{JSON}, {scheme}}}", REDIS) == []


def test_s12_this_machine_has_several_names(reading):
    """S12: localhost and 127.0.0.1 are one store."""
    extra = REDIS.replace("//r:", "//localhost:")
    found = messages(reading, f"a: {{{JSON}, store: 'redis://127.0.0.1/1'}}", extra)

    assert "overlaps" in found[0]


def test_no_application_has_its_sessions_in_the_embedded_store(reading):
    """It is the gate's own, and nobody else can log in to it."""
    assert messages(reading, f"a: {{{JSON}, store: 'embedded:x'}}") == [
        "schemes.a.store: the embedded store is the gate's own"
    ]
    assert "no application can reach" in warnings(reading, f"a: {{{JSON}, prefix: s}}")[0]


@pytest.mark.parametrize(
    "keys",
    ["{}", "{file: a, secret: b}", "{jwks_url: 'https://i/k', local: true}", "{http: accept}"],
)
def test_keys_come_from_one_place(reading, keys):
    """K1: exactly one source of keys."""
    found = messages(reading, f"a: {{{JWT}, keys: {keys}}}", TOKENS)

    assert "schemes.a.keys: exactly one of these must be given" in found[0]


def test_k3_keys_are_fetched_over_tls(reading):
    """K3: https, or this machine; what `http: accept` accepts is a warning of `check`."""
    plain = "jwks_url: 'http://i/k'"

    assert messages(reading, f"a: {{{JWT}, keys: {{{plain}}}}}") == [
        "schemes.a.keys.jwks_url: must be https:// (or write `http: accept` in `keys`)"
    ]
    for url in ("http://127.0.0.1:1/k", "http://localhost/k", "http://[::1]/k", "HTTPS://i/k"):
        assert messages(reading, f"a: {{{JWT}, keys: {{jwks_url: '{url}'}}}}") == []
    assert "without TLS" in warnings(reading, f"a: {{{JWT}, keys: {{{plain}, http: accept}}}}")[0]
    assert messages(reading, f"a: {{{JWT}, keys: {{jwks_url: 'http://127.0.0.1.evil/k'}}}}")


@pytest.mark.parametrize(
    ("issuer", "expected"),
    [
        ("https://i", None),
        ("http://127.0.0.1:8000/realm", None),
        ("http://i", "must be https://"),
        ("i", "must be a URL with"),
        ("https://i?x=1", "has no query"),
    ],
)
def test_k3_discovery_needs_an_issuer_that_is_a_safe_url(reading, issuer, expected):
    """K3: the discovery document lies below the issuer."""
    found = messages(
        reading, f"a: {{type: jwt, issuer: '{issuer}', audience: x, keys: {{discovery: true}}}}"
    )

    assert (expected is None) == (found == [])
    assert expected is None or found[0].startswith(f"schemes.a.issuer: {expected}")


def test_remote_settings_are_for_remote_keys(reading):
    """A shared secret never goes stale."""
    text = f"a: {{{JWT}, algorithms: [HS256], keys: {{secret: {SECRET}, max_stale: 1h}}}}"

    assert messages(reading, text) == [
        "schemes.a.keys.max_stale: is for jwks_url and discovery only"
    ]


@pytest.mark.parametrize(
    ("algorithms", "keys", "expected"),
    [
        ("[HS256, RS256]", URL, "symmetric (HS…) and asymmetric algorithms never go together"),
        ("[HS256, ES256]", f"keys: {{secret: {SECRET}}}", "symmetric (HS…) and asymmetric"),
        ("[RS256]", f"keys: {{secret: {SECRET}}}", "`keys.secret` is for HS256"),
        ("[HS256]", URL, "HS256, HS384 and HS512 need `keys.secret`"),
    ],
)
def test_k1_algorithms_fit_each_other_and_the_keys(reading, algorithms, keys, expected):
    """K1 (field.md §3 #36): a public key is never taken for a shared secret."""
    found = messages(reading, f"a: {{{JWT}, algorithms: {algorithms}, {keys}}}")

    assert len(found) == 1
    assert found[0].startswith(f"schemes.a.algorithms: {expected}")


def test_k1_a_secret_needs_its_algorithms_written(reading):
    """K1: the default algorithms are asymmetric."""
    found = messages(reading, f"a: {{{JWT}, keys: {{secret: {SECRET}}}}}")

    assert "write `algorithms: [HS256]`" in found[0]
    assert messages(reading, f"a: {{{JWT}, algorithms: [HS512], keys: {{secret: {SECRET}}}}}") == []


def test_k1_a_short_secret_is_told_without_being_shown(reading):
    """K1: 32 bytes at least, counted in UTF-8."""
    for secret, count in (("hunter2", 1), ("s" * 31, 1), ("é" * 16, 0)):
        found = messages(reading, f"a: {{{JWT}, algorithms: [HS256], keys: {{secret: {secret}}}}}")

        assert count == len(found)
        assert secret not in "".join(found)


def test_issuer_and_audience_are_required(reading):
    """field.md §3 #26: a token of anybody's, or for anybody, opens nothing unless it is written out."""
    assert messages(reading, f"a: {{type: jwt, {URL}}}") == [
        "schemes.a.issuer: is required: the `iss` that the tokens must have",
        "schemes.a.audience: is required: one or several; `audience: any` accepts tokens for anybody",
    ]
    assert messages(reading, f"a: {{type: jwt, issuer: i, audience: any, {URL}}}") == []
    assert messages(reading, f"a: {{type: jwt, issuer: i, audience: [], {URL}}}")


def test_k4_no_scheme_takes_assertions(reading):
    """K4: the issuer of a gate's assertions, this one's or another's, is no issuer of tokens."""
    for issuer in ("https://g/assertion", "https://other/assertion/"):
        found = messages(reading, f"a: {{type: jwt, issuer: '{issuer}', audience: x, {URL}}}")

        assert "schemes.a.issuer: is the issuer of a gate's assertions" in found[0]


def test_local_keys_need_tokens(reading):
    """The gate makes keys where it issues tokens."""
    assert messages(reading, "a: {type: jwt, keys: {local: true}}")[-1] == (
        "schemes.a.keys.local: needs the section `tokens`, which makes the gate's own keys"
    )
    assert messages(reading, "a: {type: jwt, keys: {local: true}}", TOKENS) == []
    found = messages(reading, "a: {type: jwt, keys: {local: true}}", "tokens: {issuer: 7}\n")
    assert found == [
        "tokens.audience: is required",
        "tokens.issuer: must be text; put it in quotes",
    ]


def test_local_schemes_accept_what_the_gate_issues(reading):
    """A scheme that refuses every token of its own gate is a mistake."""
    text = (
        "a: {type: jwt, issuer: x, audience: [y], algorithms: [ES256], max_lifetime: 5m,"
        " keys: {local: true}}"
    )

    assert messages(reading, text, TOKENS) == [
        "schemes.a.issuer: differs from tokens.issuer, whose tokens these are",
        "schemes.a.audience: does not contain tokens.audience",
        "schemes.a.algorithms: does not contain tokens.algorithm",
        "schemes.a.max_lifetime: is shorter than tokens.access",
    ]


def test_tokens_that_cannot_be_taken_back_are_short_lived(reading):
    """`revocation: none` says that nobody looks, so 15 minutes are the most."""
    for life, count in (("", 1), (", max_lifetime: 16m", 1), (", max_lifetime: 15m", 0)):
        found = messages(reading, f"a: {{{JWT}, {URL}, revocation: none{life}}}")

        assert count == len(found)
        assert not found or "15m at most" in found[0]


def test_tokens_are_read_from_headers_of_their_own(reading):
    """H1, H3: what the gate or the protocol uses otherwise is no source."""
    text = (
        f"a: {{{JWT}, {URL}, from: [{{header: Authorization}}, {{header: X-T}}, {{header: Host}}]}}"
    )

    assert [line.split(": ")[0] for line in messages(reading, text)] == [
        "schemes.a.from[0]",
        "schemes.a.from[2]",
    ]


def test_s10_signing_in_a_shared_store_needs_a_key(reading):
    """S10: whoever can read the store cannot sign; the embedded one has a key beside it."""
    store = "store: {url: 'redis://r'}\n"

    assert messages(reading, "a: {type: jwt, keys: {local: true}}", TOKENS + store) == [
        "tokens: needs `secrets: {key: …}`, since its secrets are kept in a store of others"
    ]
    assert messages(reading, f"a: {{{NATIVE}}}", store) == []
    text = (
        UPSTREAMS
        + store
        + "server: {public_url: 'https://g'}\nschemes: {a: {type: session, format: native}}\n"
        + "routes: [{auth: a, upstream: shop, identity: {assertion: true}}]\n"
    )
    assert "routes[0].identity.assertion: needs `secrets" in reading.mistakes(text)[0]


def test_nonces_of_gates_on_one_store_need_a_key(reading):
    """Without one no gate would know the nonces of another; the embedded store has one beside it."""
    text = (
        UPSTREAMS
        + "store: {url: 'redis://r'}\n"
        + f"schemes: {{a: {{{JWT}, algorithms: [RS256], {URL}}}}}\n"
        + "routes: [{auth: a, upstream: shop, dpop: nonce}]\n"
    )

    (found,) = reading.mistakes(text)
    assert "routes[0].dpop: needs `secrets: {key: …}`, by which every gate knows" in found
    assert reading.mistakes(text.replace("redis://r", "embedded:s")) == []
    assert reading.mistakes(text.replace("dpop: nonce", "dpop: required")) == []


def test_s10_one_time_passwords_in_a_shared_store_need_a_key(reading):
    """S10: where they are asked for in so many words; else there are none without a key."""
    text = (
        UPSTREAMS
        + "store: {url: 'redis://r'}\nschemes: {a: {type: session, format: native}}\n"
        + "routes: [{auth: a, upstream: shop}]\nlogin: {scheme: a%s}\n"
    )

    assert reading.mistakes(text % "") == []
    (found,) = reading.mistakes(text % ", otp: {at_login: required}")
    assert "login.otp: needs `secrets: {key: …}`, since its secrets are kept" in found


def test_s10_a_key_that_is_none_is_told(reading):
    """S10: each of several, at its place, and never shown."""
    extra = f"secrets: {{key: ['{'ab' * 32}', hunter2]}}\n"

    found = messages(reading, f"a: {{{NATIVE}}}", extra)
    assert len(found) == 1
    assert found[0].startswith("secrets.key[1]: must be 32 random bytes, as 64 hex digits")


def test_what_was_cut_is_not_told_again(reading):
    """A wrong value is one mistake, and what would follow from its absence is none."""
    for text in (
        "type: jwt, issuer: 7, audience: x, keys: {jwks_url: 'https://i/k'}",
        "type: jwt, isuer: i, audience: x, keys: {jwks_url: 'https://i/k'}",
        "type: jwt, issuer: i, audience: {}, keys: {jwks_url: 'https://i/k'}",
        "type: jwt, issuer: i, audience: x, keys: {jwks_url: 7}",
        "type: jwt, issuer: i, audience: x, keys: {jwks: 'https://i/k'}",
        "type: jwt, issuer: i, audience: x, algorithms: [RS255], keys: {secret: " + SECRET + "}",
        "type: jwt, issuer: i, audience: x, algorithms: [HS256], keys: {secret: {file: gone}}",
        "type: jwt, issuer: i, audience: x, revocation: none, max_lifetime: 10, " + URL,
        "type: session, format: json, cookie: 7, prefix: s, identity: {subject: a}",
        "type: session, format: json, cookie: a, prefix: s, identity: {sub: a}",
    ):
        assert len(messages(reading, f"a: {{{text}}}")) == 1, text
