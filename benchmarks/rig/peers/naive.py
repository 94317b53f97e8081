"""The proxy that everybody writes first: a handler, a client session, and PyJWT for every request.

Run as a script with its port, the upstream's ports with a comma between them, the echo's port, the PEM file
of the key, how many processes, and the file of the access log or nothing.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import sys
from pathlib import Path

import aiohttp
import jwt
import uvloop
from aiohttp import web
from multidict import CIMultiDict

HOP_BY_HOP = ("Connection", "Keep-Alive", "Transfer-Encoding", "Upgrade", "TE", "Trailer")


class Proxy:
    def __init__(self, servers, echo, key):
        self.servers = itertools.cycle(servers)
        self.echo = echo
        self.key = key
        self.session = None

    async def handle(self, request):
        _, _, token = request.headers.get("Authorization", "").partition(" ")
        try:
            claims = jwt.decode(
                token, self.key, ["RS256"], audience="app", issuer="https://id.test"
            )
        except jwt.InvalidTokenError:
            return web.Response(status=401)
        headers = CIMultiDict(request.headers)
        for name in HOP_BY_HOP:
            headers.popall(name, None)
        headers["X-Auth-Subject"] = claims["sub"]
        headers["X-Auth-Email"] = claims["email"]
        headers["X-Forwarded-For"] = request.remote
        headers["X-Forwarded-Proto"] = "http"
        if request.path == "/echo":
            return await self.tunnel(request, headers)
        return await self.forward(request, headers)

    async def forward(self, request, headers):
        url = f"http://127.0.0.1:{next(self.servers)}{request.raw_path}"
        body = request.content if request.can_read_body else None
        async with self.session.request(
            request.method, url, headers=headers, data=body, allow_redirects=False
        ) as answer:
            passed = CIMultiDict(answer.headers)
            for name in HOP_BY_HOP:
                passed.popall(name, None)
            response = web.StreamResponse(status=answer.status, headers=passed)
            await response.prepare(request)
            async for piece in answer.content.iter_any():
                await response.write(piece)
            await response.write_eof()
            return response

    async def tunnel(self, request, headers):
        front = web.WebSocketResponse()
        await front.prepare(request)
        for name in [name for name in headers if name.lower().startswith("sec-websocket")]:
            headers.popall(name, None)
        async with self.session.ws_connect(
            f"http://127.0.0.1:{self.echo}/echo", headers=headers
        ) as back:

            async def copy(source, sink):
                async for message in source:
                    if message.type == aiohttp.WSMsgType.BINARY:
                        await sink.send_bytes(message.data)
                    else:
                        await sink.send_str(message.data)

            tasks = [asyncio.ensure_future(copy(*way)) for way in ((front, back), (back, front))]  # noqa: TID251 - as everybody writes it
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return front


async def main(port, servers, echo, pem, log=None):
    proxy = Proxy(servers.split(","), echo, Path(pem).read_text())  # noqa: ASYNC240 - once
    connector = aiohttp.TCPConnector(limit=0)
    proxy.session = aiohttp.ClientSession(connector=connector, auto_decompress=False)
    if log:
        logging.basicConfig(filename=log, level=logging.INFO, format="%(message)s")
    app = web.Application(client_max_size=2**30)
    app.router.add_route("*", "/{path:.*}", proxy.handle)
    runner = web.AppRunner(app, access_log=logging.getLogger("access") if log else None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(port), backlog=4096, reuse_port=True).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    *arguments, processes = sys.argv[1:6]
    for _ in range(1, int(processes)):
        if os.fork() == 0:
            break
    uvloop.run(main(*arguments, *sys.argv[6:]))
