"""The gate starts on the aiohttp that it knows, and on no other."""

from __future__ import annotations

import pytest
from aiohttp import http_parser

from proxy.edge import internals


def test_this_aiohttp_is_known():
    """The locked version has the internals that the connection leans on."""
    internals.verify_internals()


def test_the_pure_python_parser_is_refused(monkeypatch):
    """field.md §3 #39: it reads HTTP differently from the C parser."""
    monkeypatch.setattr(internals, "HttpRequestParser", http_parser.HttpRequestParserPy)

    with pytest.raises(RuntimeError, match="C parser"):
        internals.verify_internals()
