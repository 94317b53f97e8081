"""The logo of the gate's own pages: which files are taken, and what is said of others."""

from __future__ import annotations

import pytest

from proxy.config.logo import MAX_LOGO_BYTES, Logo, read_logo
from proxy.services.compile_checks import compile_problems

SVG = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"/>'


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (b"\x89PNG\r\n\x1a\n...", "image/png"),
        (b"\xff\xd8\xff\xe0...", "image/jpeg"),
        (b"GIF89a...", "image/gif"),
        (b"RIFF\x0a\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b"\x00\x00\x00\x20ftypavif...", "image/avif"),
        (SVG, "image/svg+xml"),
        (b"\xef\xbb\xbf\n<?xml version='1.0'?>\n<!-- ours -->\n" + SVG, "image/svg+xml"),
        (b"<!DOCTYPE svg>\n" + SVG, "image/svg+xml"),
    ],
)
def test_the_content_says_what_a_picture_is(tmp_path, data, media_type):
    """The file's name does not count."""
    path = tmp_path / "logo.txt"
    path.write_bytes(data)

    assert Logo(media_type, data) == read_logo(path)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "is no picture that browsers show"),
        (b"<html><svg xmlns='http://www.w3.org/2000/svg'/></html>", "is no picture"),
        (b"<script>alert(1)</script>", "is no picture"),
        (b"<svg viewBox='0 0 1 1'/>", "is an SVG without xmlns"),
        (b"\x89PNG\r\n\x1a\n" + bytes(MAX_LOGO_BYTES), "is larger than 64KiB"),
    ],
)
def test_what_cannot_be_shown_is_a_mistake_of_the_file(reading, data, sentence):
    """It is told when the configuration is read, at its own key."""
    (reading.base / "logo.png").write_bytes(data)
    text = reading.good + "branding: {name: Shop, logo: logo.png}\n"
    found = reading.mistakes(text, checks=[compile_problems])

    assert [f"7:30: branding.logo: {sentence}"] == [line[: 21 + len(sentence)] for line in found]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("gone.svg", "there is no such file; a relative path begins where the configuration is"),
        (".", "is a directory, not a file"),
    ],
)
def test_a_file_that_is_none_is_a_mistake(reading, name, sentence):
    """A path that leads to no file is told, too."""
    found = reading.mistakes(
        reading.good + f"branding: {{logo: {name}}}\n", checks=[compile_problems]
    )

    assert [f"7:18: branding.logo: {sentence}"] == found


def test_a_picture_of_the_largest_size_is_taken(tmp_path):
    """The bound itself is allowed."""
    path = tmp_path / "logo"
    path.write_bytes(SVG.ljust(MAX_LOGO_BYTES))

    assert MAX_LOGO_BYTES == len(read_logo(path).data)


def test_none_is_the_default(reading):
    """Without the key, or with `none`, the name stands alone."""
    assert reading.config("log: {}\n").branding.logo is None
    assert reading.config("branding: {logo: none}\n").branding.logo is None
