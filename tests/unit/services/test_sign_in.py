"""Where somebody is sent to sign in. What a page load gets is in tests/live/portal/test_login.py."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from proxy.core.destination import Destinations
from proxy.core.routing import Router, RouteSpec
from proxy.services.asked import Reserved
from proxy.services.own import OwnEndpoint
from proxy.services.sign_in import SignIn, leads_to

LOGIN = OwnEndpoint("login", "/login", frozenset({"GET", "POST"}))
SESSIONS = OwnEndpoint("sessions", "/sessions", frozenset({"GET"}), is_destination=True)


def spec(path, payload, host=None):
    return RouteSpec(
        name=f"{host}{path}",
        host=host,
        path=path,
        methods=None,
        policy=(path,),
        is_folded=True,
        allow_paths=frozenset(),
        strip_prefix=None,
        payload=payload,
    )


ROUTER = Router(
    [
        spec("/_auth/**", Reserved()),
        spec("/_auth/login", Reserved(endpoint=LOGIN)),
        spec("/_auth/sessions", Reserved(endpoint=SESSIONS)),
        spec("/_auth/**", Reserved(), host="other.example.com"),
    ]
)
ANYWHERE = Destinations(lambda _host, _path: True)


def route(login_url=None, *, has_portal=True):
    return SimpleNamespace(login_url=login_url, has_portal=has_portal)


@pytest.mark.parametrize(
    ("path", "leads"),
    [
        (b"/_auth/sessions", True),
        (b"/_auth/login", False),
        (b"/_auth/nothing", False),
        (b"/elsewhere", False),
    ],
)
def test_s4_below_the_gates_own_path_only_its_pages_are_destinations(path, leads):
    """S4: pages that say so; never the sign-in itself, and nothing that is not there."""
    assert leads == leads_to(ROUTER, None, path)


def test_a_page_that_wants_a_sign_in_itself_leads_nowhere():
    """People would be sent round for ever."""
    sign_in = SignIn(ROUTER, ANYWHERE, "/_auth")
    own = route("/enter?back={next}")

    assert "/enter?back=%2Fx%3Fa" == sign_in.location(own, None, b"/x?a")
    assert None is sign_in.location(own, None, b"/enter?back=/x")
    assert None is sign_in.location(route(has_portal=False), None, b"/x")
    assert "/enter?back=%2F" == sign_in.link(own, None)


def test_a_host_without_the_gates_endpoints_has_no_sign_in_of_its_own():
    """With one login for several hosts it is that of another, else there is none."""
    alone = SignIn(ROUTER, ANYWHERE, "/_auth")
    shared = SignIn(ROUTER, ANYWHERE, "/_auth", host="login.example.com")

    assert None is alone.location(route(), "other.example.com", b"/x")
    assert "/_auth/login?next=%2Fx" == shared.location(route(), "any.example.com", b"/x")
    assert shared.location(route(), "other.example.com", b"/x").startswith(
        "https://login.example.com/_auth/login?next="
    )


def test_people_of_an_application_are_led_to_a_page_of_its_scheme():
    """It is under their own host, since the application's cookie is; others are led to the login's, if any."""
    way = SignIn(ROUTER, ANYWHERE, "/_auth", "login.example.com", "web", frozenset({"shop"}))
    asked = SimpleNamespace(freshness=None)
    place = way.step_up(asked, "shop", "shop.example.com", b"/pay?a=1")
    assert "/_auth/step-up/shop?next=%2Fpay%3Fa%3D1" == place
    assert way.step_up(asked, "desk", "shop.example.com", b"/pay") is None
