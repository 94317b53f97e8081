"""The QR code of a page."""

from __future__ import annotations

from urllib.parse import unquote
from xml.etree import ElementTree as ET

import segno

from proxy.edge.portal.qr import QUIET, qr_data_uri

URI = "otpauth://totp/Shop%20%26%20Co:ada?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Shop%20%26%20Co"


def test_it_is_a_picture_without_anything_that_runs_or_loads():
    """An SVG of paths alone, white around it also on a dark page."""
    uri = qr_data_uri(URI)
    assert uri.startswith("data:image/svg+xml")
    svg = ET.fromstring(unquote(uri.partition(",")[2]))  # noqa: S314 - made here
    tags = {element.tag.rpartition("}")[2] for element in svg.iter()}

    assert tags <= {"svg", "g", "path"}
    assert "#fff" in unquote(uri)
    assert "GEZD" not in unquote(uri)


def test_it_says_what_it_was_made_of():
    """Its size is that of the code of this very text, with the quiet zone that cameras need."""
    side = segno.make(URI, micro=False, error="m").symbol_size(scale=4, border=QUIET)[0]
    svg = ET.fromstring(unquote(qr_data_uri(URI).partition(",")[2]))  # noqa: S314 - made here

    assert f"0 0 {side} {side}" == svg.get("viewBox")
