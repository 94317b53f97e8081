"""What a session scheme makes of one cookie, step by step: how people find their configuration.

No secret is told: of the cookie and of ids a digest, of a session the names of what is in it, and
the values at the places that `identity:` names. What never belongs here: how it is shown.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from math import inf
from typing import Any, Final, Literal

from proxy.adapters.store.link import ReplyError
from proxy.config.models import SessionSchemeConfig
from proxy.core.cookies import Duplicate, find_cookie, parse_cookies
from proxy.core.formats.likeness import likeness_of
from proxy.core.formats.port import MAX_GUARD_BYTES, Format, Reading, Record, open_record
from proxy.core.mapping import IdentityReader
from proxy.model import Absent, Identity

Ask = Callable[..., Awaitable[Any]]
"""Sends one read-only command; an error is a `ReplyError`. Raises `StoreUnavailable`."""
Outcome = Literal["good", "bad", "note"]

_SCAN: Final = 20_000
"""Keys that are looked through at most for a prefix."""
_STEP: Final = 1_000
_SHOWN_PATHS: Final = 40
_DEPTH: Final = 5
_LONG: Final = re.compile(r"[A-Za-z0-9+/=-]{16,}")
"""What may be an id in the midst of a key."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was found out."""

    label: str
    text: str
    outcome: Outcome = "note"


