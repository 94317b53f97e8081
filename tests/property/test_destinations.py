"""No text whatever sends a browser away from the gate (security.md, S4)."""

from __future__ import annotations

from urllib.parse import unquote, urljoin, urlsplit

from hypothesis import example, given
from hypothesis import strategies as st

from proxy.core.destination import START, Destinations

OURS = {"shop.example.com", "app.example.com"}
ANYWHERE = Destinations(lambda _host, _path: True, domain="example.com", hosts=OURS)
"""Every path has a route: nothing but the form of the target keeps people here."""

PIECES = st.sampled_from(
    [
        *("/", "//", "\\", "%5c", "%2f", "%252f", "%25", ":", "@", "?", "#", ".", "..", "\t", "\r\n"),
        *("http:", "https:", "https://", "javascript:", "evil.example", "shop.example.com"),
        *("app.example.com", "example.com", "%0d%0a", "%00", "\u2028", "\uff0f", " ", "a", "[::1]"),
    ]
)  # fmt: skip
TARGETS = st.one_of(st.text(), st.lists(PIECES, max_size=8).map("".join))


def as_a_browser(text):
    """Return where a browser goes, as the URL standard reads: it drops tabs and line ends."""
    cleaned = text.strip("".join(map(chr, range(0x21))))
    for dropped in "\t\r\n":
        cleaned = cleaned.replace(dropped, "")
    return urlsplit(urljoin("https://shop.example.com/_auth/login", cleaned.replace("\\", "/")))


@given(TARGETS)
@example("//evil.example")
@example("///evil.example")
@example("/\\evil.example")
@example("/%5cevil.example")
@example("/%2F0")
@example("/%252fevil.example")
@example("/\t/evil.example")
@example("https://shop.example.com\\@evil.example/")
def test_s4_a_browser_stays_with_the_gates_hosts(text):
    """S4: however it reads what passed, also once decoded, it arrives at a host of ours, by https."""
    passed = ANYWHERE.checked(text, "shop.example.com")
    for reading in (passed, unquote(passed)):
        url = as_a_browser(reading)

        assert url.scheme == "https"
        assert url.hostname in OURS
        assert url.username is None


@given(TARGETS)
def test_s4_what_passed_passes_again(text):
    """S4: it is checked when it is kept and when it is used, with one result."""
    passed = ANYWHERE.checked(text, "shop.example.com")

    assert passed == ANYWHERE.checked(passed, "shop.example.com")
    assert passed in (START, text)


@given(TARGETS)
def test_s4_what_passed_is_one_line(text):
    """S4: it can stand in a header, and in an attribute, without ending either."""
    passed = ANYWHERE.checked(text, None)

    assert passed.isascii()
    assert passed.isprintable()
    assert " " not in passed
