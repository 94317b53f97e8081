from __future__ import annotations

import pytest

from proxy.config.models import ClaimRule, CorsConfig, MatchConfig, RolesRule
from proxy.config.route_models import parse_method, parse_path_pattern, parse_prefix


def route(reading, text="", environment=None):
    """Return a route to the shop, by the scheme `web` and with `text` added."""
    base = reading.good.replace("auth: web", text or "auth: web")
    return reading.config(base, environment).routes[0]


def test_the_defaults_are_those_of_the_reference(reading):
    """A route needs to say who may pass, and where to."""
    found = route(reading)

    assert (["web"], "first", False, "shop", None) == (
        found.auth,
        found.both,
        found.same_subjects,
        found.upstream,
        found.strip_prefix,
    )
    assert (None, "refuse", None, [], [], ["websocket"], "private") == (
        found.forward_credentials,
        found.cross_site,
        found.cors,
        found.allow_paths,
        found.pass_headers,
        found.upgrades,
        found.cache,
    )
    assert MatchConfig().model_dump() == {"host": None, "path": "/**", "methods": None}
    assert ({}, None, False, False) == (
        found.identity.headers,
        found.identity.preset,
        found.identity.assertion,
        found.identity.bearer,
    )


def test_auth_is_written_out(reading):
    """`none` is public; one name or several name schemes; absent or empty is a mistake."""
    assert route(reading, "auth: none").auth == []
    assert route(reading, "auth: [web]").auth == ["web"]
    for text, expected in (
        ("name: x", "routes[0].auth: is required"),
        ("auth: []", "routes[0].auth: write `auth: none`"),
        ("auth: [web, none]", "routes[0].auth: write `auth: none`"),
        ("auth: ''", "routes[0].auth: must not be empty"),
        ("auth: ~", "routes[0].auth: the value is missing"),
        ("auth: false", "routes[0].auth: must be text"),
        ("auth: [web, web]", "routes[0].auth: item 2 repeats"),
    ):
        found = reading.mistakes(reading.good.replace("auth: web", text))

        assert len(found) == 1
        assert expected in found[0]


def test_a_required_role_is_never_silently_nothing(reading):
    """An empty rule would be read as "nobody" by some and as "anybody" by others."""
    for text in ("{}", "[]", "{roles: []}", "{scopes: []}", "{roles: {}}", "{claims: {a: []}}"):
        found = reading.mistakes(reading.good.replace("auth: web", f"auth: web, require: {text}"))
        if text != "{}":
            assert len(found) == 1, text


def test_rules_have_one_form(reading):
    """A list of roles is any of them; a claim's value is any of one."""
    found = route(
        reading,
        "auth: web, require: {roles: [a, b], scopes: [s], claims: {t: acme, 'a.b': 7, c: {all: [true, x]}}}",
    ).require

    assert RolesRule(any=["a", "b"]) == found.roles
    assert found.scopes == ["s"]
    assert {
        "t": ClaimRule(any=["acme"]),
        "a.b": ClaimRule(any=[7]),
        "c": ClaimRule(all=[True, "x"]),
    } == found.claims
    every = route(reading, "auth: web, require: {roles: {all: [a, b]}}").require.roles
    assert RolesRule(all=["a", "b"]) == every


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("require: {roles: admin}", ".require.roles: must be a list of roles"),
        ("require: {roles: {any: [a], all: [b]}}", ".require.roles: must be {any: […]} or"),
        ("require: {roles: {most: [a]}}", ".require.roles.most: unknown key"),
        ("require: {roles: [7]}", ".require.roles[0]: must be text"),
        ("require: {roles: [a, a]}", ".require.roles: item 2 repeats"),
        ("require: {claims: {a: [b]}}", ".require.claims.a: write {any: […]} or {all: […]}"),
        ("require: {claims: {a: {any: []}}}", ".require.claims.a.any: must not be empty"),
        ("require: {claims: {a: {any: [{}]}}}", ".require.claims.a.any[0]: must be a text"),
        ("require: {mfa_within: 15}", ".require.mfa_within: must be a duration"),
        ("require: {login_within: 0s}", ".require.login_within: must be longer than nothing"),
        ("require: []", ".require: must be a mapping"),
        ("identity: {preset: nginx}", ".identity.preset: must be remote-user"),
        ("identity: {headers: {'X Y': a}}", '.identity.headers."X Y": must be one word'),
        ("identity: {headers: {X: 7}}", ".identity.headers.X: must be text"),
        ("identity: {bearer: yes}", ".identity.bearer: must be true or false (yes"),
        ("both: any", ".both: must be first, same_subject or refuse"),
        ("cross_site: strict", ".cross_site: must be refuse, same_site or allow"),
        ("cross_site: []", ".cross_site: must not be empty"),
        ("cross_site: ['https://a/']", ".cross_site[0]: must be an origin"),
        ("cors: any", ".cors: must be upstream"),
        ("cors: {}", ".cors.origins: is required"),
        ("cors: {origins: ['*']}", ".cors.origins[0]: must be an origin"),
        ("cors: {origins: ['https://a'], headers: all}", ".cors.headers: must be any"),
        ("allow_paths: [dots]", ".allow_paths[0]: must be encoded_slash"),
        ("upgrades: [h2c]", ".upgrades[0]: HTTP and TLS themselves are never upgraded to"),
        ("upgrades: [HTTP/2.0]", ".upgrades[0]: HTTP and TLS"),
        ("upgrades: ['a b']", ".upgrades[0]: must be a protocol's name"),
        ("upgrades: websocket", ".upgrades: must be a list"),
        ("pass_headers: ['a b']", ".pass_headers[0]: must be one word"),
        ("strip_prefix: /", ".strip_prefix: must be a plain path"),
        ("cache: public", ".cache: must be private or shared"),
        ("mode: watch", ".mode: must be enforce"),
        ("mode: {report: {}}", ".mode.report.until: is required"),
        (
            "mode: {report: {until: 31.1.2027}}",
            ".mode.report.until: must be a day of the calendar, such as 2027-01-31",
        ),
        (
            "mode: {report: {until: 2027-02-30}}",
            ".mode.report.until: must be a day of the calendar, such as 2027-01-31",
        ),
        (
            "mode: {report: {until: 9999-12-31}}",
            ".mode.report.until: must be a day after which there is another one",
        ),
        ("dpop: never", ".dpop: must be optional, required or nonce"),
        ("methods: [GET]", ".methods: unknown key here; it belongs to `routes[].match`"),
    ],
)
def test_what_does_not_fit_is_told(reading, text, expected):
    """One mistake, one sentence, at its key."""
    found = reading.mistakes(reading.good.replace("auth: web", f"auth: web, {text}"))

    assert len(found) == 1, found
    assert found[0].split(" ", 1)[1].startswith("routes[0]" + expected), found


