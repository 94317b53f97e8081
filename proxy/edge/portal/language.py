"""The languages of the gate's own pages, and the one catalogue of what they say."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Final

LANGUAGES: Final = ("en", "ko")
"""The first is for whoever asks for none of them."""

_RANGE: Final = re.compile(
    r"([a-z]{1,8}|\*)(?:-[a-z0-9-]{1,32})?(?:;q=(0(?:\.[0-9]{1,3})?|1(?:\.0{1,3})?))?"
)
_MAX_RANGES: Final = 32


def pick_language(wanted: str | None, accepted: bytes | None) -> str:
    """Return the language of a page: the one that was chosen, else the best of Accept-Language.

    RFC 9110 §12.5.4, by the primary subtag alone (RFC 4647 §3.4); what cannot be read is passed over.
    """
    if wanted in LANGUAGES:
        return wanted
    best, weight = LANGUAGES[0], 0.0
    for part in (accepted or b"").decode("latin-1").lower().split(",")[:_MAX_RANGES]:
        found = _RANGE.fullmatch(part.replace(" ", ""))
        if found is None or found[1] not in LANGUAGES:
            continue
        quality = float(found[2] or 1)
        if quality > weight:
            best, weight = found[1], quality
    return best


def other_language(language: str) -> str:
    """Return the language that a page offers besides its own."""
    return LANGUAGES[(LANGUAGES.index(language) + 1) % len(LANGUAGES)]


@cache
def texts(language: str) -> Mapping[str, str]:
    """Return every message in `language`, by name. Each stands there with `{…}` still in it."""
    return MappingProxyType({name: said[language] for name, said in catalogue().items()})


@cache
def catalogue() -> Mapping[str, Mapping[str, str]]:
    """Return the catalogue as its file has it."""
    raw = (resources.files("proxy.edge.portal") / "messages.toml").read_text("utf-8")
    return MappingProxyType(tomllib.loads(raw))
