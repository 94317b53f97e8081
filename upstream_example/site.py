"""A server-rendered site: pages, a form, a WebSocket chat and an event stream."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from aiohttp import WSMsgType, web
from jinja2 import Environment, FileSystemLoader, select_autoescape

from upstream_example.received import identity_headers, subject

_NOTES = web.AppKey("notes", list[tuple[str, str]])
_CHAT = web.AppKey("chat", set[web.WebSocketResponse])
_PAGES = web.AppKey("pages", Environment)

_MAX_NOTES = 100
_TICK_S = 1.0


def make_site() -> web.Application:
    """Return the application; its notes and its chat live in memory."""
    app = web.Application()
    app[_NOTES] = []
    app[_CHAT] = set()
    app[_PAGES] = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=select_autoescape(),
    )
    app.add_routes(
        [
            web.get("/", home),
            web.get("/public/about", about),
            web.get("/account", account),
            web.get("/admin", admin),
            web.post("/notes", add_note),
            web.get("/chat", chat_page),
            web.get("/chat/socket", chat_socket),
            web.get("/events", events),
        ]
    )
    return app


def _page(request: web.Request, name: str, **values: Any) -> web.Response:
    template = request.app[_PAGES].get_template(name)
    text = template.render(subject=subject(request), told=identity_headers(request), **values)
    return web.Response(text=text, content_type="text/html")


async def home(request: web.Request) -> web.Response:
    """Show the notes, and a form to add one."""
    return _page(request, "home.html", notes=request.app[_NOTES])


async def about(request: web.Request) -> web.Response:
    """Show a page for everybody."""
    return _page(request, "about.html")


async def account(request: web.Request) -> web.Response:
    """Show who the caller is."""
    return _page(request, "account.html")


async def admin(request: web.Request) -> web.Response:
    """Show what only administrators should see; this application does not check it."""
    return _page(request, "admin.html", notes=request.app[_NOTES])


async def add_note(request: web.Request) -> web.Response:
    """Keep the form's text under the caller's name, and go back to the list."""
    form = await request.post()
    text = form.get("text")
    if isinstance(text, str) and text.strip():
        notes = request.app[_NOTES]
        notes.append((subject(request), text.strip()[:500]))
        del notes[:-_MAX_NOTES]
    raise web.HTTPSeeOther("/")


async def chat_page(request: web.Request) -> web.Response:
    """Show the chat."""
    return _page(request, "chat.html")


async def chat_socket(request: web.Request) -> web.WebSocketResponse:
    """Pass every message to everybody who is connected, with the sender's name."""
    socket = web.WebSocketResponse(heartbeat=30)
    await socket.prepare(request)
    everybody = request.app[_CHAT]
    everybody.add(socket)
    try:
        await socket.send_json({"from": "chat", "text": f"hello {subject(request)}"})
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                line = {"from": subject(request), "text": message.data[:500]}
                await asyncio.gather(*(other.send_json(line) for other in everybody))
    finally:
        everybody.discard(socket)
    return socket


async def events(request: web.Request) -> web.StreamResponse:
    """Send an event each second until the caller leaves (text/event-stream)."""
    stream = web.StreamResponse(
        headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
    )
    await stream.prepare(request)
    number = 0
    while True:
        number += 1
        data = json.dumps({"number": number, "for": subject(request)})
        await stream.write(f"id: {number}\ndata: {data}\n\n".encode())
        await asyncio.sleep(_TICK_S)
