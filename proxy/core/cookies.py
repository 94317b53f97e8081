"""Request cookies, read as every server behind the gate might read them (security.md, S2 and H6).

Servers disagree about cookies: the first or the last of two wins, names are percent-decoded or
not, PHP folds `.` into `_`, some split at white space or commas. So nothing is decoded silently
here: a cookie is found by its exact name, and every other spelling of that name counts as a second
one. What never belongs here: what a cookie's value means.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal
from urllib.parse import unquote_to_bytes

from proxy.model import Header

Folding = Literal["exact", "php"]
Cookie = tuple[bytes, bytes]

MAX_EXPIRE_BYTES: Final = 6 * 1024
"""Of all Set-Cookie lines of one answer: the whole head has to pass other proxies' 8 KiB buffers."""

MAX_COOKIES: Final = 512
"""Browsers keep at most 180 for a site; reading more of them only costs time."""

_EDGE: Final = bytes(range(0x21)) + bytes(range(0x7F, 0x100)) + b'"'
"""What no cookie name begins or ends with; every server trims some of it (Python even U+00A0)."""

_SPACE: Final = bytes(range(0x21))

_PLAIN_NAME: Final = re.compile(rb"[!#$&'*\-.^_`|~0-9A-Za-z]*+")
"""A token (RFC 9110 §5.6.2) without `%` and `+`: nobody decodes, trims or splits it."""

_PHP_FOLDED: Final = bytes.maketrans(b". [", b"___")

_HOST: Final = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*+", re.ASCII)
_PATH: Final = re.compile(rb"/[\x21-\x3a\x3c-\x7e]*+")
"""What a Path attribute can hold: visible ASCII but `;`."""

_BAD_IN_NAME: Final = re.compile(rb"[\x00-\x1f\x7f;=]")


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A cookie that occurs more than once, with different values (or among too many to tell)."""

    names: tuple[bytes, ...]
    """Every name, as it was sent, of a pair that some server reads as this cookie: all of them
    have to expire before the browser's next request can be served."""


def parse_cookies(values: Sequence[bytes]) -> list[Cookie]:
    """Return the cookies of all Cookie headers in order, raw, without surrounding white space.

    Lenient as RFC 6265 §5.2 reads: a pair ends at `;` and nowhere else, a name at the first `=`.
    A pair without `=` is a name without a value.
    """
    pairs: list[Cookie] = []
    for header in values:
        for chunk in header.split(b";"):
            name, _, value = chunk.partition(b"=")
            name = name.strip(b" \t")
            value = value.strip(b" \t")
            if name or value:
                pairs.append((name, value))
    return pairs


def find_cookie(
    pairs: Sequence[Cookie], name: bytes, *, folding: Folding = "exact"
) -> bytes | Duplicate | None:
    """Return the raw value of the cookie called exactly `name`, `None`, or `Duplicate` (S2).

    Values that are the same after percent-decoding, trimming and unquoting are one value. Another
    spelling of the name is never the credential, but it makes a second one of it.
    """
    if len(pairs) > MAX_COOKIES:
        return Duplicate((name,))
    spellings = _spellings(name, folding)
    found: bytes | None = None
    readings: list[Cookie] = []
    for raw_name, value in pairs:
        if raw_name == name and found is None:
            found = value
        if values := spellings.readings(raw_name, value):
            readings.extend((raw_name, reading) for reading in values)
    if len(readings) < 2 or len({_canonical_value(value) for _, value in readings}) < 2:
        return found
    return Duplicate(tuple(dict.fromkeys(raw_name for raw_name, _ in readings)))


def remove_cookies(values: Sequence[bytes], names: frozenset[bytes]) -> bytes | None:
    """Return the Cookie header without `names` in any spelling; `None` when nothing is left (H6).

    Several headers become one, as RFC 9113 §8.2.3 joins them; all other bytes stay as they are.
    Of more than `MAX_COOKIES` none is left.
    """
    if sum(header.count(b";") for header in values) >= MAX_COOKIES:
        return None
    removed = [_spellings(name, "php") for name in names]
    kept: list[bytes] = []
    for header in values:
        if b"%" in header or any(spellings.core in header for spellings in removed):
            chunks = [chunk for chunk in header.split(b";") if not _is_any(chunk, removed)]
            header = b";".join(chunks)  # noqa: PLW2901 - the same header, less of it
        if header.strip(b"; \t"):
            kept.append(header.lstrip(b" \t"))
    return b"; ".join(kept) or None


def expire_headers(names: bytes | Sequence[bytes], host: str, path: bytes) -> tuple[Header, ...]:
    """Return Set-Cookie headers that expire `names` wherever they may have been set from (S2).

    For the host itself and each parent domain, with `/` and every path prefix of `path` (raw, as
    requested). Names with a prefix of RFC 6265bis §4.1.3 get what browsers demand of them. Bounded
    by `MAX_EXPIRE_BYTES` in all, shortest paths first; a name that no browser sends is left out.
    """
    headers: list[Header] = []
    size = 0
    for name in (names,) if isinstance(names, bytes) else names:
        for value in _expiring(name, host, path):
            size += len(value) + len(b"Set-Cookie: \r\n")
            if size > MAX_EXPIRE_BYTES:
                return tuple(headers)
            headers.append((b"Set-Cookie", value))
    return tuple(headers)


