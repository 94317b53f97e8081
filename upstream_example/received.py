"""What an application behind a gate gets to see: who the gate says that the caller is."""

from __future__ import annotations

from aiohttp import web

_TOLD_BY_THE_GATE = ("X-Auth-", "X-Request-Id", "X-Forwarded-", "Forwarded", "Via")


def identity_headers(request: web.Request) -> dict[str, str]:
    """Return the headers that a gate sets, as they arrived; repeated ones joined by a comma."""
    told: dict[str, list[str]] = {}
    for name, value in request.headers.items():
        if name.title().startswith(_TOLD_BY_THE_GATE):
            told.setdefault(name.title(), []).append(value)
    return {name: ", ".join(values) for name, values in sorted(told.items())}


def subject(request: web.Request) -> str:
    """Return who the caller is, as the gate says; `nobody` where it says nothing."""
    return request.headers.get("X-Auth-Subject", "nobody")
