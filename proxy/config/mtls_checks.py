"""Checks of certificates of clients: who is asked for one, and what reads it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from proxy.config.models import MtlsSchemeConfig
from proxy.config.survey import Survey
from proxy.errors import Problem


def check_certificates(survey: Survey) -> Iterator[Problem]:
    """Find schemes that no certificate ever reaches, and words about certificates that nobody shows."""
    server = survey.config.server
    if not survey.is_whole("server"):
        return
    tls = server.tls
    has_ca = tls is not None and tls.client_ca is not None
    if tls is not None and not has_ca and "client_certificate" in tls.model_fields_set:
        message = "no client is asked for a certificate: `client_ca` is missing"
        yield Problem(("server", "tls", "client_certificate"), message)
    for name, scheme in survey.config.schemes.items():
        if isinstance(scheme, MtlsSchemeConfig) and not has_ca:
            message = "no client shows a certificate: server.tls.client_ca says whose are taken"
            yield Problem(("schemes", name, "type"), message)


def check_revoked(survey: Survey) -> Iterator[Problem]:
    """Find people who have roles, and are not accepted."""
    for name, scheme in survey.config.schemes.items():
        if isinstance(scheme, MtlsSchemeConfig):
            for index, subject in enumerate(scheme.revoked.subjects):
                if subject in scheme.roles:
                    message = "has roles that are never used"
                    path = ("schemes", name, "revoked", "subjects", index)
                    yield Problem(path, message, is_warning=True)


def check_fresh_factors(survey: Survey) -> Iterator[Problem]:
    """Find routes that ask certificates when somebody proved who they are: none ever says (S7)."""
    config = survey.config
    for index, route in enumerate(config.routes):
        silent = [
            name for name in route.auth if isinstance(config.schemes.get(name), MtlsSchemeConfig)
        ]
        for key in ("mfa_within", "login_within"):
            if silent and getattr(route.require, key) is not None:
                message = f"scheme `{silent[0]}` is of certificates, which prove no factor, so it could never pass"
                yield Problem(("routes", index, "require", key), message)


CHECKS: Final = (check_certificates, check_revoked, check_fresh_factors)
