"""Request headers on their way in: what is refused, what is removed (security.md, H1 to H3).

Servers fold names: CGI, WSGI, Rack and PHP read `X_Auth.Subject` as `X-Auth-Subject`. So every
name is judged by its folded form, and what may pass, passes in its exact spelling only. What never
belongs here: values, credentials (H6), and what the gate itself sets.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from proxy.model import Header, Refusal

IDENTITY_NAMES: Final = (
    "X-Auth-Subject",
    "X-Auth-Issuer",
    "X-Auth-Scheme",
    "X-Auth-Email",
    "X-Auth-Name",
    "X-Auth-Roles",
    "X-Auth-Scopes",
    "X-Auth-Assertion",
)
"""What the gate tells every application (reference.md §2)."""

FORWARDING_NAMES: Final = frozenset(
    {
        b"forwarded",
        b"x-forwarded-for",
        b"x-forwarded-proto",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-prefix",
        b"x-request-id",
    }
)
"""Folded. Read from trusted peers, never passed on: the gate writes its own (H2).

proxy.core.forwarding reads no others but Host and Via; a test compares.
"""

CLIENT_ADDRESS_NAMES: Final = frozenset(
    {b"x-real-ip", b"true-client-ip", b"x-client-ip", b"cf-connecting-ip"}
)
"""Folded. Pass from trusted peers; the gate itself reads none of them (H2)."""

OVERRIDE_NAMES: Final = frozenset(
    {
        b"x-original-url",
        b"x-original-uri",
        b"x-original-method",
        b"x-rewrite-url",
        b"x-http-method",
        b"x-http-method-override",
        b"x-method-override",
        b"x-script-name",
        b"proxy",
        b"x-forwarded-client-cert",
        b"client-cert",
        b"client-cert-chain",
    }
)
"""Folded. Removed unless the route's `pass_headers` names one (H2), as is all of `Ssl-Client-…`."""

GUARDED_NAMES: Final = frozenset(
    {
        b"host",
        b"cookie",
        b"authorization",
        b"dpop",
        b"content-length",
        b"transfer-encoding",
        b"connection",
        b"upgrade",
        b"origin",
    }
)
"""Folded. A name that only looks like one of these, or like `Sec-…`, is refused (H3)."""

CONNECTION_NAMES: Final = frozenset(
    {
        b"host",
        b"content-length",
        b"transfer-encoding",
        b"connection",
        b"upgrade",
        b"http2-settings",
        b"te",
        b"trailer",
        b"keep-alive",
        b"expect",
        b"proxy-connection",
        b"proxy-authorization",
        b"proxy-authenticate",
        b"proxy-authentication-info",
    }
)
"""Folded. Of this connection only (RFC 9110 §7.6.1), or framing, which the forwarder writes."""

_BODY_NAMES: Final = frozenset(
    {b"content-type", b"content-encoding", b"content-range", b"range", b"set-cookie"}
)
"""Folded. No name for identity: whatever carries it is removed from every request of the file."""

_CLIENT_CERTS: Final = frozenset({b"x-forwarded-client-cert", b"client-cert", b"client-cert-chain"})
"""Folded. What a proxy says of its client's certificate, and nobody else may (RFC 9440 §2.4, §4)."""

# What becomes of a name; the flags are read by `check`, the numbers below them by `strip`.
_KEEP: Final = 0
_DROP: Final = 1
_UNLESS_PASSED: Final = 2
_FROM_TRUSTED: Final = 3
_FROM_TRUSTED_IF_PASSED: Final = 4
_REFUSED: Final = 16
_SINGLE: Final = 32
_CONNECTION: Final = 64

_MEMO_ENTRIES: Final = 2048
"""Names remembered per configuration. Clients of one gate send some hundred different ones."""
_MEMO_NAME_BYTES: Final = 64
_NO_NAMES: Final[frozenset[bytes]] = frozenset()

_FOLDED: Final = bytes(
    byte if chr(byte) in "abcdefghijklmnopqrstuvwxyz0123456789" else ord("-")
    for byte in bytes(range(256)).lower()
)
_TOKEN_BYTES: Final = (
    b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)


def fold(name: bytes) -> bytes:
    """Return the form in which all spellings of a name are equal (H1).

    Letters in lower case; whatever is neither letter nor digit is `-`.
    """
    return name.translate(_FOLDED)


