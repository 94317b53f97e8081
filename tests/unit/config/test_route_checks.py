from __future__ import annotations

from textwrap import dedent

import pytest

from proxy.config.models import Config
from proxy.config.route_checks import origin_of

HEAD = """\
server: {public_url: "https://g"}
upstreams:
  shop: {servers: ["http://a"]}
  other: {servers: ["http://b"]}
tokens: {issuer: "https://t", audience: own}
schemes:
  web: {type: session, format: native}
  old: {type: session, format: json, cookie: sid, prefix: s, identity: {subject: user.id}}
  own: {type: jwt, keys: {local: true}}
  one: {type: jwt, issuer: "https://i1", audience: x, keys: {jwks_url: "https://i1/k"}}
  two: {type: jwt, issuer: "https://i2", audience: x, keys: {jwks_url: "https://i2/k"}}
  tpl: {type: jwt, issuer: "https://i3", audience: x, keys: {jwks_url: "https://i3/k"}, identity: {subject: "{iss}|{sub}"}}
routes:
"""


def texts(*routes):
    """Return a file with `routes`, each to the shop unless it says otherwise."""
    lines = []
    for index, route in enumerate(routes):
        upstream = "" if "upstream:" in route else ", upstream: shop"
        match = "" if "match:" in route else f"match: {{path: /r{index}/**}}, "
        lines.append(f"  - {{{match}{route}{upstream}}}\n")
    return HEAD + "".join(lines)


def messages(reading, *routes):
    """Return what is wrong with `routes`, without line and column."""
    return [found.split(" ", 1)[1] for found in reading.mistakes(texts(*routes))]


def test_report_mode_of_a_public_route_says_nothing(reading):
    """It refuses nobody, so that there is nothing to report; that is a warning, no mistake."""
    mode = "mode: {report: {until: 2099-12-31}}"

    warnings = reading.warnings(texts(f"auth: none, {mode}", f"auth: web, {mode}"))
    assert ["routes[0].mode: says nothing: a public route (`auth: none`) refuses nobody"] == [
        warning for warning in warnings if warning.startswith("routes")
    ]


def test_k6_people_have_an_origin(reading):
    """K6: a token's issuer, tokens.issuer or `local` for native sessions, a foreign scheme's name."""
    config = reading.config(texts("auth: web"))

    assert ["https://t", "old", "https://t", "https://i1"] == [
        origin_of(config, name) for name in ("web", "old", "own", "one")
    ]
    plain = Config.model_validate({"schemes": {"web": {"type": "session", "format": "native"}}})
    assert origin_of(plain, "web") == "local"


def test_a_public_route_asks_nobody(reading):
    """What a public route would require is never looked at, so it is a mistake."""
    found = messages(
        reading,
        "auth: none, require: {roles: [a]}",
        "auth: none, identity: {assertion: true}",
        "auth: none, identity: {headers: {X-A: '{sub}'}}",
        "auth: none, forward_credentials: true",
    )

    assert [line.split(": ")[0] for line in found] == [
        "routes[0].require",
        "routes[1].identity.assertion",
    ]


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        (
            "auth: old, require: {roles: [a]}",
            "routes[0].require.roles: scheme `old` yields no roles",
        ),
        ("auth: [web, old], require: {scopes: [a]}", "routes[0].require.scopes: scheme `old`"),
        ("auth: web, require: {roles: [a], scopes: [b], claims: {c: d}}", None),
        ("auth: one, require: {roles: [a], scopes: [b], claims: {c: d}}", None),
        ("auth: old, require: {claims: {user.team: d}}", None),
        ("auth: [web, one], require: {mfa_within: 15m, login_within: 8h}", None),
        ("auth: [web, old], require: {mfa_within: 15m}", None),
        (
            "auth: old, require: {login_within: 8h}",
            "routes[0].require.login_within: scheme `old` does not say when somebody signed in",
        ),
    ],
)
def test_what_a_scheme_cannot_yield_is_not_required(reading, route, expected):
    """A requirement is the same for every scheme of the route; one that never passes is a mistake."""
    found = messages(reading, route)

    assert (expected is None) == (found == [])
    assert expected is None or found[0].startswith(expected)


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        ("auth: [own, one], same_subjects: false, dpop: required", None),
        ("auth: [own, web]", None),
        ("auth: [own, web], dpop: optional", None),
        ("auth: [own, web], dpop: required", "scheme `web` is of sessions"),
        ("auth: jar, dpop: required", "scheme `jar` reads no Authorization"),
        ("auth: own, same_subjects: false, dpop: nonce", None),
        ("auth: [own, web], dpop: nonce", "scheme `web` is of sessions"),
        ("auth: none, dpop: nonce", "a public route (`auth: none`) asks for no token"),
        ("auth: none, dpop: required", "a public route (`auth: none`) asks for no token"),
    ],
)
def test_a_proof_is_wanted_of_who_can_have_one(reading, route, expected):
    """A session is bound to no key, and a proof comes with `Authorization` alone (RFC 9449 §7.1)."""
    jar = "  jar: {type: jwt, keys: {local: true}, from: [{cookie: token}]}\nroutes:\n"
    text = texts(route).replace("routes:\n", jar)
    found = [line.split(" ", 1)[1] for line in reading.mistakes(text)]

    assert (expected is None) == (found == []), found
    assert expected is None or found[0].startswith(f"routes[0].dpop: {expected}")


