"""Are aiohttp's internals those that proxy.edge.connection leans on? Asked once, at the start."""

from __future__ import annotations

import aiohttp
from aiohttp import web_protocol
from aiohttp.http_parser import HttpRequestParser
from aiohttp.web_protocol import RequestHandler


def verify_internals() -> None:
    """Raise RuntimeError unless aiohttp is of the kind that this file knows."""
    if not HttpRequestParser.__module__.endswith("_http_parser"):
        raise RuntimeError("aiohttp runs without its C parser, which reads HTTP differently")
    needed = {"_messages", "_waiter", "_task_handler", "_keepalive_handle", "_upgraded"}
    known = {name for kind in RequestHandler.__mro__ for name in getattr(kind, "__slots__", ())}
    if not needed <= known or not hasattr(web_protocol, "_ErrInfo"):
        raise RuntimeError(f"aiohttp {aiohttp.__version__} has other internals than expected")
