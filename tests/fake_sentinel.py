"""A program on a socket that says what a Sentinel would, and what a test changes."""

from __future__ import annotations

import contextlib

import hiredis


class FakeSentinel:
    """Names a master that a test chooses."""

    def __init__(self, place):
        self.place = place
        self.flags = "master"
        self.asked = 0
        self.reply = None
        self.is_silent = False

    async def serve(self, reader, writer):
        parser = hiredis.Reader()
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                parser.feed(data)
                while (command := parser.gets()) is not False:
                    writer.write(self._answer(command))
        writer.close()

    def _answer(self, command):
        if self.is_silent:
            return b""
        if self.reply is not None:
            return self.reply
        if command[1] == b"REPLICAS":
            return b"*1\r\n" + bulk("flags", "slave")
        self.asked += 1
        host, port = self.place
        fields = {"ip": host, "port": port, "config-epoch": 0, "flags": self.flags}
        return bulk(*(part for pair in fields.items() for part in pair), "num-other-sentinels", 2)


def bulk(*words):
    texts = [str(word).encode() for word in words]
    return b"*%d\r\n" % len(texts) + b"".join(b"$%d\r\n%s\r\n" % (len(t), t) for t in texts)
