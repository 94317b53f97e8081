r"""Request targets, and the ways in which servers read a path (security.md, P1 to P3 and P5).

The gate matches one reading of a path: split at `/`, then decoded once. Other servers decode
before they split, resolve dots, merge slashes, cut `;…`, take `\` for `/`, or decode twice, in
every order. `readings` finds all those paths, so that routing can refuse a request whose rule would
depend on the reader. Nothing here knows routes, and nothing changes the bytes that are forwarded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from proxy.config.unicode_forms import normalized
from proxy.errors import ProxyError

FORMS: Final = frozenset(
    {
        "encoded_slash",
        "encoded_dot",
        "dot_segments",
        "backslash",
        "double_slash",
        "semicolon",
        "double_encoding",
        "non_utf8",
    }
)
"""The odd forms of a path, by the names that `allow_paths` uses."""

TOLERATED_FORMS: Final = frozenset({"encoded_slash", "double_slash", "semicolon"})
"""The odd forms that need no `allow_paths` where every reading has one policy (P2)."""

INNER_SLASH: Final = b"\0"
"""Stands for a decoded `%2F` inside a segment. NUL itself never gets this far (P2)."""

MAX_LAYERS: Final = 6
"""Layers of percent-encoding that are followed; nested links have two or three."""

MAX_READINGS: Final = 128
"""Readings of one path. Legitimate paths have fewer than ten; what has more is refused."""

MAX_ODD_PATH: Final = 8 * 1024
"""Length of a path that is not plain. Plain ones may be as long as a head is."""

_TOO_LONG: Final = "a path with escapes or odd forms that is too long"

MAX_READING_BYTES: Final = 32 * 1024
"""Length of all readings of one path together: bounds the work that a long one can make."""

_PLAIN = bytes(b for b in range(0x21, 0x7F) if b not in b"#%;?\\")
_PLAIN_QUERY = bytes(b for b in range(0x21, 0x100) if b not in b"#\x7f")

_ABSOLUTE = re.compile(rb"https?://([^/?#]*)", re.IGNORECASE)
_ENCODED_CONTROL = re.compile(
    rb"%(?:[01][0-9a-f]|7f)|%u00(?:[01][0-9a-f]|7f|[89][0-9a-f])", re.IGNORECASE
)
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]|\xc2[\x80-\x9f]")
_FORBIDDEN = re.compile(rb"[\x00-\x20\x7f#?]|%(?![0-9a-f]{2})|%(?:[01][0-9a-f]|7f)", re.IGNORECASE)
_ESCAPE = re.compile(rb"%(?:u([0-9a-f]{4})|[0-9a-f]{2})", re.IGNORECASE)
_OVERLONG = re.compile(
    rb"[\xc0\xc1][\x80-\xbf]|\xe0[\x80-\x9f][\x80-\xbf]|\xf0[\x80-\x8f][\x80-\xbf]{2}"
    rb"|\xf8[\x80-\x87][\x80-\xbf]{3}|\xfc[\x80-\x83][\x80-\xbf]{4}"
)
_HIDDEN = re.compile(rb"%(?:2[ef]|3b|5c)|%u(?:00(?:2[ef]|3b|5c)|ff0[ef]|ff1b|ff3c)", re.IGNORECASE)
"""An escape below which a dot, slash, semicolon or backslash lies; with their wide forms."""
_DOT_SEGMENT = re.compile(rb"/\.{1,2}(?=/|\Z)")
_UNUSUAL = re.compile(rb"[%;\\?#\0]|//|/\.{1,2}(?=/|\Z)")
"""What gives a decoded path more than one reading."""
_FOLDABLE = re.compile(rb"[ .](?=/|\Z)|/ |:\$|[\x80-\xff]")
"""What more a server that folds (P5) may read in another way, letters' case aside."""
_BYTES: Final = {b"%%%02x" % value: bytes((value,)) for value in range(256)} | {b"%2f": INNER_SLASH}


