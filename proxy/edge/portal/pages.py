"""The gate's own pages: templates with a name and a logo, plain HTML under a strict policy (CSP 3).

No script, nothing from elsewhere; everything that was typed is escaped where it is shown again. What
never belongs here: what a page is about.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from proxy.config.models import BrandingConfig
from proxy.edge.pages import data_uri, logo_of
from proxy.edge.portal.language import other_language, texts
from proxy.edge.portal.reply import Reply
from proxy.model import Header

STYLE: Final = "portal.css"


class PortalPages:
    """Renders the portal's templates under one name and logo."""

    def __init__(
        self, branding: BrandingConfig, base: str, *, form_hosts: Sequence[str] = ()
    ) -> None:
        """Prepare; `base` is `login.path`, `form_hosts` where a form may lead by a redirect."""
        logo = logo_of(branding)
        self._environment = Environment(
            loader=PackageLoader("proxy.edge.portal", "templates"),
            autoescape=select_autoescape(default=True, default_for_string=True),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals.update(
            brand=branding.name,
            logo="" if logo is None else data_uri(logo).decode(),
            base=base,
            style=_style(),
        )
        self._headers = _headers(tuple(form_hosts))

    def reply(
        self,
        template: str,
        language: str,
        values: Mapping[str, Any],
        *,
        status: int = 200,
        headers: Sequence[Header] = (),
        subject: str | None = None,
        code: str | None = None,
    ) -> Reply:
        """Return the page that `template` makes of `values`, in `language`.

        `text` in a template has every message of the catalogue; those with `{…}` are for the caller
        to fill in.
        """
        page = self._environment.get_template(template).render(
            language=language, other=other_language(language), text=texts(language), **values
        )
        lines = (*self._headers, (b"Content-Language", language.encode()), *headers)
        return Reply(status, lines, page.encode(), subject=subject, code=code)


@cache
def _style() -> str:
    return (resources.files("proxy.edge.portal") / "templates" / STYLE).read_text("utf-8")


def _headers(form_hosts: tuple[str, ...]) -> tuple[Header, ...]:
    digest = base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    targets = " ".join(("'self'", *(f"https://{host}" for host in form_hosts)))
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; "
        f"form-action {targets}; frame-ancestors 'none'"
    )
    return (
        (b"Content-Type", b"text/html; charset=utf-8"),
        (b"Content-Security-Policy", policy.encode("ascii")),
        (b"X-Frame-Options", b"DENY"),
        # `no-referrer` would make browsers send `Origin: null` with the form.
        (b"Referrer-Policy", b"same-origin"),
    )
