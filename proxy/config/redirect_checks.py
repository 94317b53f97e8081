"""Checks of the listener that leads to https: whom it knows, and whether anybody is there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from proxy.config.addresses import host_of
from proxy.config.models import Config
from proxy.config.survey import Survey
from proxy.errors import Problem

HTTPS_PORT: Final = 443


def led_hosts(config: Config) -> frozenset[str]:
    """Return the hosts, and wildcards, that are led to https; empty where none is named."""
    redirect = config.redirect
    if redirect is not None and redirect.hosts is not None:
        return frozenset(redirect.hosts)
    named = {route.match.host for route in config.routes if route.match.host is not None}
    if config.login is not None:
        named.update(config.login.hosts or ())
    if config.server.public_url is not None:
        host = host_of(config.server.public_url)
        named.add(f"[{host}]" if ":" in host else host)
    return frozenset(named)


def check_redirect(survey: Survey) -> Iterator[Problem]:
    """Find a redirect that leads nobody anywhere."""
    config = survey.config
    if config.redirect is None or not survey.is_whole("redirect"):
        return
    if not led_hosts(config) and survey.is_whole("routes") and survey.is_whole("server"):
        message = "is required: neither the routes nor server.public_url name a host"
        yield Problem(("redirect", "hosts"), message)
    url = config.server.public_url
    is_https = url is not None and url.lower().startswith("https:")
    if config.server.tls is None and not is_https and survey.is_whole("server"):
        message = "as far as the gate knows nobody answers on https: neither server.tls nor an https server.public_url is there"
        yield Problem(("redirect",), message, is_warning=True)


CHECKS: Final = (check_redirect,)
