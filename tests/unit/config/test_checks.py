from __future__ import annotations

from proxy.config.checks import CHECKS, check_references, check_route_names
from proxy.config.client_checks import CHECKS as CLIENTS
from proxy.config.decision_checks import CHECKS as DECISION
from proxy.config.login_checks import CHECKS as LOGIN
from proxy.config.mtls_checks import CHECKS as MTLS
from proxy.config.network_checks import CHECKS as NETWORK
from proxy.config.provider_checks import CHECKS as PROVIDERS
from proxy.config.redirect_checks import CHECKS as REDIRECT
from proxy.config.response_checks import CHECKS as RESPONSES
from proxy.config.route_checks import CHECKS as ROUTES
from proxy.config.scheme_checks import CHECKS as SCHEMES
from proxy.config.store_checks import CHECKS as STORE
from proxy.config.tracing_checks import CHECKS as TRACING


def test_every_check_runs():
    """A check that is written is a check that is listed, once."""
    assert {
        check_references,
        check_route_names,
        *SCHEMES,
        *ROUTES,
        *NETWORK,
        *REDIRECT,
        *RESPONSES,
        *MTLS,
        *DECISION,
        *STORE,
        *LOGIN,
        *CLIENTS,
        *PROVIDERS,
        *TRACING,
    } == set(CHECKS)
    assert len(set(CHECKS)) == len(CHECKS)


def test_names_must_be_defined(reading):
    """An upstream or scheme that nothing defines is told where it is used, with the nearest name."""
    text = """\
        upstreams:
          shop: {servers: ["http://a"]}
        schemes:
          web: {type: session, format: native, issued_by: [shop, shpo]}
        routes:
          - {match: {path: /a}, auth: wbe, upstream: shop}
          - {match: {path: /b}, auth: [web, api], upstream: shap}
        """

    assert reading.mistakes(text) == [
        "4:58: schemes.web.issued_by[1]: there is no such name in `upstreams`; did you mean `shop`?",
        "6:31: routes[0].auth: there is no such name in `schemes`; did you mean `web`?",
        "7:37: routes[1].auth[1]: there is no such name in `schemes`",
        "7:53: routes[1].upstream: there is no such name in `upstreams`; did you mean `shop`?",
    ]


def test_a_definition_with_a_mistake_is_a_definition(reading):
    """Who refers to it has made no mistake of their own."""
    text = """\
        upstreams:
          shop: {servers: 7}
        schemes:
          web: {type: nothing}
        routes:
          - {auth: web, upstream: shop}
        """

    assert reading.mistakes(text) == [
        "2:19: upstreams.shop.servers: must be a list",
        "4:8: schemes.web: `type` must be session, jwt or mtls",
    ]


def test_route_names_are_unique(reading):
    """A name in the log means one route."""
    text = reading.good + (
        "  - {name: x, match: {path: /a}, auth: web, upstream: shop}\n"
        "  - {name: x, match: {path: /b}, auth: web, upstream: shop}\n"
    )

    assert reading.mistakes(text) == ["8:12: routes[2].name: routes[1] has this name already"]


def test_a_gate_without_routes_is_a_warning(reading):
    """It can start, and answers 404 to everything."""
    assert reading.warnings("log: {}\n") == [
        "routes: there are no routes: every request is answered with 404"
    ]
    assert reading.mistakes("routes: 7\n") == ["1:9: routes: must be a list"]
