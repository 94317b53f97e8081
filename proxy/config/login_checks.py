"""Checks of the section login."""

from __future__ import annotations

from collections.abc import Iterator

from proxy.config.addresses import host_of
from proxy.config.login_models import bare_name
from proxy.config.models import SessionSchemeConfig
from proxy.config.survey import Survey
from proxy.config.user_models import read_users
from proxy.errors import ConfigErrors, Problem


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


def check_users(survey: Survey) -> Iterator[Problem]:
    """Find a file of users that cannot be used; one that is not there yet is a warning."""
    login = survey.config.login
    if login is None or login.users is None:
        return
    path = ("login", "users", "file")
    try:
        read_users(login.users.file)
    except FileNotFoundError:
        message = "is not there yet: nobody can sign in before `latchgate user add` has made it"
        yield Problem(path, message, is_warning=True)
    except ConfigErrors as errors:
        for error in errors.errors:
            yield Problem(path, f"line {error.line}: {error.path}: {error.message}")


def check_cookie_domain(survey: Survey) -> Iterator[Problem]:
    """Find a cookie that cannot be sent to several hosts, and a public host outside of the domain."""
    login = survey.config.login
    if login is None or login.cookie_domain is None:
        return
    scheme = survey.config.schemes.get(login.scheme)
    if isinstance(scheme, SessionSchemeConfig) and scheme.cookie.startswith("__Host-"):
        path = ("schemes", login.scheme, "cookie")
        message = "is for one host only; with login.cookie_domain it is called __Secure-…"
        yield Problem(path, message)
    public = survey.config.server.public_url
    if public is not None and not is_below(host_of(public), login.cookie_domain):
        yield Problem(("login", "cookie_domain"), "server.public_url is not below this domain")
    for index, host in enumerate(login.hosts or ()):
        if not is_below(host.removeprefix("*."), login.cookie_domain):
            message = "is not below login.cookie_domain: no browser would keep the cookie"
            yield Problem(("login", "hosts", index), message)


def is_below(host: str, domain: str) -> bool:
    """Tell whether `host` is `domain` or below it; both in lower case."""
    return host == domain or host.endswith(f".{domain}")


def check_login_urls(survey: Survey) -> Iterator[Problem]:
    """Find pages for signing in that nobody is sent to."""
    for index, route in enumerate(survey.config.routes):
        if route.login_url is not None and not route.auth and survey.is_whole("routes", index):
            message = "is for routes that want a credential; this one is public"
            yield Problem(("routes", index, "login_url"), message)


def check_bare_cookie(survey: Survey) -> Iterator[Problem]:
    """Find a scheme that reads the name which the login has on http://localhost (S5)."""
    login = survey.config.login
    scheme = None if login is None else survey.config.schemes.get(login.scheme)
    if login is None or not isinstance(scheme, SessionSchemeConfig):
        return
    bare = bare_name(scheme.cookie)
    for name, other in survey.config.schemes.items():
        is_other = isinstance(other, SessionSchemeConfig) and name != login.scheme
        if is_other and getattr(other, "cookie", None) == bare:
            message = f"on http://localhost the login's cookie is called {bare} too"
            yield Problem(("schemes", name, "cookie"), message, is_warning=True)


CHECKS = (
    check_login_scheme,
    check_users,
    check_cookie_domain,
    check_login_urls,
    check_bare_cookie,
)
