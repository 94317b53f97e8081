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
    "is_remembered": False,
    "signed_in_as": "",
    "links": [],
    "has_passwords": True,
    "providers": [],
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


def test_a_form_that_signs_out_may_lead_to_a_provider():
    """Whose address is a whole origin: on this machine it may be plain http."""
    policy = render(form_hosts=["https://id.example.com", "http://127.0.0.1:4000"])[1]

    assert (
        "form-action 'self' https://id.example.com http://127.0.0.1:4000;"
        in policy["Content-Security-Policy"]
    )


def test_providers_are_links_beside_the_form_or_instead_of_it():
    """With where the person wanted to go; what the file calls them is text."""
    providers = [("corp", "Sign in with <Corp>"), ("other", "Sign in with Other")]
    text, _ = render(providers=providers, next="/a?b=c&d")
    alone, _ = render(providers=providers, has_passwords=False)
    links = [link for link in Elements(text).all("a") if link.get("class") == "provider"]

    assert ["/_auth/start/corp?next=/a%3Fb%3Dc%26d", "/_auth/start/other?next=/a%3Fb%3Dc%26d"] == [
        link["href"] for link in links
    ]
    assert "Sign in with &lt;Corp&gt;" in text
    assert 'href="/_auth/start/corp"' in alone
    assert texts("en")["no_passwords"] not in alone


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
    assert ["username", "current-password"] == [field["autocomplete"] for field in fields]
    assert 1 == sum("autofocus" in field for field in fields)
    assert "error" == fields[0]["aria-describedby"]
    assert {"status", "alert"} == {part["role"] for part in page.all("div")}
    assert texts(language)["submit"] in text
    assert 1 == len(page.all("h1"))


FORMS = {
    "login.html": VALUES,
    "step_up.html": {"factor": "code", "wants_code": False, "is_alone": False, "username": ""},
    "second_step.html": {"enrolment": False, "csrf": "t"},
    "otp.html": {"enrolment": True, "secret": "", "is_enrolled": False, "csrf": "t"},
}


@pytest.mark.parametrize("template", FORMS)
def test_a_mistake_is_told_at_its_field(template):
    """A screen reader says what was wrong with the field that has the focus, beside its hint."""
    values = {"error": "That is wrong.", "notice": "", "next": "/", "recovery_codes": ()}
    pages = PortalPages(BrandingConfig(), "/_auth")
    page = Elements(pages.reply(template, "en", {**FORMS[template], **values}).body.decode())
    fields = [field for field in page.all("input") if field["type"] not in ("hidden", "checkbox")]
    ids = {attributes["id"] for _, attributes in page.found if "id" in attributes}

    assert ["error"] == [part["id"] for part in page.all("div") if part["role"] == "alert"]
    for field in fields:
        assert "true" == field["aria-invalid"]
        assert "error" in field["aria-describedby"].split()
        assert set(field["aria-describedby"].split()) <= ids


def test_without_users_there_is_no_form():
    """A gate whose people sign in elsewhere says so."""
    text, _ = render(has_passwords=False)

    assert "<form" not in text
    assert texts("en")["no_passwords"] in text
