"""Checks of session schemes that read an application's sessions, by their format."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from proxy.config.foreign_formats import COMMON, COMPRESSOR_MODULES, FORMATS, owners_of
from proxy.config.installed import is_installed
from proxy.config.models import SessionSchemeConfig
from proxy.config.survey import Survey
from proxy.errors import Problem

Path = tuple[str | int, ...]

_COMMON: Final = COMMON | {"type", "format", "issued_by"}
_ELSEWHERE: Final = frozenset({"idle_timeout", "lifetime"})
"""Keys of native sessions, of which there is a message of its own."""
_RAILS_LENGTHS: Final = (32, 64)
_SHORTEST: Final = {"express": 8, "flask": 22}
_LONGEST: Final = 256
_PHP_LENGTHS: Final = range(22, 257)


def only_for(key: str) -> str:
    """Return the message for a key that stands in a format where it means nothing."""
    if key in COMMON:
        return "is for the sessions of applications only, not for `format: native`"
    return f"is for {', '.join(f'`format: {name}`' for name in owners_of(key))} only"


def check_foreign(survey: Survey, path: Path, scheme: SessionSchemeConfig) -> Iterator[Problem]:
    """Find what an application's format cannot do without, and what means nothing in it."""
    known = FORMATS[scheme.format]
    written = scheme.model_fields_set
    for key in sorted(written - _COMMON - known.keys - _ELSEWHERE):
        yield Problem((*path, key), only_for(key))
    for key in known.required:
        is_given = key in written and getattr(scheme, key) != []
        if not is_given and survey.is_whole(*path, key):
            yield Problem((*path, key), f"is required with `format: {scheme.format}`")
    names_nobody = scheme.identity is not None and not scheme.identity.subject
    if names_nobody and survey.is_whole(*path, "identity", "subject"):
        yield Problem((*path, "identity", "subject"), "is required")
    if known.serializers and scheme.serializer not in known.serializers:
        words = ", ".join(known.serializers)
        yield Problem((*path, "serializer"), f"must be one of: {words}")
    needed = COMPRESSOR_MODULES.get(scheme.compressor, ())
    if needed and not any(map(is_installed, needed)) and survey.is_whole(*path, "compressor"):
        message = f"`{scheme.compressor}` is not installed: pip install 'latchgate[compressors]'"
        yield Problem((*path, "compressor"), message)
    yield from _check_lengths(path, scheme)
    if scheme.format == "flask" and survey.is_whole(*path):
        if scheme.signer and not scheme.secrets:
            yield Problem((*path, "secrets"), "is required with `signer: true`")
        elif scheme.secrets and not scheme.signer:
            yield Problem((*path, "secrets"), "is for `signer: true` only")


def _check_lengths(path: Path, scheme: SessionSchemeConfig) -> Iterator[Problem]:
    length = scheme.id_length
    if length is None:
        return
    if scheme.format == "rails" and length not in _RAILS_LENGTHS:
        yield Problem((*path, "id_length"), "must be 32 (Rails) or 64 (Rack alone)")
    elif scheme.format in _SHORTEST and not _SHORTEST[scheme.format] <= length <= _LONGEST:
        yield Problem((*path, "id_length"), f"must be {_SHORTEST[scheme.format]} to {_LONGEST}")
    elif scheme.format == "php" and length not in _PHP_LENGTHS:
        yield Problem((*path, "id_length"), "must be 22 to 256, as session.sid_length")
