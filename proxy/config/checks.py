"""What must be right between the keys of a configuration; run after every key is right by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from proxy.config.survey import Survey
from proxy.errors import Problem

CHECKS: tuple[Callable[[Survey], Iterable[Problem]], ...] = ()


def dangling(survey: Survey) -> Iterator[tuple[str | int, ...]]:
    """Yield the paths of routes that name an upstream or scheme that is not there."""
    config = survey.config
    for index, route in enumerate(config.routes):
        is_complete = route.upstream in config.upstreams and set(route.auth) <= set(config.schemes)
        if not is_complete or not survey.is_whole("routes", index, "match"):
            yield ("routes", index)
