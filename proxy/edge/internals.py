"""Are aiohttp's internals those that proxy.edge.connection leans on? Asked once, at the start."""

from __future__ import annotations

import aiohttp
from aiohttp import web_protocol
from aiohttp.http_parser import HttpRequestParser
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import RequestHandler

LANE_SLOTS = frozenset(
    {"_waiter", "_messages", "_paused", "_next_keepalive_close_time", "_keepalive_handle"}
)
LANE_METHODS = ("_process_keepalive", "pause_writing", "resume_writing", "connection_lost")


def why_no_lane() -> str | None:
    """Return why the express lane (proxy.edge.express) stays off; `None`: all is as it is known."""
    known = {name for kind in RequestHandler.__mro__ for name in getattr(kind, "__slots__", ())}
    missing = sorted(LANE_SLOTS - known)
    missing += [name for name in LANE_METHODS if not hasattr(RequestHandler, name)]
    if missing:
        return f"aiohttp {aiohttp.__version__} has other internals than expected: {missing[0]}"
    if getattr(EMPTY_PAYLOAD, "is_eof", bool)() is not True:
        return f"aiohttp {aiohttp.__version__} has another empty payload than expected"
    return None


def verify_internals() -> None:
    """Raise RuntimeError unless aiohttp is of the kind that this file knows."""
    if not HttpRequestParser.__module__.endswith("_http_parser"):
        raise RuntimeError("aiohttp runs without its C parser, which reads HTTP differently")
    needed = {"_messages", "_waiter", "_task_handler", "_keepalive_handle", "_upgraded"}
    known = {name for kind in RequestHandler.__mro__ for name in getattr(kind, "__slots__", ())}
    if not needed <= known or not hasattr(web_protocol, "_ErrInfo"):
        raise RuntimeError(f"aiohttp {aiohttp.__version__} has other internals than expected")