class BadTarget(ProxyError):
    """A target or Host that can be read in more than one way, or in none (400)."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code  # type: ignore[misc]  # one class for three codes that nobody tells apart


@dataclass(frozen=True, slots=True)
class Target:
    """A request-target (RFC 9112 §3.2), taken apart but not decoded."""

    form: Literal["origin", "absolute", "asterisk"]
    authority: bytes | None
    """Of the absolute-form only; still to be compared with Host (P3)."""
    path: bytes
    """Raw bytes as they came; begins with `/`, except that the asterisk-form has `*`."""
    query: bytes | None
    """Raw bytes behind the first `?`; `None` where there is none."""


@dataclass(frozen=True, slots=True)
class Readings:
    """Every path that some server may see in one path."""

    forms: frozenset[str]
    """The odd forms that occur, in any layer or order of reading."""
    paths: tuple[bytes, ...]
    """Decoded paths, each beginning with `/`; the first is the gate's own reading (P1)."""


# Targets


def parse_target(raw: bytes, method: str) -> Target:
    """Take a request-target apart and refuse what P2 always refuses.

    Raises `BadTarget`: `bad_request` for what is no target, `path_ambiguous` for a path that is
    refused whatever the routes are.
    """
    if raw[:1] == b"/":
        path, mark, query = raw.partition(b"?")
        if path.translate(None, _PLAIN):
            check_path(path)
        if query.translate(None, _PLAIN_QUERY):
            raise BadTarget("bad_request", "raw '#', space or control character in the query")
        return Target("origin", None, path, query if mark else None)
    if raw == b"*":
        if method != "OPTIONS":
            raise BadTarget("bad_request", "the asterisk-form outside OPTIONS")
        return Target("asterisk", None, raw, None)
    return _parse_absolute(raw, method)


def _parse_absolute(raw: bytes, method: str) -> Target:
    """Parse `http://authority/path?query`; other schemes and authority-form are refused."""
    found = _ABSOLUTE.match(raw)
    if found is None:
        raise BadTarget("bad_request", "neither a path nor an http or https URL")
    authority = found[1]
    if not authority or b"@" in authority:
        raise BadTarget("bad_request", "the target's authority is empty or names a user")
    rest = raw[found.end() :]
    if not rest and method == "OPTIONS":
        return Target("asterisk", authority, b"*", None)  # RFC 9112 §3.2.4
    inner = parse_target(rest if rest[:1] == b"/" else b"/" + rest, method)
    return Target("absolute", authority, inner.path, inner.query)


def check_path(path: bytes) -> bytes:
    """Raise `BadTarget` for what no path may contain, in any layer of encoding (P2).

    Returns the path decoded once, each `%2F` as `INNER_SLASH`.
    """
    if path[:1] != b"/":
        raise BadTarget("bad_request", "the path does not begin with a slash")
    if len(path) > MAX_ODD_PATH and path.translate(None, _PLAIN):
        raise BadTarget("path_ambiguous", _TOO_LONG)
    if _FORBIDDEN.search(path):
        raise BadTarget("path_ambiguous", "raw '#', space or control character, or a stray '%'")
    first = layer = _decode(path)
    for _ in range(MAX_LAYERS):
        layer = layer.replace(INNER_SLASH, b"/")
        if not layer.isascii():
            if _CONTROL.search(layer):
                raise BadTarget("path_ambiguous", "a control character in the path")
            if _OVERLONG.search(layer):
                raise BadTarget("path_ambiguous", "overlong UTF-8 in the path")
        if b"%" not in layer:
            return first
        if _ENCODED_CONTROL.search(layer):
            raise BadTarget("path_ambiguous", "an encoded control character in the path")
        decoded = _decode(layer)
        if decoded == layer:
            return first
        layer = decoded
    raise BadTarget("path_ambiguous", "too many layers of percent-encoding")


def is_plain(path: bytes) -> bool:
    """Tell whether the raw path has one reading, letters' case and final dots aside (P2).

    The fast way out for nearly every request: no escape, no odd form, printable ASCII only.
    """
    return (
        not path.translate(None, _PLAIN)
        and b"//" not in path
        and (b"/." not in path or _DOT_SEGMENT.search(path) is None)
        and path[:1] == b"/"
    )


# Decoding


def decode_path(path: bytes) -> tuple[bytes, ...]:
    """Split the raw path at `/` and decode each segment once (P1).

    A decoded `%2F` is `INNER_SLASH`. A final slash adds no segment: `/a/` is `/a`.
    Raises `BadTarget` as `check_path` does.
    """
    return segments(check_path(path))


