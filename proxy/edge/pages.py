"""The gate's refusals as small pages for people: written once, at the start.

All that changes from one request to the next is the request id, which is put between two pieces of
bytes. No script, nothing from elsewhere, no word of the request. What never belongs here: which
requests get a page (proxy.core.navigation).
"""

from __future__ import annotations

import base64
import hashlib
import html
import logging
from functools import cache
from http import HTTPStatus
from importlib import resources
from typing import Final

from jinja2 import Environment, StrictUndefined

from proxy.codes import CODES, CodeInfo
from proxy.config.logo import Logo, read_logo
from proxy.config.models import BrandingConfig
from proxy.core.navigation import Navigation
from proxy.model import Header

_log: Final = logging.getLogger("latchgate.edge")

_ID_HERE: Final = "\x00id\x00"
_LOGO_HERE: Final = "\x00logo\x00"
"""Neither can come from a configuration: its texts have no control characters."""

_SIGN_IN_HERE: Final = "sign-in-here"
"""Stands in a template for an address that only a request knows."""

_STARTS_AGAIN: Final = frozenset({505, 508})
"""Of the server's failures those that the same request meets again."""

_VARIANTS: Final = (
    (Navigation.LOAD, False),
    (Navigation.FORM, False),
    (Navigation.FORM, True),
)
_FORM_REMEDY: Final = (
    "Sign in, then go back and send the form again. What you typed is usually still there."
)

_Pieces = tuple[bytes, bytes, bytes]
"""Before the logo, between logo and request id, after the request id."""


class Pages:
    """The page of every code, for page loads and for forms, under one name and logo."""

    def __init__(self, name: str, logo: Logo | None = None) -> None:
        template = _environment().from_string(_asset("refusal.html"))
        self._logo = b"" if logo is None else data_uri(logo)
        self._pages: dict[tuple[str, Navigation, bool], _Pieces] = {}
        for code, info in CODES.items():
            for kind, has_sign_in in _VARIANTS:
                text = template.render(
                    name=name,
                    has_logo=logo is not None,
                    logo_here=_LOGO_HERE,
                    id_here=_ID_HERE,
                    style=_asset("refusal.css"),
                    status=info.status,
                    code=code,
                    phrase=HTTPStatus(info.status).phrase,
                    title=info.title,
                    meaning=info.meaning,
                    remedy=_FORM_REMEDY if has_sign_in else info.remedy,
                    sign_in=_SIGN_IN_HERE if has_sign_in else "",
                    leads_back=kind is Navigation.FORM or not _may_be_repeated(code, info),
                )
                self._pages[code, kind, has_sign_in] = _cut(text)

    @classmethod
    def from_config(cls, branding: BrandingConfig) -> Pages:
        """Return the pages of a checked configuration."""
        return cls(branding.name, logo_of(branding))

    def body(
        self, code: str, kind: Navigation, request_id: str, sign_in: str | None = None
    ) -> bytes:
        """Return the page of `code`, a row of proxy.codes; it leads to `sign_in` where that is given."""
        before, between, after = self._pages[code, kind, sign_in is not None]
        page = b"".join((before, self._logo, between, html.escape(request_id).encode(), after))
        if sign_in is None:
            return page
        return page.replace(_SIGN_IN_HERE.encode(), html.escape(sign_in).encode(), 1)


def logo_of(branding: BrandingConfig) -> Logo | None:
    """Return the logo of a checked configuration, if it has one.

    One that has become unreadable since is left out: no gate stands still for a picture.
    """
    if branding.logo is None:
        return None
    try:
        return read_logo(branding.logo)
    except (OSError, ValueError) as error:
        _log.warning("branding.logo cannot be used, pages go without: %s", error)
        return None


@cache
def page_headers() -> tuple[Header, ...]:
    """Return what every page is sent with, apart from what every answer is.

    The style is allowed by its hash (CSP 3), so that nothing else that got into the page would be.
    """
    digest = base64.b64encode(hashlib.sha256(_asset("refusal.css").encode()).digest())
    policy = (
        b"default-src 'none'; style-src 'sha256-%b'; img-src data:; base-uri 'none'; "
        b"form-action 'none'; frame-ancestors 'none'" % digest
    )
    return (
        (b"Content-Type", b"text/html; charset=utf-8"),
        (b"Content-Security-Policy", policy),
        (b"Referrer-Policy", b"no-referrer"),
    )


@cache
def _asset(name: str) -> str:
    return (resources.files("proxy.edge") / "templates" / name).read_text("utf-8")


def _environment() -> Environment:
    return Environment(autoescape=True, undefined=StrictUndefined)


def _may_be_repeated(code: str, info: CodeInfo) -> bool:
    """Tell whether the same address may well answer otherwise in a moment, or after a sign-in."""
    if code == "cookie_duplicate" or info.status in (401, 408, 429):
        return True
    return info.status >= 500 and info.status not in _STARTS_AGAIN


def data_uri(logo: Logo) -> bytes:
    """Return a picture as a page can hold it (RFC 2397)."""
    return b"data:%b;base64,%b" % (logo.media_type.encode(), base64.b64encode(logo.data))


def _cut(text: str) -> _Pieces:
    head, _, after = text.partition(_ID_HERE)
    before, _, between = head.partition(_LOGO_HERE)
    return before.encode(), between.encode(), after.encode()
