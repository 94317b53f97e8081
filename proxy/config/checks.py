"""What must be right between the keys of a configuration, once every key is right by itself.

Each check looks at one promise and says where it is broken. Where a mistake has been cut out of the
configuration already, a check that depends on it keeps silent: it would name a consequence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from proxy.config import (
    client_checks,
    decision_checks,
    login_checks,
    mtls_checks,
    network_checks,
    provider_checks,
    redirect_checks,
    response_checks,
    route_checks,
    scheme_checks,
    store_checks,
    tracing_checks,
)
from proxy.config.messages import did_you_mean, show_path
from proxy.config.survey import Survey
from proxy.errors import Problem

SurveyCheck = Callable[[Survey], Iterable[Problem]]


def check_references(survey: Survey) -> Iterator[Problem]:
    """Find names of upstreams and schemes that nothing in the file defines."""
    config = survey.config
    for index, route in enumerate(config.routes):
        yield from _unknown(survey, "upstreams", route.upstream, ("routes", index, "upstream"))
        for place, scheme in enumerate(route.auth):
            yield from _unknown(survey, "schemes", scheme, ("routes", index, "auth", place))
    for name, item in config.schemes.items():
        for place, upstream in enumerate(getattr(item, "issued_by", ())):
            path = ("schemes", name, "issued_by", place)
            yield from _unknown(survey, "upstreams", upstream, path)
    if config.login is not None:
        yield from _unknown(survey, "schemes", config.login.scheme, ("login", "scheme"))
    for index, test in enumerate(config.tests):
        if test.as_ is not None:
            yield from _unknown(
                survey, "schemes", test.as_.scheme, ("tests", index, "as", "scheme")
            )


def check_route_names(survey: Survey) -> Iterator[Problem]:
    """Find names that two routes share, and a file that serves nothing at all."""
    first: dict[str, int] = {}
    for index, route in enumerate(survey.config.routes):
        earlier = first.setdefault(route.name, index)
        if earlier != index:
            shown = show_path(survey.tree.original(("routes", earlier)))
            yield Problem(("routes", index, "name"), f"{shown} has this name already")
    if not survey.config.routes and survey.is_whole("routes"):
        message = "there are no routes: every request is answered with 404"
        yield Problem(("routes",), message, is_warning=True)


def dangling(survey: Survey) -> Iterator[tuple[str | int, ...]]:
    """Yield the paths of routes that lean on a definition or match that is not there."""
    config = survey.config
    for index, route in enumerate(config.routes):
        is_complete = route.upstream in config.upstreams and set(route.auth) <= set(config.schemes)
        if not is_complete or not survey.is_whole("routes", index, "match"):
            yield ("routes", index)


def _unknown(
    survey: Survey, section: str, name: str, path: tuple[str | int, ...]
) -> Iterator[Problem]:
    if not survey.is_named(section, name):
        hint = did_you_mean(name, survey.tree.names(section))
        yield Problem(path, f"there is no such name in `{section}`{hint}")


CHECKS: Final[tuple[SurveyCheck, ...]] = (
    check_references,
    check_route_names,
    *scheme_checks.CHECKS,
    *route_checks.CHECKS,
    *redirect_checks.CHECKS,
    *mtls_checks.CHECKS,
    *response_checks.CHECKS,
    *network_checks.CHECKS,
    *decision_checks.CHECKS,
    *store_checks.CHECKS,
    *client_checks.CHECKS,
    *login_checks.CHECKS,
    *provider_checks.CHECKS,
    *tracing_checks.CHECKS,
)
