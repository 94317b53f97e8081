from __future__ import annotations

import re

import pytest

from proxy.core.headers import fold
from proxy.services.edge_plan import edge_plan
from proxy.services.runtime import load
from tests.unit.services.test_edge_plan import CONFIG

PROXIES = ("nginx", "traefik", "caddy", "envoy", "haproxy")


def text_for(latchgate, proxy, *options):
    """Return what `emit` prints."""
    latchgate.write(CONFIG.replace("dialect: nginx", f"dialect: {proxy}"))
    result = latchgate.run("emit", proxy, *options)
    assert 0 == result.exit_code, result.output
    return result.stdout


@pytest.mark.parametrize("proxy", ["nginx", "traefik", "caddy"])
def test_h2_every_deletion_is_written(latchgate, proxy):
    """Of proxies that take out what they know by name; the others are told with each answer."""
    text = text_for(latchgate, proxy)
    plan = edge_plan(load(latchgate.file).config, proxy, "f")
    names = {fold(name.encode()) for name in re.findall(r"[A-Za-z][A-Za-z0-9_.-]+", text)}
    families = tuple(name[:-1] for name in re.findall(r"-([A-Z][A-Za-z-]+\*)", text))
    wanted = [
        name
        for name in (*plan.removed, *plan.identity)
        if not (families and name.startswith(families))
    ]

    assert not [name for name in wanted if fold(name.encode()) not in names]


@pytest.mark.parametrize("proxy", PROXIES)
def test_what_is_written_names_the_gate_and_the_applications(latchgate, proxy):
    """Where the proxy listens, whom it asks, and where it sends what may pass."""
    text = text_for(latchgate, proxy, "--listen", "127.0.0.1:8123")
    text += text_for(latchgate, proxy, "--lua") if proxy == "haproxy" else ""

    assert "latchgate emit" in text.splitlines()[0] + text.splitlines()[1]
    for port in ("9191", "9001", "9002", "8080"):
        assert port in text
    assert "8123" in text or proxy == "traefik"
    assert "api.internal" in text or proxy == "traefik"
    assert "{{" not in text


def test_every_spelling_is_deleted_where_the_proxy_would_pass_it(latchgate):
    """Traefik and Caddy pass names with `_` and `.`, which servers fold into `-`."""
    for proxy in ("traefik", "caddy"):
        text = text_for(latchgate, proxy)
        for spelling in ("X-Who", "X_Who", "X.Who"):
            assert spelling in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["apache"], "none of nginx"),
        (["nginx", "--lua"], "goes with haproxy"),
        (["caddy"], "no caddy may ask"),
        (["nginx", "--listen", "x"], "x"),
    ],
)
def test_what_cannot_be_written_is_said(latchgate, arguments, words):
    """With status 2, and nothing on standard output that somebody could redirect into a file."""
    latchgate.write(CONFIG)
    result = latchgate.run("emit", *arguments)

    assert (2, "") == (result.exit_code, result.stdout)
    assert words in result.stderr


def test_programs_get_the_text_in_json(latchgate):
    """As with every command."""
    latchgate.write(CONFIG)

    assert "auth_request" in latchgate.json("emit", "nginx")["text"]


def test_traefik_reaches_no_sockets(latchgate):
    """It says so itself only when requests fail."""
    text = CONFIG.replace("dialect: nginx", "dialect: traefik")
    latchgate.write(text.replace('"http://127.0.0.1:9001"', '"unix:/run/app.sock"'))
    result = latchgate.run("emit", "traefik")

    assert (2, True) == (result.exit_code, "unix sockets" in result.stderr)
