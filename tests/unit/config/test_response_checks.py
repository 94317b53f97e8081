"""What may be set on answers, and what is not the operator's to say."""

from __future__ import annotations

import pytest

from proxy.errors import ConfigErrors
from proxy.services.runtime import load

FILE = """\
server: {{{server}}}
upstreams: {{shop: {{servers: ["http://127.0.0.1:9001"]}}}}
schemes: {{web: {{type: session, format: native}}}}
routes:
  - {{match: {{path: /a}}, auth: web, upstream: shop, response_headers: {{{guarded}}}}}
  - {{match: {{path: /b}}, auth: none, upstream: shop, response_headers: {{{public}}}}}
"""


def told(reading, server="", guarded="", public=""):
    """Return every mistake, without its place."""
    text = FILE.format(server=server, guarded=guarded, public=public)
    return [line.split(": ", 1)[1] for line in reading.mistakes(text)]


@pytest.mark.parametrize(
    "name",
    [
        *("Content-Length", "transfer-encoding", "Connection", "Upgrade", "Keep-Alive", "TE"),
        *("Trailer", "Set-Cookie", "set_cookie", "X-Request-Id", "X-Auth-Subject", "Date", "Vary"),
        *("WWW-Authenticate", "Location", "Via", "Strict-Transport-Security", "DPoP-Nonce"),
        *(
            "Access-Control-Allow-Origin",
            "Sec-WebSocket-Accept",
            "Content-Type",
            "Proxy-Authenticate",
            "RateLimit",
        ),
    ],
)
def test_what_the_gate_answers_for_is_neither_set_nor_removed(reading, name):
    """Framing, cookies, CORS and the gate's own words, in whatever spelling."""
    found = told(reading, public=f"set: {{{name}: x}}, remove: [{name}]")

    assert [line.partition(": ")[0] for line in found] == [
        f"routes[1].response_headers.set.{name}",
        "routes[1].response_headers.remove[0]",
    ]


@pytest.mark.parametrize(
    "value", [r'"a\r\nSet-Cookie: x=1"', r'"a\nb"', r'"a\0b"', '" a"', '"ä"', '""']
)
def test_no_value_is_more_than_one_header(reading, value):
    """A line break or NUL never comes into a head, nor what clients may read otherwise."""
    assert len(told(reading, server=f"response_headers: {{set: {{X-A: {value}}}}}")) == 1


@pytest.mark.parametrize("name", [r'"A\r\nB"', '"A B"', '"A:"', '""', '"Ä"'])
def test_a_name_is_a_token(reading, name):
    """RFC 9110 §5.1: what is none could begin another line."""
    assert len(told(reading, public=f"set: {{{name}: x}}")) >= 1


def test_h8_what_caches_are_told_of_guarded_routes_is_the_gates(reading):
    """H8: no operator opens a guarded answer to caches by accident; on public routes they may."""
    caching = "set: {Cache-Control: public}, remove: [Surrogate-Control]"
    message = "the route is guarded: `cache: shared` lets caches keep its answers"

    assert told(reading, guarded=caching) == [
        f"routes[0].response_headers.set.Cache-Control: Cache-Control: {message}",
        f"routes[0].response_headers.remove[0]: Surrogate-Control: {message}",
    ]
    assert told(reading, public=caching) == []
    assert len(told(reading, server=f"response_headers: {{{caching}}}")) == 2


def test_a_name_is_said_once(reading):
    """Two spellings of one name, or one that is set and removed, leave open what is meant."""
    found = told(reading, public="set: {X-A: 1a, x_a: 2a}, remove: [X-A]")

    assert len(found) == 2


def test_what_tells_applications_who_comes_is_told_to_nobody_else(tmp_path):
    """A mapped identity header is never one of an answer."""
    path = tmp_path / "f.yaml"
    text = FILE.format(server="", guarded="set: {remote-user: x}", public="")
    path.write_text(text.replace("auth: web,", "auth: web, identity: {preset: remote-user},"))

    with pytest.raises(ConfigErrors, match="tells the application who comes"):
        load(path)


def test_a_promise_of_https_that_nobody_hears(reading):
    """Where no client is known to use https, `check` says so."""
    config = FILE.format(server="hsts: {}", guarded="", public="")
    trusted = FILE.format(server="hsts: {}, trusted_proxies: [10.0.0.1]", guarded="", public="")

    assert [w for w in reading.warnings(config) if "server.hsts" in w] == [
        "server.hsts: nobody is known to use https: neither `tls` nor `trusted_proxies` is there"
    ]
    assert [w for w in reading.warnings(trusted) if "server.hsts" in w] == []


def test_the_browsers_list_wants_a_whole_promise(reading):
    """`preload` without the rest would be sent in vain."""
    found = told(reading, server="hsts: {preload: true, max_age: 30d}")

    assert found == ["server.hsts.preload: needs `subdomains: true` and `max_age: 365d` or more"]