class _Spellings:
    """One cookie name in all the ways in which servers write it."""

    __slots__ = ("_folded", "_hidden", "_is_php", "core", "name")

    def __init__(self, name: bytes, folding: Folding) -> None:
        self.name = name
        self._is_php = folding == "php"
        self._folded = self._fold(name)
        self.core = max(re.split(rb"[._ \[]", name), key=len) if self._is_php else name
        """A part of the name that stands in every spelling which is not percent-encoded."""
        letters = (bytes((byte,)) for byte in name)
        spelled = b"".join(
            rb"[._ \[]" if self._is_php and letter in b"._ [" else re.escape(letter)
            for letter in letters
        )
        index = rb"(?:\[[^=,\s]*+)?" if self._is_php else b""
        self._hidden = re.compile(
            rb'[\x00-\x20,]"?' + spelled + index + rb'"?[ \t]*+=[ \t]*+([^\x00-\x20,]*+)'
        )
        """The name inside of another pair: old Rack and servlets split at commas, Python's
        http.cookies at white space."""

    def readings(self, raw_name: bytes, value: bytes) -> Sequence[bytes]:
        """Return the values that some server reads for this name out of one pair."""
        is_plain = _PLAIN_NAME.fullmatch(raw_name) is not None
        if raw_name == self.name:
            is_spelling = True
        elif is_plain and not self._is_php:
            is_spelling = False
        else:
            is_spelling = self._is_spelling(raw_name)
        if is_plain and self.core not in value:
            return (value,) if is_spelling else ()
        hidden = [match[1] for match in self._hidden.finditer(raw_name + b"=" + value)]
        return [value, *hidden] if is_spelling else hidden

    def _is_spelling(self, raw_name: bytes) -> bool:
        decoded = unquote_to_bytes(raw_name.replace(b"+", b" "))
        if self._folded in (self._fold(raw_name), self._fold(decoded)):
            return True
        if not self._is_php or b"[" not in decoded[1:]:
            return False
        return self._folded == self._fold(decoded[:1] + decoded[1:].partition(b"[")[0])

    def _fold(self, name: bytes) -> bytes:
        folded = name.partition(b"\x00")[0].strip(_EDGE)
        return folded.translate(_PHP_FOLDED) if self._is_php else folded


@lru_cache(maxsize=512)
def _spellings(name: bytes, folding: Folding) -> _Spellings:
    """Compile a name of the configuration, once."""
    return _Spellings(name, folding)


def _is_any(chunk: bytes, removed: Iterable[_Spellings]) -> bool:
    name, _, value = chunk.partition(b"=")
    name = name.strip(b" \t")
    has_escape = b"%" in name
    return any(
        spellings.readings(name, value)
        for spellings in removed
        if has_escape or spellings.core in chunk
    )


def _canonical_value(value: bytes) -> bytes:
    trimmed = value.strip(_SPACE)
    if len(trimmed) > 1 and trimmed[:1] == trimmed[-1:] == b'"':
        trimmed = trimmed[1:-1]
    return unquote_to_bytes(trimmed).strip(_SPACE)


def _expiring(name: bytes, host: str, path: bytes) -> Iterator[bytes]:
    """Yield the values of the Set-Cookie lines for one name."""
    if not name or _BAD_IN_NAME.search(name):
        return
    lowered = name.lower()
    flags = b"; Max-Age=0"
    if lowered.startswith((b"__host-", b"__secure-", b"__http-")):
        flags += b"; Secure; HttpOnly"
    if lowered.startswith(b"__host-"):  # never with a Domain or another path
        yield name + b"=; Path=/" + flags
        return
    domains = _domains(host)
    for prefix in _path_prefixes(path):
        for domain in domains:
            yield name + b"=; Path=" + prefix + domain + flags


def _domains(host: str) -> list[bytes]:
    """Return the Domain attributes that a cookie seen by `host` may have; `b""` is host-only."""
    name = host.rpartition(":")[0] if re.fullmatch(r".*:\d*", host) else host
    name = name.rstrip(".").lower()
    attributes = [b""]
    labels = name.split(".")
    if _HOST.fullmatch(name) is None or labels[-1].isdigit():  # an address has no parents
        return attributes
    attributes.extend(
        b"; Domain=" + ".".join(labels[index:]).encode("ascii") for index in range(len(labels) - 1)
    )
    return attributes


def _path_prefixes(path: bytes) -> Iterator[bytes]:
    """Yield the Path attributes that match `path` (RFC 6265 §5.1.4), shortest first."""
    yield b"/"
    match = _PATH.match(path.partition(b"?")[0])
    if match is None:
        return
    whole = match[0]
    seen = 1
    for index in range(1, len(whole)):
        if whole[index] == 0x2F:  # a slash ends one prefix and belongs to the next
            yield whole[:index]
            yield whole[: index + 1]
            seen = index + 1
    if seen < len(whole):
        yield whole
