from __future__ import annotations

import pytest

from proxy.config.addresses import Address


def test_the_defaults_are_those_of_the_reference(reading):
    """A file that says nothing about the process gets what reference.md §1 says."""
    config = reading.config("log: {}\n")
    server, limits = config.server, config.server.limits

    assert [Address("0.0.0.0", 8080)] == server.listen
    assert ("auto", "random", None, None) == (
        server.workers,
        server.id,
        server.public_url,
        server.tls,
    )
    assert ([], "x-forwarded", 30.0) == (server.trusted_proxies, server.forwarded, server.drain)
    assert (32_768, 10.0, None, 1024) == (
        limits.header_size,
        limits.header_timeout,
        limits.body_size,
        limits.body_rate,
    )
    assert (60.0, 75.0, 20_000, None) == (
        limits.write_timeout,
        limits.keepalive,
        limits.connections,
        limits.connections_per_address,
    )
    assert config.health is not None
    assert Address("127.0.0.1", 9902) == config.health.listen
    assert ("auto", True, "Latchgate") == (
        config.log.format,
        config.log.access,
        config.branding.name,
    )


def test_one_address_needs_no_list(reading):
    """`listen: host:port` is a list of one."""
    config = reading.config("server: {listen: 'unix:g.sock'}\n")

    assert [Address("", 0, reading.base / "g.sock")] == config.server.listen


def test_none_switches_a_limit_off(reading):
    """`none` is a word of the file; an empty value is a mistake."""
    text = "server: {limits: {body_rate: none, body_size: 10MiB, connections_per_address: 5}}\n"
    limits = reading.config(text).server.limits

    assert (None, 10 * 2**20, 5) == (
        limits.body_rate,
        limits.body_size,
        limits.connections_per_address,
    )
    assert ["1:19: server.limits.body_rate: the value is missing"] == reading.mistakes(
        "server: {limits: {body_rate: }}\n"
    )


def test_health_can_be_switched_off(reading):
    """Two gates on one machine need not fight for a port."""
    assert reading.config("health: none\n").health is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("server: {listen: []}", "server.listen: must not be empty"),
        ("server: {workers: 0}", "server.workers: must be between 1 and 1024, or auto"),
        ("server: {workers: many}", "server.workers: must be a whole number, or auto"),
        ("server: {workers: 2.0}", "server.workers: must be a whole number, or auto"),
        ("server: {id: 'a b'}", "server.id: must be one word of letters, digits and signs"),
        ("server: {public_url: 'https://a/b'}", "server.public_url: must be an origin"),
        ("server: {forwarded: both}", "server.forwarded: must be x-forwarded or forwarded"),
        ("server: {drain: 30}", "server.drain: must be a duration with its unit"),
        ("server: {tls: {cert: a}}", "server.tls.key: is required"),
        ("server: {limits: 7}", "server.limits: must be a mapping of keys"),
        ("server: {limits: {connections: true}}", "server.limits.connections: must be a whole"),
        ("server: {limits: {header_size: 32}}", "server.limits.header_size: must be a size"),
        ("server: {http3: true}", "server.http3: unknown key"),
        ("health: {listen: 9902}", "health.listen: must be host:port, such as 127.0.0.1:8080"),
        ("server: {listen: '*:8080'}", "server.listen: must be host:port, such as 127.0.0.1:8080"),
        ("server: {listen: ':8080'}", "server.listen: must be host:port, such as 127.0.0.1:8080"),
        ("server: {listen: true}", "server.listen: must be text; put it in quotes"),
        ("server: {id: 7}", "server.id: must be text; put it in quotes"),
        ("health: off", "health: must be a mapping of keys"),
        ("log: {format: xml}", "log.format: must be auto, console or json"),
        ("log: {access: 1}", "log.access: must be true or false"),
        ("branding: {name: ''}", "branding.name: must not be empty"),
        ("branding: {logo: 7}", "branding.logo: must be text; put it in quotes"),
    ],
)
def test_what_does_not_fit_is_told(reading, text, expected):
    """One mistake, one sentence, at its key."""
    found = reading.mistakes(text + "\n")

    assert len(found) == 1
    assert found[0].split(" ", 1)[1].startswith(expected)
