"""An application of WebSockets that costs next to nothing: for so many bytes of a frame one frame back.

Run as a script with its port. It knows one frame: `CLIENT` comes in, `SERVER` goes out.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import sys

import uvloop

MESSAGE = b"a message of thirty-two bytes..."
CLIENT = b"\x82\xa0\0\0\0\0" + MESSAGE
"""Masked with zeros, which changes nothing (RFC 6455, 5.3)."""
SERVER = b"\x82\x20" + MESSAGE
MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
KEY = re.compile(rb"\r\nsec-websocket-key: *([^\r\n]+)", re.IGNORECASE)


def welcome(head):
    """Return the answer to a handshake (RFC 6455, 4.2.2)."""
    digest = hashlib.sha1(KEY.search(head)[1].strip() + MAGIC).digest()  # noqa: S324 - the RFC's
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
    )


class Echo(asyncio.Protocol):
    def __init__(self):
        self.is_open = False
        self.head = b""
        self.held = 0

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        if not self.is_open:
            self.head += data
            if b"\r\n\r\n" in self.head:
                self.is_open = True
                self.transport.write(welcome(self.head))
            return
        frames, self.held = divmod(self.held + len(data), len(CLIENT))
        self.transport.write(SERVER * frames)


async def main(port):
    loop = asyncio.get_running_loop()
    await loop.create_server(Echo, "127.0.0.1", port, backlog=4096)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