class Inspection:
    """One scheme, and a store to look into."""

    def __init__(
        self, name: str, scheme: SessionSchemeConfig, form: Format, reader: IdentityReader, ask: Ask
    ) -> None:
        self._name = name
        self._scheme = scheme
        self._form = form
        self._reader = reader
        self._ask = ask

    async def steps(self, given: bytes, now: float) -> AsyncIterator[Step]:
        """Yield what is found; the last one is `verdict`. `given` is a Cookie header or a value."""
        yield Step("scheme", _settings(self._name, self._scheme))
        value, step = self._cookie(given)
        yield step
        if value is None:
            yield _refused("credential_missing" if step.outcome == "note" else "cookie_duplicate")
            return
        rest = self._form.locate(value)
        if rest is None:
            yield Step("id", f"not accepted; expected: {self._form.shape}", "bad")
            for form, words in likeness_of(value):
                yield Step("looks like", words + self._hint(form))
            yield _refused("session_unknown")
            return
        yield Step("id", f"accepted: {self._form.shape}", "good")
        key = self._form.prefix + rest
        yield Step("key", f"{self._form.prefix}… and {len(rest)} letters ({_digest(rest)})")
        record: Record | None = None
        async for found in self._look(key):
            if isinstance(found, Step):
                yield found
            else:
                record = found
        if record is None:
            async for step in self._hints():
                yield step
            yield _refused("session_unknown")
            return
        async for step in self._read(record, rest, now):
            yield step

    def _hint(self, form: str) -> str:
        """Return what follows from a cookie that is refused and looks like a format."""
        if form == self._scheme.format and self._scheme.secrets:
            return ": the format fits, so look at `secrets`: is the application's among them, letter by letter?"
        return f" (format: {form})" if form else ""

    def _cookie(self, given: bytes) -> tuple[bytes | None, Step]:
        """Return the cookie's value out of a header, or what was given if it is one alone."""
        name = self._scheme.cookie.encode()
        text = given.strip()
        if text[:7].lower() == b"cookie:":
            text = text[7:].strip()
        pairs = parse_cookies([text])
        found = find_cookie(pairs, name, folding=self._form.folding)
        if isinstance(found, Duplicate):
            words = "twice with different values: applications differ in which one they take"
            return None, Step("cookie", words, "bad")
        if found is not None:
            return found, Step("cookie", f"{self._scheme.cookie}: {_shape(found)}", "good")
        looks_like_header = len(pairs) > 1 or (b"=" in text.rstrip(b"=") and bool(pairs[0][1]))
        if text and not looks_like_header:
            return text, Step("cookie", f"taken as the value alone: {_shape(text)}", "good")
        names = ", ".join(sorted({one.decode("ascii", "replace") for one, _ in pairs if one}))
        there = f"; there are: {names}" if names else ""
        return None, Step("cookie", f"no cookie is called {self._scheme.cookie}{there}")

    async def _look(self, key: str) -> AsyncIterator[Step | Record]:
        """Yield what the store says of `key`, and the record."""
        raw, form = key.encode(), self._form
        kind = await self._ask("TYPE", raw)
        wanted = "hash" if form.fields else "string"
        if isinstance(kind, bytes | str):
            word = kind.decode() if isinstance(kind, bytes) else kind
            if word == "none":
                yield Step("store", "there is no such key", "bad")
                return
            if word != wanted:
                yield Step("store", f"the key is a {word}, and a session is a {wanted}", "bad")
                return
        command = (
            ("HMGET", raw, *form.fields) if form.fields else ("GETRANGE", raw, 0, form.max_bytes)
        )
        reply, life = await self._ask(*command), await self._ask("PTTL", raw)
        if isinstance(reply, ReplyError):
            yield Step("store", f"{command[0]} is refused: {reply.kind}", "bad")
            return
        if not reply:
            yield Step("store", "the key is empty, or there is none", "bad")
            return
        if isinstance(life, ReplyError):
            words = (
                f"PTTL is refused ({life.kind}): no verdict can be kept, every request is a look-up"
            )
            yield Step("store", words, "bad")
            life = -1
        record: Record = dict(zip(form.fields, reply, strict=True)) if form.fields else reply
        size = sum(len(one or b"") for one in reply) if form.fields else len(reply)
        lives = "for ever: nothing ends it by itself" if life == -1 else f"{life / 1000:.0f} s more"
        yield Step("store", f"a {wanted} of {size} bytes; lives {lives}", "good")
        yield record

    async def _hints(self) -> AsyncIterator[Step]:
        """Yield what the database has under the prefix, or what else its keys begin with."""
        cursor, seen, under = b"0", 0, 0
        beginnings: dict[str, int] = {}
        prefix = self._form.prefix.encode()
        while seen < _SCAN:
            reply = await self._ask("SCAN", cursor, "COUNT", _STEP)
            if isinstance(reply, ReplyError):
                yield Step("hint", f"keys cannot be listed ({reply.kind})")
                return
            cursor, keys = reply
            for key in keys:
                seen += 1
                under += key.startswith(prefix)
                begin = _beginning(key)
                if begin in beginnings or len(beginnings) < 1000:
                    beginnings[begin] = beginnings.get(begin, 0) + 1
            if cursor == b"0":
                break
        more = "" if cursor == b"0" else " (of those looked through)"
        if not seen:
            yield Step(
                "hint",
                "the database is empty: this session and all others have ended, or it is another one",
            )
        elif under:
            yield Step("hint", f"{under} keys begin with the prefix{more}: this session has ended")
        else:
            most = sorted(beginnings.items(), key=lambda item: -item[1])[:5]
            shown = ", ".join(f"{begin or '(no separator)'} ({count})" for begin, count in most)
            yield Step("hint", f"no key begins with the prefix{more}; keys begin with: {shown}")

    async def _read(self, record: Record, rest: str, now: float) -> AsyncIterator[Step]:
        told, reading = open_record(self._form, record, rest, self._reader, scheme=self._name)
        if reading is None:
            yield Step("session", told.detail if isinstance(told, Absent) else "", "bad")
            yield _refused("session_unknown")
            return
        paths = list(_paths(reading.members))
        yield Step("session", f"read; {len(paths)} values in it", "good")
        for path, kind in paths[:_SHOWN_PATHS]:
            yield Step("has", f"{path}: {kind}")
        if len(paths) > _SHOWN_PATHS:
            yield Step("has", f"and {len(paths) - _SHOWN_PATHS} more")
        if isinstance(told, Absent):
            subject = "" if self._scheme.identity is None else self._scheme.identity.subject
            words = (
                f"nothing that names anybody at identity.subject ({subject}): nobody is signed in"
            )
            yield Step("identity", words, "bad")
            yield _refused(told.code)
            return
        yield Step("identity", _person(told), "good")
        if reading.ends_at <= now:
            yield Step(
                "time", f"its application takes it for over since {_date(reading.ends_at)}", "bad"
            )
            yield _refused("session_expired")
            return
        if reading.ends_at < inf:
            yield Step(
                "time", f"its application lets it live until {_date(reading.ends_at)}", "good"
            )
        if await self._is_guarded_off(reading):
            yield Step("guard", "all sessions of its user that are as old were ended", "bad")
            yield _refused("session_unknown")
            return
        yield Step("verdict", f"accepted: scheme {self._name}, subject {told.subject}", "good")

    async def _is_guarded_off(self, reading: Reading) -> bool:
        if reading.guard is None:
            return False
        key = (self._form.prefix + reading.guard.key).encode()
        mark = await self._ask("GETRANGE", key, 0, MAX_GUARD_BYTES)
        return reading.guard.is_over(b"?" if isinstance(mark, ReplyError) else mark or None)


