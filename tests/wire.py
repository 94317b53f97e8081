"""An upstream connection without a network: bytes in, what its receiver and its pool were told out.

Stands in for the ports only: the event loop's transport and clock, the pool, the receiver.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

from proxy.adapters.upstreams.connection import Connection
from proxy.adapters.upstreams.settings import UpstreamSettings
from proxy.errors import ProxyError


class Clock:
    """The event loop as far as a connection uses it without waiting."""

    def __init__(self) -> None:
        self.now = 1000.0

    def time(self) -> float:
        """Return what the test says."""
        return self.now


class Transport(asyncio.Transport):
    """Records what is written, and whether reading is paused or the end has come."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.unsent = 0
        self.is_reading = True
        self.is_closed = False
        self.is_aborted = False

    def write(self, data):
        """Record bytes."""
        self.written += data

    def writelines(self, parts):
        """Record bytes."""
        self.written += b"".join(parts)

    def get_write_buffer_size(self):
        """Return what the test says."""
        return self.unsent

    def set_write_buffer_limits(self, high=None, low=None):
        """Take limits."""

    def pause_reading(self):
        """Record it."""
        self.is_reading = False

    def resume_reading(self):
        """Record it."""
        self.is_reading = True

    def is_closing(self):
        """Tell whether the connection was given up."""
        return self.is_closed

    def can_write_eof(self):
        """Say that this is TCP."""
        return True

    def close(self):
        """Record it."""
        self.is_closed = True

    def abort(self):
        """Record it."""
        self.is_closed = self.is_aborted = True


@dataclass
class Pool:
    """Records what a connection tells its owner."""

    settings: UpstreamSettings = field(default_factory=lambda: UpstreamSettings("shop", ()))
    busy: int = 0
    kept: list[Connection] = field(default_factory=list)
    lost: int = 0
    versions: list[tuple[int, int]] = field(default_factory=list)
    begun: int = 0
    failures: list = field(default_factory=list)

    def on_failed(self, _connection, error):
        """Record."""
        self.failures.append(error)

    def on_begun(self):
        """Count."""
        self.busy += 1

    def on_freed(self, connection, *, is_reusable):
        """Count, and keep."""
        self.busy -= 1
        if is_reusable:
            self.kept.append(connection)

    def on_version(self, version):
        """Record."""
        self.versions.append(version)

    def on_lost(self, _connection):
        """Count."""
        self.lost += 1


@dataclass
class Receiver:
    """Records a response, and frees the connection at its end as every receiver does."""

    connection: Connection
    interim: list = field(default_factory=list)
    head: object = None
    body: bytes = b""
    trailers: list | None = None
    error: ProxyError | None = None

    def on_informational(self, status, headers):
        """Record."""
        self.check()
        self.interim.append((status, headers))

    def on_head(self, head):
        """Record."""
        self.check()
        assert self.head is None
        self.head = head

    def on_body(self, data):
        """Record."""
        self.check()
        assert self.head is not None
        assert data
        self.body += data

    def on_end(self, trailers):
        """Record, and let the connection go."""
        self.check()
        self.trailers = trailers
        if self.head.status != 101:
            self.connection.free()

    def on_error(self, error):
        """Record."""
        self.check()
        self.error = error

    def check(self):
        """Nothing comes after the end or an error."""
        assert self.trailers is None
        assert self.error is None

    @property
    def result(self):
        """Everything that was told."""
        return (self.interim, self.head, self.body, self.trailers, type(self.error))


class Wire:
    """One connection, with its stand-ins."""

    def __init__(self, **settings) -> None:
        self.clock = Clock()
        self.pool = Pool(UpstreamSettings("shop", (), **settings))
        self.transport = Transport()
        self.connection = Connection(self.pool, self.clock)
        self.connection.connection_made(self.transport)

    def ask(self, method="GET", block=b"GET / HTTP/1.1\r\n\r\n", **options) -> Receiver:
        """Write a request."""
        receiver = Receiver(self.connection)
        self.connection.begin(block, receiver, method=method, **options)
        return receiver

    def feed(self, pieces: Iterable[bytes]) -> None:
        """Let pieces arrive as long as the connection would read them."""
        for piece in pieces:
            if piece and not self.transport.is_closed:
                self.connection.data_received(piece)

    def lose(self, error: Exception | None = None) -> None:
        """Let the server close (or the connection break)."""
        if not self.transport.is_closed and error is None:
            self.connection.eof_received()
        self.connection.connection_lost(error)
