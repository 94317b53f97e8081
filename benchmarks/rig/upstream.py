"""An application that costs next to nothing: two bytes for every request without a body.

Run as a script; it prints its port and ends with its standard input.
"""

from __future__ import annotations

import asyncio

import uvloop

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"
END = b"\r\n\r\n"


class Application(asyncio.Protocol):
    def __init__(self):
        self.rest = b""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        data = self.rest + data
        heads = data.count(END)
        self.rest = data[data.rfind(END) + len(END) :] if heads else data
        self.transport.write(ANSWER * heads)


async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Application, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    is_over = asyncio.Event()
    loop.add_reader(0, is_over.set)
    await is_over.wait()


if __name__ == "__main__":
    uvloop.run(main())