def _refused(code: str) -> Step:
    return Step("verdict", f"not accepted: {code}", "bad")


def _settings(name: str, scheme: SessionSchemeConfig) -> str:
    """Return what was configured or assumed, without its secrets."""
    words = [f"{name}: format {scheme.format}", f"cookie {scheme.cookie}"]
    words.append(f"keys begin with {scheme.prefix!r}" if scheme.prefix else "keys have no prefix")
    if scheme.serializer:
        words.append(f"serializer {scheme.serializer}")
    if scheme.secrets:
        words.append(f"{len(scheme.secrets)} secrets" if len(scheme.secrets) > 1 else "1 secret")
    words.append("the gate's own store" if scheme.store is None else f"store {scheme.store}")
    return "; ".join(words)


def _shape(value: bytes) -> str:
    return f"{len(value)} bytes ({_digest(value.decode('ascii', 'replace'))})"


def _digest(text: str) -> str:
    """Return what tells two secrets apart and neither of them."""
    return f"SHA-256 {sha256(text.encode()).hexdigest()[:8]}…"


def _beginning(key: bytes) -> str:
    """Return a key up to its last separator: what follows may be somebody's id."""
    end = max(key.rfind(separator) for separator in (b":", b".", b"_"))
    return _LONG.sub("…", key[: end + 1].decode("utf-8", "replace"))


def _paths(members: Mapping[str, Any], base: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    """Yield dotted paths with what kind of value stands there, and never the value."""
    for name, value in members.items():
        path = f"{base}{name}"
        if isinstance(value, Mapping) and value and depth < _DEPTH:
            yield from _paths(value, f"{path}.", depth + 1)
        elif isinstance(value, list | tuple) and value and depth < _DEPTH:
            numbered = {str(index): one for index, one in enumerate(value[:3])}
            yield path, f"a list of {len(value)}"
            yield from _paths(numbered, f"{path}.", depth + 1)
        else:
            yield path, _kind(value)


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, str):
        return f"a text of {len(value)}"
    if isinstance(value, int):
        return "a whole number"
    if value is None:
        return "nothing"
    return {"float": "a number", "dict": "an object", "list": "a list"}.get(
        type(value).__name__, "a value that names nobody"
    )


def _person(identity: Identity) -> str:
    parts = [f"subject {identity.subject}"]
    parts += [f"{key} {value}" for key in ("email", "name") if (value := getattr(identity, key))]
    parts += [
        f"{key} {', '.join(value)}"
        for key in ("roles", "scopes")
        if (value := getattr(identity, key))
    ]
    return "; ".join(parts)


def _date(at: float) -> str:
    try:
        return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):
        return "a time beyond all calendars"
