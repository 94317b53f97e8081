from __future__ import annotations

import pytest

from proxy.config.upstream_models import CookieName, HashBalance, UpstreamHealthConfig


def test_the_defaults_are_those_of_the_reference(reading):
    """An upstream is its servers; the rest follows."""
    shop = reading.config(reading.good).upstreams["shop"]
    times = shop.timeouts

    assert ("least_busy", "preserve", "folded", "shop") == (
        shop.balance,
        shop.host,
        shop.paths,
        shop.audience,
    )
    assert (2.0, 60.0, 60.0, 4.0, None) == (
        times.connect,
        times.response,
        times.idle,
        times.keepalive,
        times.tunnel,
    )
    assert (None, None, None, None) == (
        shop.tls.ca,
        shop.tls.cert,
        shop.tls.key,
        shop.tls.server_name,
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("least_busy", "least_busy"),
        ("{hash: subject}", HashBalance(hash="subject")),
        ("{hash: {cookie: io}}", HashBalance(hash=CookieName(cookie="io"))),
    ],
)
def test_the_load_is_balanced_as_written(reading, text, expected):
    """By load, or by what requests have in common."""
    config = reading.config(f"upstreams: {{a: {{servers: ['http://a'], balance: {text}}}}}\n")

    assert expected == config.upstreams["a"].balance


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", ".servers: is required"),
        ("{servers: []}", ".servers: must not be empty"),
        ("{servers: 'http://a'}", ".servers: must be a list"),
        ("{servers: ['http://a/b']}", ".servers[0]: a server has no path"),
        ("{servers: ['http://a', 'http://A:80']}", ".servers: item 2 repeats an earlier one"),
        ("{servers: ['http://a'], balance: random}", ".balance: must be least_busy"),
        ("{servers: ['http://a'], balance: {hash: agent}}", ".balance.hash: must be subject or"),
        (
            "{servers: ['http://a'], balance: {hash: {cookie: io, header: x}}}",
            ".balance.hash.header: unknown",
        ),
        ("{servers: ['http://a'], balance: {hash: {cookie: 'a b'}}}", ".balance.hash.cookie: must"),
        ("{servers: ['http://a'], timeouts: {tunnel: never}}", ".timeouts.tunnel: must be a dur"),
        ("{servers: ['http://a'], paths: loose}", ".paths: must be folded or exact"),
        ("{servers: ['http://a'], audience: ''}", ".audience: must not be empty"),
        ("{server: ['http://a']}", ".server: unknown key; did you mean `servers`?"),
    ],
)
def test_what_does_not_fit_is_told(reading, text, expected):
    """One mistake, one sentence; a misspelt key is not also a missing one."""
    found = reading.mistakes(f"upstreams: {{a: {text}}}\n")

    assert len(found) == 1, found
    assert found[0].split(" ", 1)[1].startswith("upstreams.a" + expected)


@pytest.mark.parametrize("name", ["", "a b", "-a", "a/b", "é", "a" * 65, "a\\n"])
def test_names_are_words(reading, name):
    """A name stands in logs, metrics and headers; it is told at the key."""
    found = reading.mistakes(f'upstreams:\n  "{name}": {{servers: ["http://a"]}}\n')

    assert len(found) == 1
    assert found[0].startswith("2:3: upstreams.")
    assert "must" in found[0]


def test_what_is_left_out_of_health_and_limits(reading):
    """A server that fails is left alone, none is checked, and connections are not counted."""
    shop = reading.config(reading.good).upstreams["shop"]

    assert (None, 20, 30.0) == (shop.health, shop.retries, shop.resolve)
    assert (5, 0.5, 10.0) == (shop.eject.failures, shop.eject.rest, shop.eject.longest)
    assert (None, 100) == (shop.limits.connections, shop.limits.waiting)
    health = UpstreamHealthConfig(path="/healthz")
    assert (5.0, 2.0, [200], 2) == (
        health.interval, health.timeout, health.status, health.failures,
    )  # fmt: skip


@pytest.mark.parametrize("path", ["healthz", "", "/a b", "/a\n", "http://other/"])
def test_a_check_asks_for_a_path(path):
    """What is no path of the server's own is refused."""
    with pytest.raises(ValueError, match="must"):
        UpstreamHealthConfig(path=path)