def test_a_gate_that_wants_proofs_says_what_it_is_called(reading):
    """Proofs name a host; which one is the gate's, the Host header cannot say (RFC 9449 §4.3, 9)."""
    route = "auth: own, same_subjects: false, dpop: required"
    place = "routes[0].dpop: proofs for other servers"
    nameless = texts(route).partition("\n")[2]
    hosted = nameless.replace("match: {", "match: {host: g.example, ")

    assert [found for found in reading.warnings(nameless) if found.startswith(place)]
    for text in (texts(route), hosted, nameless.replace("required", "optional")):
        assert not [found for found in reading.warnings(text) if found.startswith(place)]


def test_a_token_whose_roles_are_switched_off_yields_none(reading):
    """`roles: none` in a mapping is that there are none."""
    text = texts("auth: one, require: {roles: [a]}").replace(
        'jwks_url: "https://i1/k"}', 'jwks_url: "https://i1/k"}, identity: {roles: none}'
    )

    assert "scheme `one` yields no roles" in reading.mistakes(text)[0]


def test_rules_say_any_or_all(reading):
    """Both would leave open which holds; none would hold for everybody."""
    found = messages(
        reading,
        "auth: web, require: {roles: {any: [a], all: [b]}, claims: {c: {}}}",
        "auth: web, require: {roles: {al: [b]}}",
    )

    assert [line.split(": ")[0] for line in found] == [
        "routes[0].require.roles",
        "routes[0].require.claims.c",
        "routes[1].require.roles.al",
    ]


@pytest.mark.parametrize(
    ("route", "is_wrong"),
    [
        ("auth: [web, own], both: same_subject", False),
        ("auth: [web, tpl], both: same_subject", True),
        ("auth: [web, old], both: same_subject", True),
        ("auth: [web, old], both: same_subject, same_subjects: true", False),
        ("auth: [web, old], both: same_subject, same_subjects: false", True),
        ("auth: [web, old], both: refuse", False),
    ],
)
def test_k6_subjects_of_several_origins_are_not_compared(reading, route, is_wrong):
    """K6: `7` of the shop is not `7` of the provider, unless the file declares it."""
    found = messages(reading, route)

    assert is_wrong == any(line.startswith("routes[0].both: the route's schemes") for line in found)


def test_both_with_one_scheme_is_a_warning(reading):
    """There is nothing to compare."""
    found = reading.warnings(texts("auth: web, both: refuse", "auth: web, both: first"))

    assert "routes[0].both: says nothing: the route has one scheme" in found


def test_k6_two_issuers_for_one_upstream_are_told_apart(reading):
    """K6: by a template in the schemes, or by `same_subjects` written either way in the routes."""
    assert len(messages(reading, "auth: [one, two]")) == 1
    assert len(messages(reading, "auth: one", "auth: two")) == 2
    assert len(messages(reading, "auth: one, same_subjects: false", "auth: two")) == 1
    assert (
        "upstream `shop` hears of people from two issuers"
        in messages(reading, "auth: [one, two]")[0]
    )
    for routes in (
        ["auth: [one, tpl]"],
        ["auth: one", "auth: two, upstream: other"],
        ["auth: [one, two], same_subjects: true"],
        ["auth: [one, two], same_subjects: false"],
        ["auth: [own, web]"],
    ):
        assert messages(reading, *routes) == []


