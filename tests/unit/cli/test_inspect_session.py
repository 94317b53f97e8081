from __future__ import annotations

import json

import pytest

ID = "0123456789abcdef0123456789abcdef"
CONFIG = """
store: {{url: "{store}"}}
upstreams: {{shop: {{servers: ["http://127.0.0.1:1"]}}}}
schemes:
  web: {{type: session, format: native}}
  shop: {{type: session, format: starsessions, store: "{apps}", identity: {{subject: user}}}}
{more}
routes: [{{auth: shop, upstream: shop}}]
"""
MORE = (
    '  other: {type: session, format: php, store: "redis://127.0.0.1:1", identity: {subject: user}}'
)


@pytest.fixture
def shop(latchgate, valkey):
    """Give the command line on a configuration with one application's sessions, and a session."""
    apps = f"redis://127.0.0.1:{valkey.port}/3"
    latchgate.write(CONFIG.format(store=valkey.url, apps=apps, more=""))
    with valkey.client() as client:
        client.select(3)
        client.set(f"starsessions.{ID}", json.dumps({"user": "ada"}), ex=60)
    latchgate.apps = apps
    return latchgate


def test_an_accepted_cookie_is_shown_step_by_step(shop):
    """The cookie comes by standard input; the application's own database is asked."""
    result = shop.run("inspect-session", "-", stdin=f"Cookie: session={ID}\n".encode())
    assert 0 == result.exit_code, result.output
    assert "accepted: scheme shop, subject ada" in result.stdout
    assert ID not in result.output


def test_json_for_programs(shop):
    """Every step with what it came to."""
    found = shop.json("inspect-session", stdin=b"session=nothing", status=1)
    assert found["accepted"] is False
    assert {"label": "verdict", "text": "not accepted: session_unknown", "outcome": "bad"} == found[
        "steps"
    ][-1]


def test_the_scheme_has_to_be_told_apart(shop, valkey):
    """Two applications: --scheme says which one; a native scheme is none."""
    shop.write(CONFIG.format(store=valkey.url, apps=shop.apps, more=MORE))
    result = shop.run("inspect-session", stdin=ID.encode())
    assert (2, True) == (result.exit_code, "shop, other" in result.output)
    assert 0 == shop.run("inspect-session", "--scheme", "shop", stdin=ID.encode()).exit_code
    result = shop.run("inspect-session", "--scheme", "web", stdin=ID.encode())
    assert (2, True) == (result.exit_code, "no scheme web" in result.output)


def test_a_store_out_of_reach_has_a_status_of_its_own(shop, valkey):
    """3, as everywhere; and the cookie does not stand on the command line."""
    shop.write(CONFIG.format(store=valkey.url, apps="redis://127.0.0.1:1", more=""))
    assert 3 == shop.run("inspect-session", stdin=ID.encode()).exit_code
    assert 2 == shop.run("inspect-session", ID).exit_code
