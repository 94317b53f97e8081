"""The file of `login.users` on disk: read again when it has changed, written whole or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from proxy.config.messages import show_path
from proxy.config.user_models import UsersFile, parse_users, read_raw, read_users
from proxy.errors import ConfigError, ConfigErrors

NEW_MODE: Final = 0o600
KEPT_MODE: Final = 0o640
"""Of an existing file's rights at most these are kept: the gate may belong to its group."""

_Signature = tuple[int, int, int, int]


class WatchedUsers:
    """What the file said when it was last good."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._signature: _Signature | None = None

    def is_changed(self) -> bool:
        """Tell whether the file is another one than at the last call of `changed`."""
        return _signature(self.path) != self._signature

    def changed(self) -> UsersFile | None:
        """Return the file's content if it has changed since the last call, else `None`.

        Raises `ConfigErrors` once for each bad state of it, and when it goes away: what it said
        last is then the best that is known.
        """
        signature = _signature(self.path)
        if signature == self._signature:
            return None
        self._signature = signature
        try:
            return read_users(self.path)
        except FileNotFoundError:
            error = ConfigError(str(self.path), 1, 1, show_path(()), "the file is gone")
            raise ConfigErrors([error]) from None


def edit_users(path: Path, change: Callable[[dict[str, Any]], bool]) -> bool:
    """Change the file in one step, and leave its comments; return whether `change` did so.

    `change` is given the mapping of users, as YAML has them, and says whether it changed it. What
    it makes of the file is checked before it is written. Raises `ConfigErrors`, `OSError`, and what
    `change` raises; then nothing has changed.
    """
    target = path.resolve()
    with _locked(target.parent):
        try:
            raw = read_raw(target)
            parse_users(raw, str(path))
        except FileNotFoundError:
            raw = b"users: {}\n"
        yaml = YAML(typ="rt")
        yaml.width = 4096
        yaml.indent(mapping=2, sequence=4, offset=2)
        document: CommentedMap = yaml.load(raw.decode())
        users = document.get("users")
        if not users:  # `{}` would stay on one line
            users = CommentedMap()
            document["users"] = users
        if not change(users):
            return False
        written = io.BytesIO()
        yaml.dump(document, written)
        parse_users(written.getvalue(), str(path))
        _replace(target, written.getvalue())
        return True


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Keep other commands out meanwhile; the lock is the directory's, which nobody replaces."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _replace(target: Path, raw: bytes) -> None:
    draft = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    handle = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, NEW_MODE)
    try:
        with os.fdopen(handle, "wb") as file:
            _keep_owner(file.fileno(), target)
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise


def _keep_owner(handle: int, target: Path) -> None:
    """Leave the file to whom it belonged: a gate under another user has to read it."""
    with contextlib.suppress(FileNotFoundError):
        before = target.stat()
        now = os.fstat(handle)
        if (before.st_uid, before.st_gid) != (now.st_uid, now.st_gid):
            os.fchown(handle, before.st_uid, before.st_gid)
        os.fchmod(handle, before.st_mode & KEPT_MODE | NEW_MODE)


def _signature(path: Path) -> _Signature | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size
