from __future__ import annotations

from proxy import __version__
from proxy.config.addresses import Address
from proxy.config.models import Config
from proxy.run.announce import announce, public_lines, redirect_lines

UPSTREAM = {"app": {"servers": ["http://127.0.0.1:9001"]}}
OPEN = {"name": "landing", "match": {"path": "/"}, "auth": "none", "upstream": "app"}
CLOSED = {"name": "rest", "match": {"path": "/**"}, "auth": ["web"], "upstream": "app"}


def config(*routes: dict, **sections: dict) -> Config:
    """Return a configuration with `routes`."""
    return Config.model_validate({"upstreams": UPSTREAM, "routes": list(routes), **sections})


def test_the_start_says_where_how_many_which_store_and_what_is_public():
    """One line for each thing that one wants to know first."""
    lines = announce(
        config(OPEN, CLOSED),
        file="gate.yaml",
        workers=1,
        addresses=[Address("0.0.0.0", 8080), Address("::1", 8081)],
        health=[Address("127.0.0.1", 9902)],
        has_store=False,
    )
    assert [
        f"latchgate {__version__}: gate.yaml, 1 worker",
        "listening on http://0.0.0.0:8080",
        "listening on http://[::1]:8081",
        "health on http://127.0.0.1:9902: /healthz /readyz /metrics",
        "store: none needed",
        "public (auth: none): any method */ -> app (landing)",
    ] == list(lines)


def test_the_start_says_where_clients_are_sent_to_https():
    """The listener is there for one thing."""
    assert list(redirect_lines([Address("0.0.0.0", 80)])) == [
        "redirects to https on http://0.0.0.0:80"
    ]


def test_the_store_of_an_application_is_named_too():
    """'none needed' is said of the gate's own: what it reads of applications it needs all the same."""
    web = {
        "type": "session",
        "format": "django",
        "store": "redis://u:hunter2@apps:6379/0",
        "prefix": "p",
        "cookie": "c",
    }
    shop = config(CLOSED, schemes={"web": web})
    lines = list(
        announce(shop, file="f", workers=1, addresses=[], health=[], has_store=False),
    )
    assert ["store: none needed", "sessions of scheme web: redis://apps:6379/0"] == lines[1:3]


def test_a_store_is_named_without_its_password():
    """The URL in the log names a server and nobody's secret."""
    lines = announce(
        config(CLOSED, store={"url": "redis://user:hunter2@store:6379/0"}),
        file="gate.yaml",
        workers=4,
        addresses=[],
        health=[],
        has_store=True,
    )
    text = "\n".join(lines)
    assert "4 workers" in text
    assert "store: redis://store:6379/0" in text
    assert "hunter2" not in text


def test_what_is_public_is_told_with_host_and_methods():
    """The match stands beside the name only where the name says more."""
    match = {"host": "shop.example.com", "path": "/a/**", "methods": ["GET", "POST"]}
    route = {**OPEN, "match": match, "name": "GET,POST shop.example.com/a/**"}
    assert ["public (auth: none): GET,POST shop.example.com/a/** -> app"] == list(
        public_lines(config(route))
    )


def test_nothing_public_and_nothing_at_all_are_said_too():
    """Silence could mean either."""
    assert ["no route is public"] == list(public_lines(config(CLOSED)))
    assert ["no routes: every request is answered with 404"] == list(public_lines(config()))