def segments(decoded: bytes) -> tuple[bytes, ...]:
    """Split one of the paths of `Readings`; a final slash adds no segment."""
    parts = decoded.split(b"/")
    if not parts[-1]:
        parts.pop()
    return tuple(parts[1:])


def fold(segment: bytes) -> bytes:
    """Return what stands for all spellings that some server takes for this segment (P5).

    Case, spaces around it and final dots go (Windows, Java); beyond ASCII also compatible forms,
    and the letters whose upper or lower case is an ASCII letter. A segment of nothing but dots and
    spaces stays one: its disappearing is a reading of the whole path.
    """
    if segment.isascii():
        folded = segment.lower()
        return folded.strip(b" ").rstrip(b" .") or folded
    text = segment.decode("utf-8", "surrogateescape")
    text = normalized("NFKC", text).upper().casefold()
    text = normalized("NFKC", text).replace("i\u0307", "i")  # the dotted capital I
    return (text.strip().rstrip(" .") or text).encode("utf-8", "surrogateescape")


def _decode(text: bytes) -> bytes:
    """Decode every escape once, `%2F` to `INNER_SLASH`; `check_path` has seen what is in there."""
    return _ESCAPE.sub(_unescape, text) if b"%" in text else text


def _unescape(escape: re.Match[bytes]) -> bytes:
    if escape[1] is None:
        return _BYTES[escape[0].lower()]
    character = chr(int(escape[1], 16))  # IIS's own %u0041, seen in inner layers only
    return INNER_SLASH if character == "/" else character.encode("utf-8", "surrogatepass")


# Readings


def readings(path: bytes, *, is_folded: bool = False) -> Readings:
    """Return every path that a server may see in `path`, and the odd forms in it (P2).

    With `is_folded` also what a server sees that drops dots and spaces at a segment's end (P5);
    letters' case is left to `fold`. Raises `BadTarget` as `check_path` does, and for a path that
    has more than `MAX_READINGS`.
    """
    if len(path) > MAX_ODD_PATH and (is_folded or not is_plain(path)):
        raise BadTarget("path_ambiguous", _TOO_LONG)
    own = check_path(path)
    forms = {"encoded_dot"} if b"%2e" in path or b"%2E" in path else set()
    if not _is_utf8(own):
        forms.add("non_utf8")
    elif path.isascii() and not _UNUSUAL.search(own) and not (is_folded and is_foldable(own)):
        return Readings(frozenset(forms), (own,))
    return _all_readings(path, own, forms, is_folded=is_folded)


def _all_readings(path: bytes, own: bytes, forms: set[str], *, is_folded: bool) -> Readings:
    """Apply every transformation in every order until nothing new appears."""
    found: dict[tuple[bytes, bool], None] = {(own, True): None, (path, False): None}
    if not path.isascii():  # Node takes raw bytes for Latin-1
        found[path.decode("latin-1").encode(), False] = None
    waiting = list(found)
    room = MAX_READING_BYTES
    while waiting:
        text, is_decoded = waiting.pop()
        for form, moved, is_moved_decoded in _moves(text, is_decoded, is_folded=is_folded):
            if form is not None:
                forms.add(form)
            state = (moved, is_moved_decoded)
            if state in found:
                continue
            room -= len(moved)
            if len(found) >= MAX_READINGS or room < 0:
                raise BadTarget("path_ambiguous", "the path has too many readings")
            found[state] = None
            waiting.append(state)
    paths = tuple(text for text, is_decoded in found if is_decoded)
    return Readings(frozenset(forms), paths)


def is_foldable(text: bytes) -> bool:
    """Tell whether a decoded path has more readings with `is_folded` than without."""
    return _FOLDABLE.search(text) is not None


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


Move = tuple[str | None, bytes, bool]
"""The odd form that a transformation acted on, its result, and whether that is decoded."""


def _moves(text: bytes, is_decoded: bool, *, is_folded: bool) -> Iterator[Move]:  # noqa: FBT001 - half of a state
    """Yield what one transformation makes of `text`.

    Transformations also run before the first decoding: Tomcat cuts `;` and many servers resolve
    dots while `%3B` and `%2E` are still escapes, which leaves other paths than the reverse order.
    """
    for form, needle, change in _STRUCTURAL:
        if needle in text:
            moved = change(text)
            if moved != text:
                yield form, moved, is_decoded
    decoded = _decode(text)
    if not is_decoded:
        yield None, decoded, True
        return
    if decoded != text:
        yield "double_encoding" if _HIDDEN.search(text) else None, decoded, True
    if not text.isascii() and not _is_utf8(text):
        for moved in _other_charsets(text):
            yield None, moved, True
    if is_folded:
        for moved in _folded(text):
            yield None, moved, True


