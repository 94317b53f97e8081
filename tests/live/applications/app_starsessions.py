"""A Starlette application with its sessions in Redis, by starsessions: as app_aiohttp.py."""

from __future__ import annotations

import asyncio
import os
import socket
import sys

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starsessions import SessionAutoloadMiddleware, SessionMiddleware
from starsessions.session import regenerate_session_id
from starsessions.stores.redis import RedisStore


async def login(request: Request) -> JSONResponse:
    regenerate_session_id(request)
    request.session["user_id"] = "42"
    return await whoami(request)


async def touch(request: Request) -> JSONResponse:
    request.session["count"] = request.session.get("count", 0) + 1
    return await whoami(request)


async def leave(request: Request) -> JSONResponse:
    request.session.pop("user_id", None)
    request.session["left"] = True
    return await whoami(request)


async def logout(request: Request) -> JSONResponse:
    request.session.clear()
    return JSONResponse({"user": None})


async def whoami(request: Request) -> JSONResponse:
    told = request.headers.get("X-Auth-Subject")
    return JSONResponse({"user": request.session.get("user_id"), "told": told})


async def main() -> None:
    app = Starlette(
        routes=[
            Route("/login", login),
            Route("/touch", touch),
            Route("/leave", leave),
            Route("/logout", logout),
            Route("/", whoami),
        ],
        middleware=[
            Middleware(
                SessionMiddleware,
                store=RedisStore(os.environ["REDIS_URL"]),
                lifetime=600,
                rolling=True,
                cookie_https_only=False,
            ),
            Middleware(SessionAutoloadMiddleware),
        ],
    )
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    serving = asyncio.get_running_loop().create_task(server.serve([listener]))
    await asyncio.to_thread(sys.stdin.read)
    server.should_exit = True
    await serving


asyncio.run(main())
