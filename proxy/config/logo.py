"""The picture of `branding.logo`: which kinds there are, and how it is read.

A file's content says what it is; its name does not count. What never belongs here: pages.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from proxy.config.values import NO_FILE

MAX_LOGO_BYTES: Final = 64 * 1024
"""It is part of every page that shows it: what a stranger asks for is not to be a large answer."""

_SIGNATURES: Final = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "image/webp"),
    (re.compile(rb"....ftypavi[fs]", re.DOTALL), "image/avif"),
)
_SVG: Final = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:svg[\s>]|[?!].*?<svg[\s>])", re.DOTALL)
"""The element, or what may stand before it: an XML declaration, comments, a document type."""
_SVG_NAMESPACE: Final = b"http://www.w3.org/2000/svg"


@dataclass(frozen=True, slots=True)
class Logo:
    """A picture, ready to be put into a page."""

    media_type: str
    data: bytes = field(repr=False)


def read_logo(path: Path) -> Logo:
    """Return the picture at `path`. Raises OSError, and ValueError with a sentence."""
    if path.is_dir():
        raise ValueError("is a directory, not a file")
    if not path.exists():
        raise ValueError(NO_FILE)
    if not path.is_file():
        raise ValueError("is not a regular file")
    with path.open("rb") as file:
        data = file.read(MAX_LOGO_BYTES + 1)
    if len(data) > MAX_LOGO_BYTES:
        raise ValueError(f"is larger than {MAX_LOGO_BYTES // 1024}KiB: it is sent with every page")
    return Logo(_media_type(data), data)


def _media_type(data: bytes) -> str:
    for signature, media_type in _SIGNATURES:
        if signature.match(data):
            return media_type
    if _SVG.match(data) is None:
        raise ValueError("is no picture that browsers show: SVG, PNG, WebP, AVIF, JPEG or GIF")
    if _SVG_NAMESPACE not in data:
        raise ValueError(f'is an SVG without xmlns="{_SVG_NAMESPACE.decode()}": it would not show')
    return "image/svg+xml"
