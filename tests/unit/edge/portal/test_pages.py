"""The gate's own pages: strict policy, escaping, what assistive technology needs."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from proxy.config.models import BrandingConfig
from proxy.edge.portal.language import texts
from proxy.edge.portal.pages import PortalPages

VALUES = {
    "csrf": "t",
    "next": "/",
    "username": "",
    "error": "",
    "notice": "",
    "asks_otp": True,
    "is_remembered": False,
    "signed_in_as": "",
    "has_passwords": True,
    "can_remember": True,
}


def render(language="en", name="Shop", form_hosts=(), **values):
    """Return the sign-in page and its headers."""
    pages = PortalPages(BrandingConfig(name=name), "/_auth", form_hosts=form_hosts)
    reply = pages.reply("login.html", language, {**VALUES, **values})
    return reply.body.decode(), {key.decode(): value.decode() for key, value in reply.lines()}


class Elements(HTMLParser):
    """Collects the elements of a page."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def all(self, tag):
        return [attributes for name, attributes in self.found if name == tag]


def test_the_style_is_allowed_by_its_hash_and_nothing_else_is():
    """No script, no foreign content, no frame; a form goes to the gate only."""
    text, headers = render()
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = headers["Content-Security-Policy"]

    assert f"style-src 'sha256-{digest}'" in policy
    for part in (
        "default-src 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ):
        assert part in policy.split("; ")
    assert "script" not in text
    assert not re.search(r'style="|https?:|//', text.replace(style, ""))
    assert "no-store" == headers["Cache-Control"]


def test_a_login_for_several_hosts_may_lead_to_them():
    """Browsers apply `form-action` to where the answer redirects, too."""
    policy = render(form_hosts=["example.com", "*.example.com"])[1]["Content-Security-Policy"]

    assert "form-action 'self' https://example.com https://*.example.com" in policy


@pytest.mark.parametrize("field", ["username", "error", "notice", "signed_in_as", "next"])
def test_what_was_typed_is_escaped(field):
    """Markup in a name, a message or a target stays text."""
    text, _ = render(**{field: "<script>alert(1)</script>\"'"})

    assert "<script" not in text
    assert "&lt;script&gt;" in text or "%3Cscript" in text


def test_the_name_is_the_gates_own():
    """`branding.name` stands in title and header, escaped."""
    text, _ = render(name="A&B")

    assert "<title>Sign in · A&amp;B</title>" in text


@pytest.mark.parametrize("language", ["en", "ko"])
def test_every_field_has_its_label(language):
    """Labels, languages, live regions and autocomplete are what screen readers and browsers go by."""
    text, headers = render(language, error="x", username="alice")
    page = Elements(text)
    labels = {label.get("for") for label in page.all("label")}
    fields = [field for field in page.all("input") if field["type"] not in ("hidden", "checkbox")]

    assert language == page.all("html")[0]["lang"] == headers["Content-Language"]
    assert {field["id"] for field in fields} <= labels
    assert ["username", "current-password", "one-time-code"] == [
        field["autocomplete"] for field in fields
    ]
    assert 1 == sum("autofocus" in field for field in fields)
    assert "error" == fields[0]["aria-describedby"]
    assert {"status", "alert"} == {part["role"] for part in page.all("div")}
    assert texts(language)["submit"] in text
    assert 1 == len(page.all("h1"))


def test_without_users_there_is_no_form():
    """A gate whose people sign in elsewhere says so."""
    text, _ = render(has_passwords=False)

    assert "<form" not in text
    assert texts("en")["no_passwords"] in text
