from __future__ import annotations

import pytest

from proxy.core.origins import is_own, origin_of, parse_origin, parse_origin_bytes, serialise


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://app.example.com", ("https", "app.example.com", 443)),
        ("https://app.example.com:443", ("https", "app.example.com", 443)),
        ("HTTP://App.Example.COM.", ("http", "app.example.com", 80)),
        ("http://127.0.0.1:8080", ("http", "127.0.0.1", 8080)),
        ("http://[::1]:8080", ("http", "[::1]", 8080)),
        ("chrome-extension://abcdef", ("chrome-extension", "abcdef", None)),
    ],
)
def test_origins_are_read(text, origin):
    """Scheme, host and port, with the scheme's own port where none is written."""
    assert origin == parse_origin(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "*",
        "app.example.com",
        "//app.example.com",
        "https://",
        "https://app.example.com/",
        "https://app.example.com/x",
        "https://app.example.com?x",
        "https://app.example.com#x",
        "https://user@app.example.com",
        "https://app.example.com:",
        "https://app.example.com:0",
        "https://app.example.com:65536",
        "https://app.example.com:99999999",
        "https://a.example https://b.example",
        "https://app.example.com\x00",
        "https://app.example.com\n",
        "https://ex\u00e4mple.com",
        "https://example.com\u3002evil.com",
        "https://\u0130.example",
        "https://app.example.com\\@evil.example",
    ],
)
def test_other_texts_are_no_origin(text):
    """Paths, lists, credentials, odd characters and `null` are no origin."""
    assert parse_origin(text) is None
    assert parse_origin_bytes(text.encode()) is None


def test_bytes_beyond_ascii_are_no_origin():
    """A header value that is not ASCII is no origin and no error."""
    assert parse_origin_bytes(b"https://\xff") is None


def test_a_configured_origin_may_end_with_a_slash():
    """People paste origins from the address bar; anything more than a slash is a mistake."""
    assert origin_of("https://app.example.com/") == ("https", "app.example.com", 443)
    with pytest.raises(ValueError, match="is not an origin"):
        origin_of("https://app.example.com/app")
    with pytest.raises(ValueError, match="is not an origin"):
        origin_of("null")


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("https://App.example.com:443", b"https://app.example.com"),
        ("http://app.example.com:80", b"http://app.example.com"),
        ("http://app.example.com:443", b"http://app.example.com:443"),
        ("chrome-extension://abc", b"chrome-extension://abc"),
    ],
)
def test_origins_are_written_as_browsers_do(text, written):
    """Lower case, and a port only where it is not the scheme's own."""
    assert written == serialise(origin_of(text))


@pytest.mark.parametrize(
    ("origin", "scheme", "host", "port", "expected"),
    [
        ("https://shop.example", "https", "shop.example", None, True),
        ("https://shop.example", "https", "shop.example:443", None, True),
        ("https://shop.example", "https", "SHOP.example.", None, True),
        ("https://shop.example", None, "shop.example", None, True),
        ("http://shop.example", None, "shop.example", None, True),
        ("http://shop.example", "https", "shop.example", None, False),
        ("https://shop.example", "http", "shop.example", None, False),
        ("https://shop.example:8443", "https", "shop.example:8443", None, True),
        ("https://shop.example:8443", "https", "shop.example", None, False),
        ("https://shop.example:8443", "https", "shop.example", 8443, True),
        ("https://shop.example:8443", "https", "shop.example:443", 8443, False),
        ("https://shop.example", "https", "shop.example:8443", None, False),
        ("https://evil.example", "https", "shop.example", None, False),
        ("https://shop.example.evil.example", "https", "shop.example", None, False),
        ("https://evilshop.example", "https", "shop.example", None, False),
        ("http://[::1]:8080", "http", "[::1]:8080", None, True),
        ("http://[::1]", "http", "[::1]", None, True),
        ("http://[::1]", "http", "", None, False),
        ("http://a", "http", "a:x", None, False),
        ("http://a", "http", "a/b", None, False),
    ],
)
def test_s3_own_origin_is_compared_whole(origin, scheme, host, port, expected):
    """S3: scheme (where known), host and port all have to be those that the request names."""
    parsed = parse_origin(origin)

    assert parsed is not None
    assert expected == is_own(parsed, scheme=scheme, host=host, port=port)