def test_words_and_lists_are_kept_apart(reading):
    """cross_site and cors are a word, or say more."""
    assert route(reading, "auth: web, cross_site: ['https://A:443']").cross_site == ["https://a"]
    assert route(reading, "auth: web, cors: upstream").cors == "upstream"
    cors = route(reading, "auth: web, cors: {origins: ['https://a'], headers: [X-Y]}").cors
    assert isinstance(cors, CorsConfig)
    assert (["https://a"], False, ["X-Y"], 600.0) == (
        cors.origins,
        cors.credentials,
        cors.headers,
        cors.max_age,
    )
    assert route(reading, "auth: web, upgrades: [WebSocket]").upgrades == ["websocket"]


@pytest.mark.parametrize(
    "path",
    ["/", "/**", "/a", "/a/", "/a/**", "/{x}", "/a/{x_1}/b", "/%61", "/a b", "/é", "/a;b", "/a%25"],
)
def test_path_patterns_are_read(path):
    """Literals, `{x}` for a segment, a final `**`."""
    assert path == parse_path_pattern(path)


@pytest.mark.parametrize(
    "path",
    ["", "a", "a/**", "//", "/a//b", "/**/a", "/a*", "/*", "/{}", "/{x", "/x}", "/a{x}", "/{x}b",
     "/{1}", "/.", "/..", "/a/../b", "/%2e%2E/b", "/a%2Fb", "/a%00", "/%zz", "/a%", "/a?b", "/a#b",
     "/" + "a/" * 65, 7, "/a\n"],
)  # fmt: skip
def test_what_can_never_match_is_no_pattern(path):
    """A pattern that no clean path matches would be a route that protects nothing."""
    with pytest.raises(ValueError, match=r"path|must|segment|followed|never"):
        parse_path_pattern(path)


def test_patterns_are_those_that_the_router_compiles():
    """What is accepted here, with a place in the file, is accepted by the router too."""
    from proxy.core.patterns import parse_pattern  # noqa: PLC0415 - of another layer

    for path in ("/", "/**", "/a/{x}/**", "/%61/b", "/a/", "/{x_1}", "/a%25", "/a;b"):
        assert parse_pattern(parse_path_pattern(path))


def test_a_prefix_is_a_plain_path():
    """What is cut off is literal, and what is left starts with a slash."""
    assert parse_prefix("/api/v1") == "/api/v1"
    for prefix in ("/", "/api/", "/api/**", "/{x}", "api"):
        with pytest.raises(ValueError, match=r"must be a plain path|a path"):
            parse_prefix(prefix)


def test_methods_are_upper_case():
    """P3: CONNECT and TRACE are never forwarded."""
    assert parse_method("PATCH") == "PATCH"
    for method in ("get", "", "G T", "CONNECT", "TRACE", "*", 7, "É"):
        with pytest.raises(ValueError, match=r"must|never"):
            parse_method(method)


def test_an_absent_match_is_every_request(reading):
    """Everything about a match is optional."""
    assert route(reading, "auth: web").match.path == "/**"
    text = reading.good.replace("match: {path: /**}, ", "")
    assert MatchConfig() == reading.config(text).routes[0].match


@pytest.mark.parametrize("name", ["h2c", "H2C", "h2", "HTTP/2.0", "tls/1.3"])
def test_f4_http_itself_is_no_protocol_to_change_to(reading, name):
    """F4: No route can name HTTP/2 or TLS among its upgrades, however it is spelt."""
    (mistake,) = reading.mistakes(
        reading.good.replace("auth: web", f"auth: web, upgrades: ['{name}']")
    )

    assert ".upgrades[0]: HTTP and TLS themselves are never upgraded to" in mistake