def is_token(name: bytes) -> bool:
    """Tell whether `name` is a field name at all (RFC 9110 §5.1)."""
    return bool(name) and not name.translate(None, _TOKEN_BYTES)


def nominations(value: bytes) -> frozenset[bytes]:
    """Return the options of one Connection header, lower case (RFC 9110 §7.6.1)."""
    return frozenset(filter(None, (option.strip().lower() for option in value.split(b","))))


_STANDARD: Final = frozenset(fold(name.encode()) for name in IDENTITY_NAMES)


def forbidden_identity_name(name: str) -> str | None:
    """Say why `name` cannot carry identity (H1); `None` if it can."""
    raw = name.encode("utf-8", "surrogatepass")
    folded = fold(raw)
    if not is_token(raw):
        return "is not a header name"
    if folded == b"authorization":
        return "is set by `bearer: true` only"
    if folded in GUARDED_NAMES or folded in CONNECTION_NAMES or folded.startswith(b"sec-"):
        return "belongs to the request itself"
    if folded in _BODY_NAMES:
        return "belongs to the message's body"
    if folded in OVERRIDE_NAMES and folded not in _CLIENT_CERTS:
        return "makes some servers take another path or method"
    if folded in FORWARDING_NAMES or folded == b"via":
        return "is written by the gate"
    if folded in _STANDARD:
        return "is set by the gate on every guarded route"
    return None


class HeaderRules:
    """What happens to each header of a request. Compiled once per configuration.

    `set_anywhere`: every header that any route or preset of the file sets; `Authorization` among
    them (`bearer`) is ignored here, because only the routes that set it remove it (H1, H6). Raises
    `ValueError` for a name that cannot carry identity.
    """

    __slots__ = ("_memo", "_nominations", "_own")

    def __init__(self, set_anywhere: Iterable[str] = ()) -> None:
        own = set(_STANDARD)
        for name in set_anywhere:
            folded = fold(name.encode("utf-8", "surrogatepass"))
            if folded in own or folded == b"authorization":
                continue
            if reason := forbidden_identity_name(name):
                raise ValueError(f"{name} {reason}")
            own.add(folded)
        self._own = frozenset(own)
        self._memo: dict[bytes, int] = {}
        self._nominations: dict[bytes, tuple[frozenset[bytes], bytes | None]] = {}

    @property
    def own(self) -> frozenset[bytes]:
        """The folded names that only the gate sets, beside all of `x-auth-`."""
        return self._own

    def is_own(self, folded: bytes) -> bool:
        """Tell whether a folded name could be taken for the gate's word (H1)."""
        return folded.startswith(b"x-auth-") or folded in self._own

    def check(self, headers: Sequence[Header]) -> Refusal | None:
        """Return `None`, or why the headers mean different things to different servers (H3)."""
        known = self._memo.get
        singles = 0
        for name, value in headers:
            kind = known(name)
            if kind is None:
                kind = self._learn(name)
            if kind < _REFUSED:
                continue
            if kind & _REFUSED:
                return _ambiguous("a name that is, or folds to, another one", name)
            if kind & _SINGLE:
                singles += 1
                if singles > 1:
                    return _ambiguous("more than one", name)
            else:  # Connection
                _, offending = self._options(value)
                if offending is not None:
                    return _ambiguous("Connection names", offending)
        return None

    def strip(
        self, headers: Iterable[Header], *, is_trusted: bool, passed: frozenset[bytes] = _NO_NAMES
    ) -> list[Header]:
        """Return the end-to-end headers that may travel on (H1, H2), in order, duplicates kept.

        `passed` is a route's `compile_pass_headers`. Not among them: Host, framing, hop-by-hop
        headers and what Connection nominates; the forwarder writes its own. What the gate sets is
        added behind this, so that no nomination reaches it (RFC 9110 §7.6.1).
        """
        known = self._memo.get
        kept: list[Header] = []
        nominated = _NO_NAMES
        for header in headers:
            kind = known(header[0])
            if kind is None:
                kind = self._learn(header[0])
            if not kind & 15:
                kept.append(header)
            elif kind & _CONNECTION:
                nominated |= self._options(header[1])[0]
            elif kind == _FROM_TRUSTED:
                if is_trusted:
                    kept.append(header)
            elif (
                kind == _UNLESS_PASSED or (kind == _FROM_TRUSTED_IF_PASSED and is_trusted)
            ) and header[0].lower() in passed:
                kept.append(header)
        if nominated:
            return [header for header in kept if header[0].lower() not in nominated]
        return kept

    def becomes(self, name: bytes, *, is_trusted: bool) -> bool | None:
        """Return True where every header of that name travels on, False where none does.

        `None`: that depends on its value, its route or its neighbours, or the name is refused.
        """
        kind = self._classify(name)
        if kind == _KEEP:
            return True
        if kind == _DROP:
            return False
        return is_trusted if kind == _FROM_TRUSTED else None

    def _learn(self, name: bytes) -> int:
        kind = self._classify(name)
        if len(name) <= _MEMO_NAME_BYTES:
            if len(self._memo) >= _MEMO_ENTRIES:
                self._memo.clear()
            self._memo[name] = kind
        return kind

    def _classify(self, name: bytes) -> int:
        lower, folded = name.lower(), fold(name)
        if not is_token(name):
            return _REFUSED | _DROP
        if folded in GUARDED_NAMES or folded.startswith(b"sec-"):
            if lower != folded:
                return _REFUSED | _DROP
            if folded == b"connection":
                return _CONNECTION | _DROP
            if folded == b"authorization":
                return _SINGLE | _KEEP
        if folded in CONNECTION_NAMES or folded in self._own:
            return _DROP
        if folded in _CLIENT_CERTS:
            return _FROM_TRUSTED_IF_PASSED
        if folded in FORWARDING_NAMES or folded.startswith(b"x-forwarded-"):
            return _DROP
        if folded in CLIENT_ADDRESS_NAMES:
            return _FROM_TRUSTED if lower == folded else _DROP
        if folded.startswith((b"x-auth-", b"ssl-client-")) or folded in OVERRIDE_NAMES:
            return _UNLESS_PASSED
        return _KEEP

    def _options(self, value: bytes) -> tuple[frozenset[bytes], bytes | None]:
        """Return what a Connection header nominates, and the option that makes it 400."""
        known = self._nominations.get(value)
        if known is not None:
            return known
        options = nominations(value)
        result = (options, next(filter(self._is_offending, sorted(options)), None))
        if len(value) <= _MEMO_NAME_BYTES:
            if len(self._nominations) >= _MEMO_ENTRIES:
                self._nominations.clear()
            self._nominations[value] = result
        return result

    def _is_offending(self, option: bytes) -> bool:
        folded = fold(option)
        if option == b"upgrade":
            return False
        return folded in GUARDED_NAMES or folded.startswith(b"sec-") or self.is_own(folded)


