from __future__ import annotations

import pytest

from proxy.config.request_line import RequestLine, make_request_line, parse_request_line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GET /a", ("GET", None, None, "/a")),
        ("GET /a?b=c%20d", ("GET", None, None, "/a?b=c%20d")),
        ("POST https://Shop.example.com:8443/a", ("POST", "https", "Shop.example.com:8443", "/a")),
        ("GET HTTP://a", ("GET", "http", "a", "/")),
        ("GET https://a?b", ("GET", "https", "a", "/?b")),
        ("GET shop.example.com/a", ("GET", None, "shop.example.com", "/a")),
        ("GET [::1]:80/", ("GET", None, "[::1]:80", "/")),
        ("GET //a/b", ("GET", None, None, "//a/b")),
        ("OPTIONS *", ("OPTIONS", None, None, "*")),
        ("GET localhost/a", ("GET", None, "localhost", "/a")),
        ("GET a:80", ("GET", None, "a:80", "/")),
        ("GET /v4/\u00e9?q=\u00fc\u4e2d", ("GET", None, None, "/v4/%C3%A9?q=%C3%BC%E4%B8%AD")),
        ("GET /\udcff%C3", ("GET", None, None, "/%FF%C3")),
        ("  GET   /a ", ("GET", None, None, "/a")),
    ],
)
def test_a_request_is_a_method_and_a_path_or_url(text, expected):
    """Nothing is decoded, what was not written is `None`, and what is not ASCII is as browsers send it."""
    assert RequestLine(*expected) == parse_request_line(text)


@pytest.mark.parametrize(
    "text",
    [
        "/a",
        "GET",
        "GET ?a",
        "GET http:///a",
        "GET /a#b",
        "GET /a b",
        "G<T /a",
        "GET u:p@h/a",
        "GET http://u:p@h/a",
        "GET whoami",
        "GET api/orders",
        "GET /\ud800",
        "GET ",
    ],
)
def test_anything_else_is_none(text):
    """The sentence repeats nothing of it."""
    with pytest.raises(ValueError) as caught:
        parse_request_line(text)

    assert "u:p" not in str(caught.value)


def test_method_and_url_can_come_apart():
    """As on the command line, where they are two words."""
    assert parse_request_line("GET a.b/c") == make_request_line("GET", "a.b/c")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("GET whoami", "a path begins with /"),
        ("GET http://u:p@h/a", "no user name or password"),
    ],
)
def test_what_people_meant_is_guessed(text, hint):
    """A path without its slash, and a URL that says who."""
    with pytest.raises(ValueError, match=hint):
        parse_request_line(text)
