"""Checks of the section login."""

from __future__ import annotations

from collections.abc import Iterator

from proxy.config.models import SessionSchemeConfig
from proxy.config.survey import Survey
from proxy.errors import Problem


def check_login_scheme(survey: Survey) -> Iterator[Problem]:
    """Find a scheme in which the gate cannot make sessions: only its own format has a writer."""
    login = survey.config.login
    if login is None:
        return
    scheme = survey.config.schemes.get(login.scheme)
    if scheme is None:
        return
    if not isinstance(scheme, SessionSchemeConfig) or scheme.format != "native":
        yield Problem(("login", "scheme"), "must be a session scheme of `format: native`")


CHECKS = (check_login_scheme,)