def test_k6_an_issuer_beside_other_sessions_is_a_warning(reading):
    """K6: silenced like the mistake, by a template or by `same_subjects` written either way."""
    for route, count in (
        ("auth: [one, web]", 1),
        ("auth: [own, old]", 1),
        ("auth: [one, web], same_subjects: false", 0),
        ("auth: [tpl, web]", 0),
        ("auth: [own, web]", 0),
        ("auth: [web, old]", 0),
    ):
        found = [line for line in reading.warnings(texts(route)) if "of another origin" in line]

        assert count == len(found), route


def test_k6_the_warning_is_said_once_for_the_same_schemes(reading):
    """Where sixteen routes have one reason, one line says so, at the first and with their number."""
    text = texts(
        "auth: web",
        "auth: [one, web], same_subjects: false",
        "auth: one",
        "auth: [web, one], upstream: other",
    )
    found = [line for line in reading.warnings(text) if "of another origin" in line]
    pair = [line for line in reading.warnings(texts("auth: web", "auth: one")) if "origin" in line]

    assert len(found) == 1
    assert found[0].startswith("routes[0].auth: upstreams `shop`, `other` hear of people")
    assert "`same_subjects: true` here and in 2 more routes if" in found[0]
    assert len(pair) == 1
    assert "here and in 1 more route if" in pair[0]


def test_a_template_must_tell_issuers_apart(reading):
    """`{sub}` alone is the subject in braces; a word before it makes two subjects two."""
    scheme = 'jwks_url: "https://i1/k"}'
    for template, count in (("{sub}", 1), ("one:{sub}", 0), ("{iss}{sub}", 0)):
        text = texts("auth: [one, two]").replace(
            scheme, scheme + f', identity: {{subject: "{template}"}}'
        )

        assert count == len(reading.mistakes(text)), template


def test_two_schemes_in_one_place_for_one_issuer_are_a_warning(reading):
    """The unverified issuer picks one of them, so the other is never asked."""
    text = texts("auth: [one, two], same_subjects: true").replace('https://i2"', 'https://i1"')

    found = [line for line in reading.warnings(text) if line.startswith("routes")]

    assert found == [
        "routes[0].auth[1]: never asked: scheme `one` reads the same place for this issuer"
    ]


def test_k4_assertions_have_an_issuer(reading):
    """K4: neither tokens.issuer nor server.public_url: nobody could check them."""
    text = """\
        upstreams: {shop: {servers: ["http://a"]}}
        schemes: {web: {type: session, format: native}}
        routes:
          - {auth: web, upstream: shop, identity: {assertion: true}}
        """

    assert "needs tokens.issuer or server.public_url" in reading.mistakes(text)[0]
    assert reading.mistakes(dedent(text) + "server: {public_url: 'https://g'}\n") == []
    assert len(reading.mistakes(dedent(text) + "server: {public_url: 7}\n")) == 1


def test_k4_a_bearer_opens_one_door(reading):
    """K4: its audience is no local scheme's, and no other upstream's."""
    bearer = "auth: web, identity: {bearer: true}"
    assert messages(reading, bearer) == []
    own = texts(bearer).replace('{servers: ["http://a"]}', '{servers: ["http://a"], audience: own}')
    assert "scheme `own` accepts the audience" in reading.mistakes(own)[0]
    both = texts(bearer).replace(
        '{servers: ["http://b"]}', '{servers: ["http://b"], audience: shop}'
    )
    assert "upstream `other` has the same audience" in reading.mistakes(both)[0]
    anyone = texts(bearer).replace("local: true}}", "local: true}, audience: any}")
    assert "scheme `own` accepts the audience" in reading.mistakes(anyone)[0]


