"""What people call the program and the machine that a User-Agent speaks of (RFC 9110 §10.1.5).

A guess for a list that its owner looks at, and no more: whoever sends the header writes it. Order
matters, since each browser claims to be the ones before it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_BROWSERS: Final = (
    ("EdgA/", "Edge"), ("EdgiOS/", "Edge"), ("Edg/", "Edge"),
    ("OPR/", "Opera"), ("SamsungBrowser/", "Samsung Internet"), ("Whale/", "Whale"),
    ("Vivaldi/", "Vivaldi"), ("YaBrowser/", "Yandex"), ("FxiOS/", "Firefox"), ("CriOS/", "Chrome"),
    ("Firefox/", "Firefox"), ("HeadlessChrome/", "Chrome"), ("Chrome/", "Chrome"), ("Safari/", "Safari"),
)  # fmt: skip
_SYSTEMS: Final = (
    ("iPhone", "iPhone"), ("iPad", "iPad"), ("Android", "Android"), ("CrOS", "ChromeOS"),
    ("Windows", "Windows"), ("Macintosh", "Mac"), ("Linux", "Linux"), ("FreeBSD", "FreeBSD"),
)  # fmt: skip
_PRODUCT: Final = re.compile(r"([A-Za-z][A-Za-z0-9_.-]{0,31})(?:/|$|\s)")
"""The first word of a program that claims to be no browser, such as curl."""


@dataclass(frozen=True, slots=True)
class Device:
    """A program and the system that it runs on; `None` for what is not known."""

    program: str | None = None
    system: str | None = None


def device_of(agent: str | None) -> Device:
    """Return what is probably meant by a User-Agent; never raises on any text."""
    if not agent:
        return Device()
    system = next((name for mark, name in _SYSTEMS if mark in agent), None)
    if not agent.startswith("Mozilla/"):
        found = _PRODUCT.match(agent)
        return Device(None if found is None else found[1], system)
    return Device(next((name for mark, name in _BROWSERS if mark in agent), None), system)
