"""Checks of `login.providers`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from proxy.config.addresses import host_of, is_loopback
from proxy.config.provider_models import OPENID, ProviderConfig
from proxy.config.survey import Survey
from proxy.errors import Problem

_SECTION: Final = ("login", "providers")


def check_providers(survey: Survey) -> Iterator[Problem]:
    """Find providers that are asked in the clear (K3), or for something else than a login."""
    for name, provider in _providers(survey):
        path = (*_SECTION, name)
        if survey.is_whole(*path, "issuer"):
            yield from _check_issuer((*path, "issuer"), provider.issuer)
        if OPENID not in provider.scopes and survey.is_whole(*path, "scopes"):
            yield Problem((*path, "scopes"), "must contain openid: without it nobody is named")
        if provider.client_secret is None and survey.is_whole(*path, "client_secret"):
            message = "there is no secret: the provider must know this gate as a public client"
            yield Problem((*path, "client_secret"), message, is_warning=True)


def check_provider_subjects(survey: Survey) -> Iterator[Problem]:
    """Find people of two places who could have one name (K6): sessions know them by it alone."""
    login = survey.config.login
    if login is None or not survey.is_whole("login"):
        return
    is_alone = len(login.providers) == 1 and login.users is None
    for name, provider in _providers(survey):
        subject = provider.identity.subject
        if not is_alone and "{iss}" not in subject:
            message = (
                "people come from several places, and two could have one name:"
                ' write identity: {subject: "{iss}|{sub}"}'
            )
            is_written = "identity" in provider.model_fields_set
            yield Problem((*_SECTION, name, *(["identity"] if is_written else [])), message)


def check_provider_tokens(survey: Survey) -> Iterator[Problem]:
    """Find routes that are to be told a provider's token where nobody can have one."""
    login = survey.config.login
    for index, route in enumerate(survey.config.routes):
        if not route.identity.provider_token or not survey.is_whole("login"):
            continue
        path = ("routes", index, "identity", "provider_token")
        if login is None or not login.providers:
            yield Problem(path, "needs `login.providers`, which give such tokens")
        elif login.scheme not in route.auth and survey.is_whole("routes", index, "auth"):
            yield Problem(
                path, f"needs `{login.scheme}` in `auth`: only its sessions have such tokens"
            )


def _providers(survey: Survey) -> Iterator[tuple[str, ProviderConfig]]:
    if survey.config.login is not None:
        yield from survey.config.login.providers.items()


def _check_issuer(path: tuple[str, ...], issuer: str) -> Iterator[Problem]:
    if "?" in issuer:
        yield Problem(path, "an issuer has no query")
    if not issuer.startswith("https://") and not is_loopback(host_of(issuer)):
        yield Problem(path, "must be https:// (http:// is for a provider on this machine)")


CHECKS: Final = (check_providers, check_provider_subjects, check_provider_tokens)
