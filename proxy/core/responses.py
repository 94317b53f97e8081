"""What of an upstream's answer reaches the client (security.md, H7, H8, F5).

Headers in, headers out. What never belongs here: framing and connection headers, which whoever
writes to the client decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final, Literal

from proxy.core.cookies import remove_cookies
from proxy.core.headers import (
    CLIENT_ADDRESS_NAMES,
    CONNECTION_NAMES,
    FORWARDING_NAMES,
    OVERRIDE_NAMES,
    fold,
    is_token,
    nominations,
)
from proxy.model import Header

Cache = Literal["private", "shared"]

_KEEP: Final = 0
_DROP: Final = 1
_SET_COOKIE: Final = 2
_CACHE_CONTROL: Final = 3
_CONNECTION: Final = 4

_DROPPED: Final = CONNECTION_NAMES - {b"trailer"}
"""Trailer passes: the fields that it announces do, where F5 lets them."""

_SHARED_CACHES: Final = frozenset({b"surrogate-control", b"cdn-cache-control", b"x-accel-expires"})
_NOT_IN_TRAILERS: Final = (
    CONNECTION_NAMES
    | FORWARDING_NAMES
    | OVERRIDE_NAMES
    | CLIENT_ADDRESS_NAMES
    | _SHARED_CACHES
    | {
        # framing and content format (RFC 9110 §6.5.1)
        b"content-encoding",
        b"content-range",
        b"content-type",
        b"content-location",
        # routing
        b"location",
        b"refresh",
        b"via",
        b"alt-svc",
        b"max-forwards",
        # response control, caching
        b"age",
        b"cache-control",
        b"date",
        b"expires",
        b"pragma",
        b"retry-after",
        b"vary",
        b"warning",
        # authentication and cookies
        b"authorization",
        b"cookie",
        b"set-cookie",
        b"set-cookie2",
        b"www-authenticate",
        b"authentication-info",
        b"clear-site-data",
    }
)
"""Folded. What RFC 9110 §6.5.1 forbids there, and what somebody could merge into the head (F5)."""

_NEVER_REPLACED: Final = frozenset({b"set-cookie", b"vary", b"link", b"www-authenticate"})
"""Lists, to which the gate adds; of anything else its own word stands alone."""

_MEMO_ENTRIES: Final = 1024
_MEMO_BYTES: Final = 64

_DIRECTIVE: Final = re.compile(
    rb"[ \t]*(?:([!#$%&'*+.^_`|~0-9A-Za-z-]+)"
    rb"(?:[ \t]*=[ \t]*(?:\"(?:[^\"\\]|\\.)*\"|[!#$%&'*+.^_`|~0-9A-Za-z-]+))?[ \t]*)?(?:,|$)"
)
_HIDDEN: Final = re.compile(rb"\".*(?:public|s-maxage)", re.IGNORECASE | re.DOTALL)
"""In quotes, where caches that split at every comma would find it."""
_NOT_PRIVATE: Final = frozenset({b"public", b"s-maxage", b"private"})


class ResponsePlan:
    """What one route does with its upstream's answers.

    `protected_cookies`: names that this upstream may not set: those of native schemes and of login
    state whose `issued_by` does not name it. `identity_names`: every header that the file sets
    anywhere. `replaces_cors`: the gate answers for `cors:` itself. `passed`: the route's compiled
    `pass_headers`, which the application may use in its answers as well. `dropped`: further names,
    folded; `added`: what the operator sets (proxy.core.dressing).
    """

    __slots__ = ("_added", "_is_private", "_names", "_protected")

    def __init__(
        self,
        *,
        protected_cookies: frozenset[bytes] = frozenset(),
        identity_names: Iterable[str] = (),
        is_guarded: bool,
        cache: Cache = "private",
        replaces_cors: bool = False,
        passed: frozenset[bytes] = frozenset(),
        dropped: frozenset[bytes] = frozenset(),
        added: tuple[Header, ...] = (),
    ) -> None:
        self._protected = protected_cookies
        self._added = added
        self._is_private = is_guarded and cache == "private"
        folded = frozenset(fold(name.encode("utf-8", "surrogatepass")) for name in identity_names)
        self._names = _names(folded | dropped, self._is_private, replaces_cors, passed)

    def apply(self, headers: Sequence[Header], extra: Sequence[Header] = ()) -> list[Header]:
        """Return the end-to-end headers for the client, in order, and `extra` behind them.

        Content-Length, Transfer-Encoding and Connection are not among them: framing is the
        caller's, and so is X-Request-Id. `extra` are the gate's own; they replace the upstream's of the same name, except
        lists (`Set-Cookie`, `Vary`, `Link`).
        """
        kinds = self._names
        known = kinds.memo.get
        kept: list[Header] = []
        cache: list[bytes] = []
        nominated: frozenset[bytes] = frozenset()
        for header in headers:
            kind = known(header[0])
            if kind is None:
                kind = kinds.learn(header[0])
            if kind == _KEEP:
                kept.append(header)
            elif kind == _SET_COOKIE:
                if not self._protected or not self._sets_protected(header[1]):
                    kept.append(header)
            elif kind == _CACHE_CONTROL:
                cache.append(header[1])
            elif kind == _CONNECTION:
                nominated |= nominations(header[1])
        if nominated:
            kept = [header for header in kept if header[0].lower() not in nominated]
        if self._is_private:
            kept.append((b"Cache-Control", private_cache_control(cache)))
        kept.extend(self._added)
        return _merge(kept, extra) if extra else kept

    def informational(self, headers: Iterable[Header]) -> list[Header]:
        """Return the headers of an informational answer (103) that may pass: no cookies."""
        kinds = self._names
        return [header for header in headers if kinds.kind(header[0]) == _KEEP]

    def trailers(self, headers: Iterable[Header]) -> list[Header]:
        """Return the response trailers that may pass (F5)."""
        kinds = self._names
        return [
            header
            for header in headers
            if kinds.kind(header[0]) == _KEEP and not _is_barred_from_trailers(fold(header[0]))
        ]

    def _sets_protected(self, value: bytes) -> bool:
        """Tell whether a Set-Cookie makes browsers send one of the protected names (H7).

        Browsers send a cookie without a name as its value alone, so `=sid=x` sets `sid`.
        """
        pair = value.partition(b";")[0].lstrip(b"= \t")
        return bool(pair) and remove_cookies((pair,), self._protected) is None


def _is_barred_from_trailers(folded: bytes) -> bool:
    return folded in _NOT_IN_TRAILERS or folded.startswith(
        (b"x-forwarded-", b"access-control-", b"ssl-client-", b"sec-")
    )


class _Names:
    """What becomes of each response header, by name; shared by routes that treat them alike."""

    __slots__ = ("_identity", "_is_private", "_passed", "_replaces_cors", "memo")

    def __init__(
        self,
        identity: frozenset[bytes],
        is_private: bool,  # noqa: FBT001 - arguments of a cached factory are positional
        replaces_cors: bool,  # noqa: FBT001 - arguments of a cached factory are positional
        passed: frozenset[bytes],
    ) -> None:
        self._identity = identity
        self._is_private = is_private
        self._replaces_cors = replaces_cors
        self._passed = passed
        self.memo: dict[bytes, int] = {}

    def kind(self, name: bytes) -> int:
        known = self.memo.get(name)
        return self.learn(name) if known is None else known

    def learn(self, name: bytes) -> int:
        kind = self._classify(name)
        if len(name) <= _MEMO_BYTES:
            if len(self.memo) >= _MEMO_ENTRIES:
                self.memo.clear()
            self.memo[name] = kind
        return kind

    def _classify(self, name: bytes) -> int:
        lower, folded = name.lower(), fold(name)
        if not is_token(name):
            return _DROP
        if folded == b"connection":
            return _CONNECTION
        if folded == b"set-cookie":
            return _SET_COOKIE if lower == folded else _DROP
        if folded in _DROPPED or folded in self._identity or folded == b"x-request-id":
            return _DROP  # the id of a request is the gate's, as in its log
        if folded.startswith(b"x-auth-"):
            return _KEEP if lower in self._passed else _DROP
        if self._replaces_cors and folded.startswith(b"access-control-"):
            return _DROP
        if self._is_private:
            if folded == b"cache-control":
                return _CACHE_CONTROL
            if folded in _SHARED_CACHES or folded.endswith(b"-cdn-cache-control"):
                return _DROP
        return _KEEP


_names = lru_cache(maxsize=256)(_Names)


def private_cache_control(lines: Sequence[bytes]) -> bytes:
    """Return one Cache-Control without `public` and `s-maxage`, and with `private` (H8).

    `private="field"` names one field only, so it becomes plain `private`. A line that cannot be
    parsed by itself becomes `no-store, private`.
    """
    if not lines:
        return b"private"
    rewritten = [
        _private(line) if len(line) > 4 * _MEMO_BYTES else _private_memo(line) for line in lines
    ]
    return rewritten[0] if len(rewritten) == 1 else _private(b",".join(rewritten))


def _private(line: bytes) -> bytes:
    kept: dict[bytes, None] = {}
    position = 0
    while position < len(line):
        match = _DIRECTIVE.match(line, position)
        if match is None:
            return b"no-store, private"
        if match[1] is not None and match[1].lower() not in _NOT_PRIVATE:
            directive = match[0].strip(b", \t")
            if _HIDDEN.search(directive):
                return b"no-store, private"
            kept[directive] = None
        position = match.end()
    return b", ".join((*kept, b"private"))


_private_memo = lru_cache(maxsize=512)(_private)


def _merge(kept: list[Header], extra: Sequence[Header]) -> list[Header]:
    own = {name.lower() for name, _ in extra} - _NEVER_REPLACED
    if own:
        kept = [header for header in kept if header[0].lower() not in own]
    kept.extend(extra)
    return kept
