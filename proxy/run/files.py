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

Signature = tuple[int, int, int, int] | None
Seen = dict[Path, Signature]
Changed = Callable[[frozenset[Path]], Awaitable[None]]
"""Told which files have changed, once they have been the same for two looks."""


def watched_files(loaded: LoadedConfig) -> frozenset[Path]:
    """Return the files whose change is a reload; people are looked after by themselves."""
    config = loaded.config
    files = {path for path in _paths(config) if path.is_file()}
    if config.login is not None and config.login.users is not None:
        files.discard(config.login.users.file)
    own = own_file(loaded)
    if config.reload.watch and own is not None:
        files.add(own)
    return frozenset(files)


def own_file(loaded: LoadedConfig) -> Path | None:
    """Return where the configuration stands; `None` where it was not read from a file."""
    path = Path(loaded.file)
    return path if loaded.file != "-" and path.is_file() else None


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
        self._files = watched_files(loaded)
        self._known = look(self._files)

    def look(self) -> Seen:
        """Return how the files are now: to be taken before they are read again."""
        return look(self._files)

    def read(self, loaded: LoadedConfig, before: Seen) -> None:
        """Note that a configuration was read, after a look that gave `before`."""
        self._files = watched_files(loaded)
        known = look(self._files)
        own = own_file(loaded)
        if own in known and own.read_bytes() != loaded.text:
            known[own] = None  # it has changed since
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
                await changed(news)
            before = now


def look(files: frozenset[Path]) -> Seen:
    """Return how files are now."""
    return {path: _signature(path) for path in files}


def _signature(path: Path) -> Signature:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size
