"""Who gets a page: people who look at it, by the browser's own word."""

from __future__ import annotations

import pytest

from proxy.core.navigation import Navigation, is_by_script, navigation
from proxy.model import Peer, RequestView

PEER = Peer("127.0.0.1", 4, is_unix=False, is_tls=False)
BROWSER = b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


def view(method, *headers):
    return RequestView(method, b"/", headers, PEER)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "headers",
    [
        [(b"Sec-Fetch-Mode", b"navigate")],
        [(b"Sec-Fetch-Mode", b"navigate"), (b"Accept", b"application/json")],
        [(b"Accept", BROWSER)],
        [(b"accept", b"application/json, TEXT/HTML ; q=0.001")],
        [(b"Accept", b"text/html;q=0, text/html;level=1")],
        [(b"Accept", b"*/*"), (b"Accept", b"text/html")],
    ],
)
def test_opening_an_address_is_a_page_load(method, headers):
    """Sec-Fetch-Mode says navigate, or, without it, Accept names text/html."""
    assert navigation(view(method, *headers)) is Navigation.LOAD


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"Accept", b"*/*")],
        [(b"Accept", b"text/*")],
        [(b"Accept", b"application/json")],
        [(b"Accept", b"text/html;q=0")],
        [(b"Accept", b"text/html; q=0.000 ;x=y, */*")],
        [(b"Accept", b"text/htmlx, xtext/html, application/text/html")],
        [(b"Sec-Fetch-Mode", b"cors"), (b"Accept", BROWSER)],
        [(b"Sec-Fetch-Mode", b"no-cors"), (b"Accept", BROWSER)],
        [(b"Sec-Fetch-Mode", b"navigate"), (b"Sec-Fetch-Mode", b"cors"), (b"Accept", BROWSER)],
        [(b"Sec-Fetch-Mode", b""), (b"Accept", BROWSER)],
        [(b"Upgrade", b"websocket"), (b"Sec-Fetch-Mode", b"navigate"), (b"Accept", BROWSER)],
        [(b"Upgrade", b"h2c"), (b"Accept", BROWSER)],
    ],
)
def test_scripts_programs_and_upgrades_are_no_page_loads(headers):
    """Whoever does not look at a page gets a document that programs read."""
    assert navigation(view("GET", *headers)) is None


@pytest.mark.parametrize("header", [(b"Sec-Fetch-Mode", b"navigate"), (b"Accept", BROWSER)])
def test_a_form_is_told_from_a_page_load(header):
    """A POST by navigation may lose what was typed: it is never treated like an opened address."""
    assert navigation(view("POST", header)) is Navigation.FORM


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"])
def test_browsers_navigate_with_no_other_method(method):
    """Neither links nor forms can send anything else."""
    assert navigation(view(method, (b"Sec-Fetch-Mode", b"navigate"))) is None


@pytest.mark.parametrize(
    "value", [b"text/html;" * 3000, b",text/html;q=" * 3000, b" \t" * 15000, b";q=0" * 8000]
)
def test_a_hostile_accept_is_read_in_time(value):
    """Every byte is looked at a bounded number of times."""
    navigation(view("GET", (b"Accept", b"text/html" + value + b'"')))


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], False),
        ([(b"Accept", b"application/json")], False),
        ([(b"Sec-Fetch-Mode", b"navigate")], False),
        ([(b"Sec-Fetch-Mode", b"navigate"), (b"Sec-Fetch-Dest", b"document")], False),
        ([(b"Sec-Fetch-Mode", b"navigate"), (b"Sec-Fetch-Dest", b"iframe")], True),
        ([(b"Sec-Fetch-Mode", b"cors"), (b"Accept", BROWSER)], True),
        ([(b"Sec-Fetch-Mode", b"no-cors")], True),
        ([(b"Sec-Fetch-Mode", b"same-origin")], True),
        ([(b"Sec-Fetch-Mode", b"")], True),
        ([(b"Sec-Fetch-Mode", b"navigate"), (b"Sec-Fetch-Mode", b"navigate")], True),
        ([(b"Sec-Fetch-Dest", b"empty")], True),
    ],
)
def test_a_script_is_known_by_what_its_browser_says(headers, expected):
    """Who says nothing is a program, or a browser on plain http; a doubled word is the worse one."""
    assert expected is is_by_script(view("POST", *headers))
