"""A QR code as a picture that stands in the page itself: no second request could show a secret."""

from __future__ import annotations

from typing import Final

import segno

QUIET: Final = 4
"""Modules of white around it (ISO/IEC 18004); white in dark pages too, or no camera reads it."""


def qr_data_uri(text: str) -> str:
    """Return an SVG of `text` as a `data:` address, which the pages' policy allows (`img-src data:`)."""
    code = segno.make(text, micro=False, error="m")
    return code.svg_data_uri(border=QUIET, dark="#000", light="#fff", scale=4, omitsize=True)


def in_groups(secret: str) -> str:
    """Return a secret as people type it: four characters at a time."""
    return " ".join(secret[start : start + 4] for start in range(0, len(secret), 4))
