"""Sessions of PHP in Redis (phpredis), as `session.serialize_handler` writes them.

Laravel has sessions of its own: `laravel`. What never belongs here: PHP's values (`php_values`).
"""

from __future__ import annotations

import re
from functools import partial
from typing import Final, Literal
from urllib.parse import unquote_to_bytes

from proxy.core.formats.php_values import BadPhp, Members, Reader
from proxy.core.formats.port import MAX_RECORD_BYTES, Format, Reading
from proxy.core.formats.refusal import BadSession

Handler = Literal["php", "php_serialize", "php_binary"]

_LETTERS: Final = {4: rb"[0-9a-f]", 5: rb"[0-9a-v]", 6: rb"[0-9a-zA-Z,\-]"}
"""Of ids, by `session.sid_bits_per_character`. None has `_`, which would reach `<id>_LOCK`."""
_IGBINARY: Final = (b"\0\0\0\1", b"\0\0\0\2")
_HIGH_BIT: Final = 0x80
"""Of a name's length in `php_binary`: once said that a variable has no value."""


def id_pattern(length: int, bits: int) -> re.Pattern[bytes]:
    """Return what matches ids of `session.sid_length` and `session.sid_bits_per_character`."""
    return re.compile(_LETTERS[bits] + rb"{%d}" % length)


def session_id(value: bytes, pattern: re.Pattern[bytes]) -> str | None:
    """Return the id in a cookie's value, which PHP percent-encodes; `None` if it is none."""
    decoded = unquote_to_bytes(value)
    return decoded.decode("ascii") if pattern.fullmatch(decoded) else None


def read_session(raw: bytes, handler: Handler, *, max_bytes: int) -> Members:
    """Return the session's variables; none for an empty session. Raises `BadSession`."""
    if raw.startswith(_IGBINARY):
        raise BadSession(
            "igbinary, which is not read: set session.serialize_handler = php_serialize"
        )
    try:
        return _variables(Reader(raw, max_bytes=max_bytes), handler)
    except BadPhp as bad:
        raise BadSession(str(bad)) from None


def _variables(reader: Reader, handler: Handler) -> Members:
    members: Members = {}
    if handler == "php_serialize":
        members = {} if reader.is_done else reader.members()
        if not reader.is_done:
            raise BadPhp("something behind the session")
        return members
    take_name = _name if handler == "php" else _counted_name
    while not reader.is_done:
        name = take_name(reader)
        value = reader.value()
        if name in members:
            raise BadPhp("a variable occurs twice")
        members[name] = value
    return members


def _name(reader: Reader) -> str:
    """Take `name|`: a name has no bar, what follows may have."""
    end = reader.raw.find(b"|", reader.position)
    if end < 0:
        raise BadPhp("not what session.serialize_handler = php writes")
    return _take(reader, reader.position, end, end + 1)


def _counted_name(reader: Reader) -> str:
    """Take a name behind the byte that has its length."""
    length = reader.raw[reader.position]
    if length & _HIGH_BIT:
        raise BadPhp("not what session.serialize_handler = php_binary writes")
    begin = reader.position + 1
    return _take(reader, begin, begin + length, begin + length)


def _take(reader: Reader, begin: int, end: int, after: int) -> str:
    try:
        name = reader.raw[begin:end].decode("utf-8")
    except UnicodeDecodeError:
        raise BadPhp("a variable's name is not UTF-8") from None
    reader.position = after
    return name


def session_format(prefix: str, handler: Handler, *, length: int, bits: int) -> Format:
    """Return the format of sessions as php.ini makes them."""
    letters = _LETTERS[bits].decode().replace("\\", "")
    return Format(
        "php",
        prefix,
        partial(session_id, pattern=id_pattern(length, bits)),
        lambda raw, _id: _reading(read_session(raw, handler, max_bytes=MAX_RECORD_BYTES)),
        f"{length} of {letters} (session.sid_length, session.sid_bits_per_character)",
        folding="php",
    )


def _reading(members: Members) -> Reading | None:
    return Reading(members) if members else None  # an id that nobody gave out is adopted so
