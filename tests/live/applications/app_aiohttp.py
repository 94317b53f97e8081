"""An aiohttp application with its sessions in Redis: /login, /logout, whom it takes the caller for."""

from __future__ import annotations

import asyncio
import os
import sys

from aiohttp import web
from aiohttp_session import get_session, new_session, setup
from aiohttp_session.redis_storage import RedisStorage
from redis.asyncio import Redis


async def login(request: web.Request) -> web.Response:
    session = await new_session(request)
    session["AIOHTTP_SECURITY"] = "alice"
    return await whoami(request)


async def touch(request: web.Request) -> web.Response:
    session = await get_session(request)
    session["count"] = session.get("count", 0) + 1
    return await whoami(request)


async def leave(request: web.Request) -> web.Response:
    session = await get_session(request)
    session.pop("AIOHTTP_SECURITY", None)
    return await whoami(request)


async def logout(request: web.Request) -> web.Response:
    (await get_session(request)).invalidate()
    return web.json_response({"user": None})


async def whoami(request: web.Request) -> web.Response:
    session = await get_session(request)
    told = request.headers.get("X-Auth-Subject")
    return web.json_response({"user": session.get("AIOHTTP_SECURITY"), "told": told})


async def main() -> None:
    redis = Redis.from_url(os.environ["REDIS_URL"])
    app = web.Application()
    setup(app, RedisStorage(redis, max_age=600))
    for path, handler in (
        ("/login", login),
        ("/touch", touch),
        ("/leave", leave),
        ("/logout", logout),
    ):
        app.router.add_get(path, handler)
    app.router.add_get("/", whoami)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()
    await redis.aclose()


asyncio.run(main())
