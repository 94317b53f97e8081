"""A redirect to https knows whom it leads, and that somebody is there."""

from __future__ import annotations

FILE = """\
server: {{{server}}}
redirect: {redirect}
upstreams: {{shop: {{servers: ["http://127.0.0.1:9001"]}}}}
routes:
  - {{match: {{{match}}}, auth: none, upstream: shop}}
"""


def text(server="public_url: https://a.test", redirect="{listen: 0.0.0.0:80}", match="path: /**"):
    """Return a configuration."""
    return FILE.format(server=server, redirect=redirect, match=match)


def test_somebody_has_to_be_known(reading):
    """Without a host by name the redirect would be open, or lead nobody."""
    message = "redirect.hosts: is required: neither the routes nor server.public_url name a host"
    assert [message in line for line in reading.mistakes(text(server=""))] == [True]
    assert reading.mistakes(text(server="", match="host: a.test")) == []
    assert (
        reading.mistakes(text(server="", redirect="{listen: '0.0.0.0:80', hosts: [a.test]}")) == []
    )
    assert reading.mistakes(text()) == []


def test_nobody_is_led_into_nothing_unwarned(reading):
    """Where the gate knows of nobody who speaks TLS, `check` says so."""
    found = reading.warnings(text(server="", match="host: a.test"))

    assert any(line.startswith("redirect: as far as the gate knows") for line in found)
    assert not any(line.startswith("redirect:") for line in reading.warnings(text()))


def test_a_redirect_is_a_listener_like_any_other(reading):
    """It takes no other's address, and is no server of an upstream's (F7)."""
    both = text(server="listen: '0.0.0.0:80', public_url: https://a.test")
    own = text(redirect="{listen: '127.0.0.1:9001'}")

    assert [
        "another listener has this address already" in line for line in reading.mistakes(both)
    ] == [True]
    assert ["is a listener of this gate itself" in line for line in reading.mistakes(own)] == [True]


def test_a_port_is_one(reading):
    """From 1 to 65535, and a number."""
    for port in ("0", "65536", "x", "'80'"):
        assert reading.mistakes(text(redirect=f"{{listen: '0.0.0.0:80', port: {port}}}"))