def _resolve_dots(text: bytes) -> bytes:
    """Remove dot segments as RFC 3986 §5.2.4 does, which takes an empty segment for one."""
    if not _DOT_SEGMENT.search(text):
        return text
    kept: list[bytes] = []
    parts = text.split(b"/")[1:]
    for part in parts:
        if part == b"..":
            del kept[-1:]
        elif part != b".":
            kept.append(part)
    if parts[-1] in (b".", b".."):
        kept.append(b"")
    return b"/" + b"/".join(kept)


_MANY_SLASHES = re.compile(rb"/{2,}")
_AUTHORITY = re.compile(rb"\A/{2,}[^/]*")
_PARAMETERS = re.compile(rb";[^/]*")

_STRUCTURAL: Final[tuple[tuple[str | None, bytes, Callable[[bytes], bytes]], ...]] = (
    ("encoded_slash", INNER_SLASH, lambda text: text.replace(INNER_SLASH, b"/")),
    ("backslash", b"\\", lambda text: text.replace(b"\\", b"/")),
    ("double_slash", b"//", lambda text: _MANY_SLASHES.sub(b"/", text)),
    # `//host/path` is a network-path reference to URL parsers (RFC 3986 §4.2), Node's among them
    ("double_slash", b"//", lambda text: _AUTHORITY.sub(b"", text) or b"/"),
    # parameters of one segment (Tomcat, Jetty), or everything behind the first `;` (Shiro)
    ("semicolon", b";", lambda text: _PARAMETERS.sub(b"", text)),
    ("semicolon", b";", lambda text: text.partition(b";")[0]),
    ("dot_segments", b"/.", _resolve_dots),
    # %3F and %23 where a decoded path is parsed as a URL once more
    (None, b"?", lambda text: text.partition(b"?")[0]),
    (None, b"#", lambda text: text.partition(b"#")[0]),
)
"""What servers do to a path: the odd form concerned, what must occur in it, and the result."""


def _folded(text: bytes) -> Iterator[bytes]:
    """Yield what servers see that fold names as file systems do (P5)."""
    if not is_foldable(text):
        return
    parts = text.split(b"/")
    yield b"/".join(part.strip(b" ") for part in parts)
    yield b"/".join(_trimmed(part) for part in parts)
    if b":$" in text:  # an NTFS stream: `/admin:$i30:$INDEX_ALLOCATION/` is `/admin/`
        yield b"/".join(p.partition(b":")[0] if b":$" in p else p for p in parts)
    if not text.isascii():
        as_text = text.decode("utf-8", "surrogateescape")
        yield normalized("NFKC", as_text).encode("utf-8", "surrogateescape")


def _trimmed(part: bytes) -> bytes:
    """Cut dots and spaces off; dot segments stay what they are."""
    return part if part in (b".", b"..") else part.strip(b" ").rstrip(b" .")


def _other_charsets(text: bytes) -> Iterator[bytes]:
    """Yield what bytes that are not UTF-8 become where they are taken for something else."""
    yield text.decode("latin-1").encode()
    yield text.decode("cp1252", "replace").encode()
    yield text.decode("utf-8", "ignore").encode()
    yield _lenient_utf8(text)


def _lenient_utf8(text: bytes) -> bytes:
    """Decode as those do that never look at continuation bytes: `C0 2E` is a dot."""
    decoded: list[str] = []
    index = 0
    while index < len(text):
        lead = text[index]
        more = 3 if lead >= 0xF0 else 2 if lead >= 0xE0 else 1 if lead >= 0xC0 else 0
        tail = text[index + 1 : index + 1 + more]
        index += 1 + len(tail)
        if len(tail) < more:
            break
        value = lead & (0xFF if not more else 0x3F >> more)
        for byte in tail:
            value = value << 6 | byte & 0x3F
        decoded.append(chr(value) if value <= 0x10FFFF else "\ufffd")
    return "".join(decoded).encode("utf-8", "surrogatepass")
