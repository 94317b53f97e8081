"""Whether a server that the file calls `http://` speaks TLS: an answer that nobody makes sense of later.

A plain request is sent, `OPTIONS *` (RFC 9110 §9.3.7), which is about the server and none of its
resources. Whoever answers it with HTTP is what the file says, and is asked no more.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import Final

_ALERT: Final = b"\x15\x03"
"""How a TLS server begins to say that this was no TLS (RFC 8446 §5.1 and §6)."""
_ENOUGH: Final = len(b"HTTP/1.1 400")


async def speaks_tls(
    host: str, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> bool:
    """Tell whether a server wants TLS, by an HTTP request over a connection that was just made.

    Whoever does not answer is waited for: the caller has a time-out. Raises nothing but what that does.
    """
    begun = await _first_bytes(host, port, reader, writer)
    if begun.startswith(_ALERT):
        return True
    # nginx, Go and others answer plain HTTP on their TLS port with a page of their own and 400.
    if begun.startswith(b"HTTP/") and not begun.endswith(b" 400"):
        return False
    return await _shakes_hands(host, port)


async def _first_bytes(
    host: str, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> bytes:
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    writer.write(f"OPTIONS * HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n".encode())
    try:
        await writer.drain()
        return await reader.readexactly(_ENOUGH)
    except asyncio.IncompleteReadError as error:
        return error.partial
    except OSError:
        return b""


async def _shakes_hands(host: str, port: int) -> bool:
    """Tell whether a handshake succeeds, or is refused in TLS; nobody's certificate is looked at."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = (
        ssl.CERT_NONE
    )  # nothing is said over it: which server it is does not matter
    try:
        _, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=host)
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "")
    except OSError:
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True
