"""Writing a file that was not there before: whole or not at all, and over nothing by accident."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path


def write_new(path: Path, text: str, *, is_forced: bool = False) -> None:
    """Write `text` to `path` in one step, in UTF-8; `is_forced` also takes an existing file's place.

    Raises `FileExistsError` where something has the name already, and other `OSError`s; nothing of
    the new text is there then.
    """
    if not is_forced:
        # The name is taken first: of two commands at once only one goes on.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with draft.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        for left in (draft,) if is_forced else (draft, path):
            with contextlib.suppress(OSError):
                left.unlink()
        raise
