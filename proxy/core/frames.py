"""Where the frames of a WebSocket end, counted over its bytes (RFC 6455 §5.2).

A tunnel passes bytes on and reads no message. To close it in order it has to know where a frame of
its own may stand (between two others, also in the middle of a fragmented message, §5.4), and to
tell use from mere keeping alive it has to know data from pings. Payloads are skipped, not looked at.
"""

from __future__ import annotations

from typing import Final

CLOSE: Final = 0x8
MAX_HEADER: Final = 14
"""Two bytes, a length of eight, a mask of four."""


class FrameCounter:
    """Follows the frames of one direction."""

    __slots__ = ("_held", "_is_data", "_left", "data_seen", "has_closed")

    def __init__(self) -> None:
        self._left = 0
        """Bytes of the current frame's payload that are still to come."""
        self._held = b""
        """A header that has begun."""
        self._is_data = False
        self.data_seen = 0
        """Grows with every piece of a data frame; pings, pongs and closes leave it alone."""
        self.has_closed = False
        """True once a close frame has begun."""

    @property
    def is_at_boundary(self) -> bool:
        """True where the next byte would begin a frame."""
        return not self._left and not self._held

    def take(self, data: bytes, *, to_boundary: bool = False) -> int:
        """Count `data`; return how much of it was counted.

        That is all of it, or with `to_boundary` what stands before the next boundary, if it comes
        in `data`: nothing, where one is right now.
        """
        size = len(data)
        at = 0
        while True:
            if self._left:
                step = min(self._left, size - at)
                self._left -= step
                at += step
                self.data_seen += self._is_data and step > 0
            if at == size or (to_boundary and self.is_at_boundary):
                return at
            at += self._begin(data[at : at + MAX_HEADER])

    def _begin(self, data: bytes) -> int:
        """Read a header from the beginning of `data`, and what is held; return what it took of it."""
        head = self._held + data
        size = _header_size(head)
        if size is None or len(head) < size:
            self._held = head
            return len(data)
        taken = size - len(self._held)
        self._held = b""
        opcode = head[0] & 0x0F
        length = head[1] & 0x7F
        if length == 126:
            length = int.from_bytes(head[2:4])
        elif length == 127:
            length = int.from_bytes(head[2:10])
        self._left = length
        self._is_data = opcode < CLOSE
        self.has_closed = self.has_closed or opcode == CLOSE
        self.data_seen += self._is_data
        return taken


def _header_size(head: bytes) -> int | None:
    """Return how long the header is that begins like `head`; `None` where that is not known yet."""
    if len(head) < 2:
        return None
    length = head[1] & 0x7F
    size = 2 if length < 126 else 4 if length == 126 else 10
    return size + 4 if head[1] & 0x80 else size


def close_frame(status: int, reason: str) -> bytes:
    """Return a close frame of a server, unmasked (RFC 6455 §5.5.1). `reason`: at most 123 bytes."""
    payload = status.to_bytes(2) + reason.encode()
    if len(payload) > 125:
        raise ValueError("the reason is too long for a control frame")
    return bytes([0x80 | CLOSE, len(payload)]) + payload
