"""A JSON API: a few orders, and what the gate said of the caller."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

from aiohttp import web

from upstream_example.received import identity_headers, subject

_ORDERS = web.AppKey("orders", dict[int, dict[str, Any]])
_NUMBERS: web.AppKey[Iterator[int]] = web.AppKey("numbers", Iterator)

_MAX_ORDERS = 1_000


def make_api() -> web.Application:
    """Return the application; its orders live in memory."""
    app = web.Application()
    app[_ORDERS] = {
        1: {"id": 1, "item": "bell", "by": "ada"},
        2: {"id": 2, "item": "rope", "by": "bo"},
    }
    app[_NUMBERS] = itertools.count(3)
    app.add_routes(
        [
            web.get("/whoami", whoami),
            web.get("/orders", list_orders),
            web.post("/orders", add_order),
            web.get(r"/orders/{number:\d{1,9}}", show_order),
            web.get("/admin/report", report),
        ]
    )
    return app


async def whoami(request: web.Request) -> web.Response:
    """Return the identity headers that arrived."""
    return web.json_response({"subject": subject(request), "headers": identity_headers(request)})


async def list_orders(request: web.Request) -> web.Response:
    """Return all orders."""
    return web.json_response(list(request.app[_ORDERS].values()))


async def show_order(request: web.Request) -> web.Response:
    """Return one order, or 404."""
    order = request.app[_ORDERS].get(int(request.match_info["number"]))
    if order is None:
        return web.json_response({"error": "no such order"}, status=404)
    return web.json_response(order)


async def add_order(request: web.Request) -> web.Response:
    """Keep `{"item": …}` as an order of the caller."""
    try:
        wanted = await request.json()
    except json.JSONDecodeError:
        return web.json_response({"error": "not JSON"}, status=400)
    item = wanted.get("item") if isinstance(wanted, dict) else None
    if not isinstance(item, str) or not item:
        return web.json_response({"error": "an order needs an item"}, status=400)
    orders = request.app[_ORDERS]
    if len(orders) >= _MAX_ORDERS:
        return web.json_response({"error": "too many orders"}, status=507)
    numbers = request.app[_NUMBERS]
    number = next(numbers)
    orders[number] = {"id": number, "item": item[:200], "by": subject(request)}
    return web.json_response(orders[number], status=201)


async def report(request: web.Request) -> web.Response:
    """Return what only administrators should see; this application does not check it."""
    return web.json_response({"orders": len(request.app[_ORDERS]), "for": subject(request)})
