"""What a client may send that is no content: how much of it, and for how long (F1, F5)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from proxy.edge.incoming import ConnectionLimits, HeadError


class Meter:
    """Counts and times a head, and counts what stands around a body's content.

    The parser keeps the trailers that it reads: without an end to them they would fill the memory.
    """

    __slots__ = ("_around", "_handle", "_head", "_limits", "_loop", "_refuse")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        limits: ConnectionLimits,
        refuse: Callable[[HeadError], None],
    ) -> None:
        self._loop = loop
        self._limits = limits
        self._refuse = refuse
        self._head = 0
        self._around = 0
        self._handle: asyncio.TimerHandle | None = None

    @property
    def is_timing(self) -> bool:
        """True while a head has begun and not ended."""
        return self._handle is not None

    def adopt(self, limits: ConnectionLimits) -> None:
        """Measure with other limits from now on."""
        self._limits = limits

    def count_head(self, size: int) -> None:
        """Take so many bytes of a head that has not ended; the first of them start the timer."""
        self._head += size
        if self._head > self._limits.header_size:
            self._refuse(HeadError("headers_too_large", "the head exceeds header_size"))
        elif self._handle is None and size:
            self._handle = self._loop.call_later(self._limits.header_timeout, self._time_out)

    def count_body(self, size: int, *, content: int) -> None:
        """Take so many bytes of a body, `content` of which were content.

        What comes in one piece with content is at most one read of the socket, and not counted.
        """
        self._around = 0 if content else self._around + size
        if self._around > self._limits.header_size:
            detail = "trailers or chunk extensions exceed header_size"
            self._refuse(HeadError("headers_too_large", detail))

    def reset(self) -> None:
        """Begin anew: a head has ended, or nothing more is read."""
        self._head = self._around = 0
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _time_out(self) -> None:
        self._handle = None
        self._refuse(HeadError("request_timeout", "the head did not end in time"))
