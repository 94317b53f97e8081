"""Checks of what is set on answers: nothing that the gate answers for, and https where it is known."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from proxy.config.header_names import fold, is_about_caches, why_not_dressed
from proxy.config.response_models import ResponseHeadersConfig
from proxy.config.survey import Survey
from proxy.errors import Problem

_PRELOAD_S: Final = 365 * 86_400
"""What the list asks for (hstspreload.org)."""


def check_response_headers(survey: Survey) -> Iterator[Problem]:
    """Find headers of answers that are not the operator's to set or remove."""
    server = survey.config.server
    yield from _bad_names(
        ("server", "response_headers"), server.response_headers, "say it on routes"
    )
    for index, route in enumerate(survey.config.routes):
        is_private = route.cache == "private" and bool(route.auth)
        why = "the route is guarded: `cache: shared` lets caches keep its answers"
        path = ("routes", index, "response_headers")
        yield from _bad_names(path, route.response_headers, why if is_private else None)


def check_hsts(survey: Survey) -> Iterator[Problem]:
    """Find a promise of https that is never made, or that the browsers' list does not take."""
    server, path = survey.config.server, ("server", "hsts")
    hsts = server.hsts
    if hsts is None:
        return
    if hsts.preload and not (hsts.subdomains and hsts.max_age >= _PRELOAD_S):
        yield Problem((*path, "preload"), "needs `subdomains: true` and `max_age: 365d` or more")
    if server.tls is None and not server.trusted_proxies and survey.is_whole("server"):
        message = "nobody is known to use https: neither `tls` nor `trusted_proxies` is there"
        yield Problem(path, message, is_warning=True)


def _bad_names(
    path: tuple[str | int, ...], headers: ResponseHeadersConfig, caches: str | None
) -> Iterator[Problem]:
    """Yield what is wrong at `path`; `caches` is why caches may be told nothing, `None`: they may."""
    seen: set[str] = set()
    for name in headers.set:
        if (reason := _reason(name, caches)) is not None:
            yield Problem((*path, "set", name), reason)
        elif fold(name) in seen:
            yield Problem((*path, "set", name), "is set already, in another spelling")
        seen.add(fold(name))
    for place, name in enumerate(headers.remove):
        reason = _reason(name, caches)
        if reason is None and fold(name) in seen:
            reason = "is set as well, in the place of the application's"
        if reason is not None:
            yield Problem((*path, "remove", place), reason)


def _reason(name: str, caches: str | None) -> str | None:
    reason = caches if is_about_caches(name) else why_not_dressed(name)
    return None if reason is None else f"{name}: {reason}"


CHECKS: Final = (check_response_headers, check_hsts)
