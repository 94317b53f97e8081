"""Secrets of the configuration: text that never shows itself."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Annotated, Final

from pydantic import PlainValidator, WithJsonSchema
from pydantic_core.core_schema import ValidationInfo

from proxy.config.values import NO_FILE, parse_path, parse_text

MAX_SECRET_FILE: Final = 64 * 1024
"""Bytes; the largest secret that anybody keeps is a certificate chain."""

SECRET_FILES: Final = "secret_files"
"""In the context of validation: what the files of secrets hold, by path, where that was read once."""

_READ: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
"""Does not wait for the other end of a named pipe, which is refused."""


class Secret:
    """A credential. `repr`, `str` and formatting show `***`; only `reveal` tells it."""

    __slots__ = ("_value",)

    def __init__(self, value: str | bytes) -> None:
        self._value = value.encode() if isinstance(value, str) else value

    def reveal(self) -> str:
        """Return the secret as text; raises `ValueError` where it is not UTF-8."""
        try:
            return self._value.decode()
        except UnicodeDecodeError:
            raise ValueError("the secret is not text in UTF-8") from None

    def reveal_bytes(self) -> bytes:
        """Return the secret as the bytes that stand in its file (text: in UTF-8)."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)


def parse_secret(value: object, info: ValidationInfo | None) -> Secret:
    """Return a secret given as text, or as `{file: path}` whose final line end is cut."""
    if isinstance(value, Secret):
        return value
    if isinstance(value, dict):
        return _from_file(value, info)
    if not isinstance(value, str):
        raise ValueError("must be text, or {file: path}; put a number in quotes")
    return Secret(parse_text(value))


def _from_file(value: dict[str, object], info: ValidationInfo | None) -> Secret:
    if set(value) != {"file"}:
        raise ValueError("must be text, or {file: path} and nothing else")
    path = parse_path(value["file"], info)
    context = info.context if info is not None else None
    known = context.get(SECRET_FILES) if isinstance(context, dict) else None
    if known is None:
        return Secret(_read(path))
    if str(path) not in known:
        known[str(path)] = _read(path)
    return Secret(known[str(path)])


def _read(path: Path) -> bytes:
    """Return what a secret's file holds, without its final line end. Raises `ValueError`."""
    try:
        with os.fdopen(os.open(path, _READ), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ValueError("the secret's file is not a regular file")
            content = file.read(MAX_SECRET_FILE + 1)
    except FileNotFoundError:
        raise ValueError(NO_FILE) from None
    except OSError as error:
        raise ValueError(f"the secret's file cannot be read: {error.strerror}") from None
    if len(content) > MAX_SECRET_FILE:
        raise ValueError("the secret's file is larger than 64 KiB")
    content = content.removesuffix(b"\n").removesuffix(b"\r")
    if not content:
        raise ValueError("the secret's file is empty")
    return content


SecretValue = Annotated[
    Secret,
    PlainValidator(parse_secret),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1},
                {
                    "type": "object",
                    "properties": {"file": {"type": "string", "minLength": 1}},
                    "required": ["file"],
                    "additionalProperties": False,
                },
            ]
        }
    ),
]