def test_h1_identity_headers_have_names_of_their_own(reading):
    """H1: not Host, Cookie, framing or Sec-…, and not two spellings of one name."""
    found = messages(
        reading,
        "auth: web, identity: {headers: {Host: a, X-User: a, x_user: b, Sec-X: c, X-Tenant: d}}",
    )

    assert [line.split(": ")[0] for line in found] == [
        "routes[0].identity.headers.Host",
        "routes[0].identity.headers.x_user",
        "routes[0].identity.headers.Sec-X",
    ]


def test_h1_h2_clients_never_send_what_the_gate_says(reading):
    """H1, H2: pass_headers restores no identity, and nothing that any route of the file sets."""
    found = messages(
        reading,
        "auth: web, pass_headers: [X-Auth-Subject, X-Auth-Token, Proxy, X_Auth_Tenant, Accept]",
        "auth: web, identity: {headers: {X-Auth-Tenant: '{tenant}'}}",
    )

    assert [line.split(": ")[0] for line in found] == [
        "routes[0].pass_headers[0]",
        "routes[0].pass_headers[3]",
        "routes[0].pass_headers[4]",
    ]
    assert "a route of this file sets this header" in found[1]


@pytest.mark.parametrize(
    ("path", "prefix", "is_wrong"),
    [
        ("/api/**", "/api", False),
        ("/api/v1/{x}", "/api/v1", False),
        ("/api", "/api", False),
        ("/apis/**", "/api", True),
        ("/**", "/api", True),
        ("/{x}/**", "/api", True),
        ("/api/**", "/api/v1", True),
    ],
)
def test_a_stripped_prefix_begins_the_path(reading, path, prefix, is_wrong):
    """What is cut off is there on every request of the route."""
    found = messages(reading, f'match: {{path: "{path}"}}, auth: web, strip_prefix: {prefix}')

    assert is_wrong == (len(found) == 1)
    assert not is_wrong or found[0].startswith("routes[0].strip_prefix: the route's match.path")


def test_one_place_has_one_credential(reading):
    """The gate's bearer and the caller's own cannot both be Authorization."""
    found = messages(
        reading,
        "auth: own, identity: {bearer: true}, forward_credentials: true",
        "auth: web, identity: {bearer: true}, forward_credentials: true",
        "auth: own, identity: {bearer: true}",
    )

    assert ["routes[0].forward_credentials"] == [line.split(": ")[0] for line in found]


def test_what_was_cut_is_not_told_again(reading):
    """A wrong value is one mistake, and what would follow from its absence is none."""
    for route in (
        "auth: 7, require: {roles: [a]}",
        "auth: web, match: {path: x}, strip_prefix: /x",
        "auth: old, require: {roles: 7}",
        "auth: web, identity: {bearer: 1, headers: {}}",
        "auth: [web, gone], both: same_subject",
    ):
        assert len(messages(reading, route)) == 1, route


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ("{rate: 100/s, per: subject, in: store, parallel: 3, body_size: 1KiB}", None),
        ("{per: {header: X-Key}, rate: 5/10m}", None),
        ("{per: address}", "limits.per: says how to count, and there is no `rate`"),
        ("{in: store, parallel: 2}", "limits.in: says how to count, and there is no `rate`"),
        (
            "{rate: ten}",
            "limits.rate: must be a number and a time, such as 100/s, 600/m, 1000/h or 5/10m",
        ),
        (
            "{rate: 0/s}",
            "limits.rate: must be a number and a time, such as 100/s, 600/m, 1000/h or 5/10m",
        ),
    ],
    ids=["all", "header", "per", "in", "no-time", "nothing"],
)
def test_limits_are_whole(reading, limits, expected):
    """A key without the rate that it belongs to is a slip that would count nothing."""
    wrong = [] if expected is None else [f"routes[0].{expected}"]

    assert wrong == messages(reading, f"auth: web, limits: {limits}")


def test_nobody_is_counted_by_a_name_that_nobody_has(reading):
    """A public route knows addresses only."""
    assert messages(reading, "auth: none, limits: {rate: 1/s, per: subject}") == [
        "routes[0].limits.per: nobody is known on a public route (`auth: none`): write `per: address`"
    ]
    assert messages(reading, "auth: none, limits: {rate: 1/s}") == []
