"""The pages of refusals: complete, plain, and closed to whatever a request or a file may say."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from proxy.codes import CODES
from proxy.config.logo import Logo
from proxy.config.models import BrandingConfig
from proxy.core.navigation import Navigation
from proxy.edge.pages import Pages, page_headers

ID = "5f0c2b"
PAGES = Pages("Shop")
LOADS_AGAIN = '<a href="">'
STARTS_OVER = '<a href="/">'


class Outline(HTMLParser):
    """Collects elements, attributes and the text of a page."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(page.decode())

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data.strip())

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.mark.parametrize("kind", Navigation)
@pytest.mark.parametrize("code", sorted(CODES))
def test_every_code_has_its_page(code, kind):
    """Status, code, title, what happened, what to do, and the request id stand on it."""
    page = Outline(PAGES.body(code, kind, ID))
    info = CODES[code]

    assert {info.title, info.meaning, info.remedy, code, ID, "Shop"} <= set(page.text)
    assert any(text.startswith(f"{info.status} ") for text in page.text)
    assert [{"lang": "en"}] == page.all("html")
    assert (1, 1, 1) == tuple(len(page.all(tag)) for tag in ("main", "h1", "a"))


def test_nothing_on_a_page_runs_or_comes_from_elsewhere():
    """No script, no handler, no form, no address but the site's own."""
    page = Outline(PAGES.body("role_missing", Navigation.LOAD, ID))
    names = {tag for tag, _ in page.elements}
    attributes = {name for _, found in page.elements for name in found}

    assert not names & {"script", "form", "iframe", "object", "base"}
    assert not any(name.startswith("on") or name == "style" for name in attributes)
    assert [{"rel": "icon", "href": "data:,"}] == page.all("link")


@pytest.mark.parametrize(
    ("code", "kind", "link"),
    [
        ("credential_missing", Navigation.LOAD, LOADS_AGAIN),
        ("cookie_duplicate", Navigation.LOAD, LOADS_AGAIN),
        ("store_unavailable", Navigation.LOAD, LOADS_AGAIN),
        ("role_missing", Navigation.LOAD, STARTS_OVER),
        ("route_not_found", Navigation.LOAD, STARTS_OVER),
        ("loop", Navigation.LOAD, STARTS_OVER),
        ("credential_missing", Navigation.FORM, STARTS_OVER),
        ("store_unavailable", Navigation.FORM, STARTS_OVER),
    ],
)
def test_a_page_leads_on(code, kind, link):
    """Where asking again may help it is offered; a form is never silently asked for by GET."""
    body = PAGES.body(code, kind, ID).decode()

    assert [link] == re.findall("<a [^>]*>", body)


def test_the_request_id_is_text():
    """A trusted peer may choose it: signs of HTML stay signs."""
    body = PAGES.body("bad_request", Navigation.LOAD, "<script>'\"&</script>").decode()

    assert "<script" not in body
    assert "<code>&lt;script&gt;&#x27;&quot;&amp;&lt;/script&gt;</code>" in body


def test_the_name_is_text():
    """The configured name is text as well, in the title too."""
    body = Pages("<b>&").body("bad_request", Navigation.LOAD, ID).decode()

    assert 2 == body.count("&lt;b&gt;&amp;")
    assert "<b>" not in body


def test_the_logo_is_a_picture_in_the_page():
    """It is shown by <img>, where scripts of an SVG do not run, and never fetched."""
    data = b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"
    pages = Pages("Shop", Logo("image/svg+xml", data))
    shown = Outline(pages.body("role_missing", Navigation.LOAD, ID)).all("img")

    assert [
        {"src": "data:image/svg+xml;base64," + base64.b64encode(data).decode(), "alt": ""}
    ] == shown
    assert [] == Outline(PAGES.body("role_missing", Navigation.LOAD, ID)).all("img")


def test_a_logo_that_is_gone_is_left_out(tmp_path, caplog):
    """A worker that starts later than the check serves pages all the same."""
    pages = Pages.from_config(BrandingConfig(name="Shop", logo=tmp_path / "gone.png"))

    assert PAGES.body("loop", Navigation.LOAD, ID) == pages.body("loop", Navigation.LOAD, ID)
    assert "pages go without" in caplog.text


def test_the_style_is_the_one_that_the_policy_allows():
    """style-src has the hash of the very text between the tags, and everything else is closed."""
    policy = dict(page_headers())[b"Content-Security-Policy"].decode()
    body = PAGES.body("bad_request", Navigation.LOAD, ID).decode()
    style = body.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()

    assert [
        "default-src 'none'",
        f"style-src 'sha256-{digest}'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ] == policy.split("; ")


def test_a_page_is_small():
    """Without a logo it fits into two packets."""
    assert all(len(PAGES.body(code, Navigation.LOAD, ID)) < 2900 for code in CODES)
