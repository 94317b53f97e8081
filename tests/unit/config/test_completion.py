from __future__ import annotations

from pathlib import Path

from proxy.config.completion import complete
from proxy.config.models import Config
from proxy.config.store_url import StoreUrl

ROUTE = {"auth": "none", "upstream": "shop"}
TOKENS = {"issuer": "https://gate", "audience": "shop", "algorithm": "ES256"}


def completed(**sections):
    """Return a completed configuration, built by hand."""
    return complete(Config.model_validate(sections), Path("/etc/gate"))


def test_an_upstream_is_its_own_audience():
    """Assertions are for the upstream's name where nothing else is written."""
    config = completed(
        upstreams={
            "shop": {"servers": ["http://a"]},
            "b": {"servers": ["http://b"], "audience": "x"},
        }
    )

    assert config.upstreams["shop"].audience == "shop"
    assert config.upstreams["b"].audience == "x"


def test_the_embedded_store_lies_beside_the_file():
    """The default's directory is relative to the file, as a written one is."""
    assert completed().store.url == StoreUrl("embedded", path=Path("/etc/gate/var/store"))
    assert completed(store={"url": "redis://r"}).store.url.host == "r"


def test_local_schemes_take_what_tokens_says():
    """Issuer, audience and algorithm of the gate's own tokens need not be written twice."""
    scheme = completed(tokens=TOKENS, schemes={"own": {"type": "jwt", "keys": {"local": True}}})

    assert scheme.schemes["own"].issuer == "https://gate"
    assert scheme.schemes["own"].audience == ["shop"]
    assert scheme.schemes["own"].algorithms == ["ES256"]


def test_what_a_local_scheme_says_itself_stays():
    """What contradicts `tokens` is for the checks to say."""
    own = {
        "type": "jwt",
        "keys": {"local": True},
        "issuer": "x",
        "audience": "any",
        "algorithms": ["EdDSA"],
    }
    scheme = completed(tokens=TOKENS, schemes={"own": own}).schemes["own"]

    assert (scheme.issuer, scheme.audience, scheme.algorithms) == ("x", "any", ["EdDSA"])


def test_other_schemes_take_nothing():
    """Neither a provider's tokens, nor a local scheme without `tokens`, nor a session."""
    schemes = {
        "api": {"type": "jwt", "keys": {"jwks_url": "https://k"}},
        "web": {"type": "session", "format": "native"},
    }
    config = completed(tokens=TOKENS, schemes=schemes)
    assert config.schemes["api"].issuer == ""

    assert (
        completed(schemes={"own": {"type": "jwt", "keys": {"local": True}}}).schemes["own"].issuer
        == ""
    )


def test_routes_are_named_after_their_match():
    """A name in the log tells which requests a route is for; no two are alike."""
    routes = [
        ROUTE,
        ROUTE | {"match": {"path": "/a/{x}", "host": "A.example", "methods": ["GET", "POST"]}},
        ROUTE | {"name": "/**"},
        ROUTE,
    ]

    assert [route.name for route in completed(routes=routes).routes] == [
        "/** (2)",
        "GET,POST a.example/a/{x}",
        "/**",
        "/** (3)",
    ]


def test_what_was_written_stays_known():
    """`same_subjects: false` written out is another thing than its default."""
    routes = [ROUTE, ROUTE | {"same_subjects": False}]

    assert [False, True] == [
        "same_subjects" in route.model_fields_set for route in completed(routes=routes).routes
    ]
