"""Files that a configuration names: certificates, keys, and, where that is wanted, itself.

They are looked at and not listened to: a mounted secret is a link that changes what it leads to, and not every file
system tells of changes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final

from pydantic import BaseModel

from proxy.config.loader import LoadedConfig

LOOK_EVERY_S: Final = 1.0
AGAIN_S: Final = 5.0
"""How long what could not be taken is left alone."""

Signature = tuple[int, int, int, int] | None
Seen = dict[Path, Signature]
UNREAD: Final[Signature] = (0, 0, 0, 0)
"""Of a file that is to be read again, whatever is there."""
Changed = Callable[[frozenset[Path]], Awaitable[bool]]
"""Told which files have changed, once they have been the same for two looks; False: tell it again."""


def watched_files(loaded: LoadedConfig, own: Path | None) -> frozenset[Path]:
    """Return the files whose change is a reload; people are looked after by themselves.

    `own`: where the configuration stands, also while it is away for a moment.
    """
    config = loaded.config
    files = {path for path in _paths(config) if is_file(path)}
    if config.login is not None and config.login.users is not None:
        files.discard(config.login.users.file)
    if config.reload.watch and own is not None:
        files.add(own)
    return frozenset(files)


def own_file(loaded: LoadedConfig) -> Path | None:
    """Return where the configuration stands; `None` where it was not read from a file."""
    path = Path(loaded.file)
    return path if loaded.file != "-" and is_file(path) else None


def is_file(path: Path) -> bool:
    """Tell whether a file is there; not where nobody may look."""
    try:
        return path.is_file()
    except OSError:
        return False


def _paths(value: object) -> Iterator[Path]:
    match value:
        case Path():
            yield value
        case BaseModel():
            for name in type(value).model_fields:
                yield from _paths(getattr(value, name))
        case dict():
            for each in value.values():
                yield from _paths(each)
        case list() | tuple():
            for each in value:
                yield from _paths(each)


class FileWatch:
    """Notices changes of files since they were read."""

    def __init__(self, loaded: LoadedConfig) -> None:
        self.own = own_file(loaded)
        """Where the configuration stands; `None` where it was not read from a file."""
        self._files = watched_files(loaded, self.own)
        self._known = look(self._files)

    def look(self) -> Seen:
        """Return how the files are now: to be taken before they are read again."""
        return look(self._files)

    def read(self, loaded: LoadedConfig, before: Seen) -> None:
        """Note that a configuration was read, after a look that gave `before`."""
        self._files = watched_files(loaded, self.own)
        known = look(self._files)
        if self.own in known and _text(self.own) != loaded.text:
            known[self.own] = UNREAD  # it has changed since
        self._known = known | {path: seen for path, seen in before.items() if path in known}

    async def run(self, changed: Changed) -> None:
        """Look again and again.

        What is written in two steps, as a certificate and its key, is read when both have been done.
        """
        before: Seen = {}
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            now = self.look()
            if now == before and now != self._known:
                news = frozenset(path for path in now if now[path] != self._known.get(path))
                self._known = now
                if not await changed(news):
                    self._known = now | dict.fromkeys(news, UNREAD)
                    await asyncio.sleep(AGAIN_S)
            before = now


def look(files: frozenset[Path]) -> Seen:
    """Return how files are now."""
    return {path: _signature(path) for path in files}


def _text(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _signature(path: Path) -> Signature:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size