def compile_pass_headers(names: Iterable[str], rules: HeaderRules) -> frozenset[bytes]:
    """Return a route's `pass_headers` for `strip`: lower case, each in this spelling only.

    Raises `ValueError` for what may never pass (H1, H2), and for what is not removed anyway.
    """
    passed: set[bytes] = set()
    for name in names:
        raw = name.encode("utf-8", "surrogatepass")
        folded = fold(raw)
        if not is_token(raw):
            raise ValueError(f"{name!r} is not a header name")
        if folded in rules.own:
            raise ValueError(f"{name} is set by the gate, so a client's own can never pass")
        if not _is_restorable(folded):
            raise ValueError(f"{name} {_why_not_restorable(folded)}")
        passed.add(raw.lower())
    return frozenset(passed)


def _is_restorable(folded: bytes) -> bool:
    return folded in OVERRIDE_NAMES or folded.startswith((b"x-auth-", b"ssl-client-"))


def _why_not_restorable(folded: bytes) -> str:
    if folded in CLIENT_ADDRESS_NAMES:
        return "passes from `trusted_proxies`, and from nobody else"
    if folded in FORWARDING_NAMES or folded.startswith(b"x-forwarded-"):
        return "is the gate's to write, so a client's own can never pass"
    if folded in GUARDED_NAMES or folded in CONNECTION_NAMES or folded.startswith(b"sec-"):
        return "belongs to the request itself and is no matter of pass_headers"
    return "passes without being named: it is not among the headers that the gate removes"


_UNSPEAKABLE: Final = re.compile(r"[^!-~]")


def _ambiguous(what: str, name: bytes) -> Refusal:
    """Refuse; the log sees the name, shortened and printable, never a value."""
    shown = _UNSPEAKABLE.sub("?", name[:64].decode("latin-1"))
    return Refusal("header_ambiguous", f"{what}: {shown}")
