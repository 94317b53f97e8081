"""Whether a person looks at the answer: page loads, form posts, and everybody else (design.md §4).

Request heads in, a word out. It decides how an answer looks, never who may pass: a program that
says that it is a browser gets a page, and nothing else changes.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

from proxy.model import RequestView

_HTML: Final = re.compile(
    rb"(?:^|,)[ \t]*+text/html[ \t]*+(?P<parameters>(?:;[^,]*+)?+)(?=,|$)", re.IGNORECASE
)
_WEIGHT_ZERO: Final = re.compile(rb";[ \t]*q=0(?:\.0{0,3})?[ \t]*(?:;|$)", re.IGNORECASE)
"""`q=0` means "not acceptable" (RFC 9110 §12.4.2)."""


class Navigation(Enum):
    """How a browser came to ask for something that it will show as a page."""

    LOAD = "load"
    """An address was opened: GET or HEAD. It may be repeated, or be sent somewhere else."""
    FORM = "form"
    """A form was sent: a redirect would silently lose what was typed."""


def navigation(view: RequestView) -> Navigation | None:
    """Return how a person came here; `None` for scripts, programs and upgrades.

    `Sec-Fetch-Mode` decides where it is present (Fetch Metadata: `navigate`); browsers leave it
    out on plain http, where `Accept` must name text/html itself: `*/*` is what programs send.
    """
    if view.method not in ("GET", "HEAD", "POST") or view.values(b"upgrade"):
        return None
    if modes := view.values(b"sec-fetch-mode"):
        is_for_people = modes == [b"navigate"]
    else:
        is_for_people = _accepts_html(view.values(b"accept"))
    if not is_for_people:
        return None
    return Navigation.FORM if view.method == "POST" else Navigation.LOAD


def is_by_script(view: RequestView) -> bool:
    """Tell whether a browser says that no page of its own window asks, but a script or a frame.

    Programs, and browsers on plain http, say nothing: False. What is said twice is believed to be
    the worse (Fetch Metadata, `Sec-Fetch-Mode` and `Sec-Fetch-Dest`).
    """
    modes, places = view.values(b"sec-fetch-mode"), view.values(b"sec-fetch-dest")
    return modes not in ([], [b"navigate"]) or places not in ([], [b"document"])


def _accepts_html(values: list[bytes]) -> bool:
    return any(
        _WEIGHT_ZERO.search(found["parameters"]) is None
        for found in _HTML.finditer(b",".join(values))
    )
