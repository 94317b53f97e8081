"""The gate's word about the caller, as headers (security.md, H4; reference.md §2).

Compiled per route: standard names, a preset, mapped templates. What never belongs here: removing
what a client sent under these names (proxy.core.headers), and the signed assertion.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote_from_bytes

from proxy.core.headers import IDENTITY_NAMES, fold, forbidden_identity_name
from proxy.core.templates import (
    Placeholder,
    Reader,
    claim_reader,
    members_of,
    parse_template,
    scalar_text,
)
from proxy.errors import ProxyError
from proxy.model import Header, Identity

MAX_BLOCK_BYTES: Final = 8 * 1024
"""Of all identity headers of one request; many servers take 8 KiB a line, or 16 in all."""

_SAFE_IN_VALUE: Final = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
_SAFE_IN_MEMBER: Final = _SAFE_IN_VALUE.translate(str.maketrans("", "", ',;" '))

PRESETS: Final[Mapping[str, Mapping[str, str]]] = {
    "remote-user": {
        "Remote-User": "{sub}",
        "Remote-Email": "{email}",
        "Remote-Name": "{name}",
        "Remote-Groups": "{roles}",
    },
    "oauth2-proxy": {
        "X-Forwarded-User": "{sub}",
        "X-Forwarded-Email": "{email}",
        "X-Forwarded-Groups": "{roles}",
        "X-Forwarded-Preferred-Username": "{preferred_username}",
        "X-Auth-Request-User": "{sub}",
        "X-Auth-Request-Email": "{email}",
        "X-Auth-Request-Groups": "{roles}",
        "X-Auth-Request-Preferred-Username": "{preferred_username}",
    },
    "cloudflare-access": {"Cf-Access-Authenticated-User-Email": "{email}"},
}
"""Headers as another gate sets them, with the template of each."""

PROVIDER_TOKEN: Final = "X-Auth-Provider-Token"
"""The access token of the OpenID provider that somebody signed in with, where a route wants it."""

_PRESET_REMOVES: Final = {"cloudflare-access": ("Cf-Access-Jwt-Assertion",)}
"""Names that applications of a preset believe as well, though this gate never sets them."""

_READERS: Final[dict[str, Callable[[Identity], object]]] = {
    "sub": lambda identity: identity.subject,
    "iss": lambda identity: identity.origin,
    "scheme": lambda identity: identity.scheme,
    "email": lambda identity: identity.email,
    "name": lambda identity: identity.name,
    "roles": lambda identity: identity.roles,
    "scopes": lambda identity: identity.scopes,
}
"""These names mean what the scheme made of the claims, never a raw claim of the same name: an
e-mail address that was not verified is no address (K6)."""


class IdentityRefused(ProxyError):
    """An identity that cannot be told to the application: `code` says why (403)."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(detail)
        self.code = code  # type: ignore[misc]  # the two codes share one meaning to every catcher


def encode_value(text: str) -> bytes:
    """Return `text` as a header value: UTF-8, percent-encoded but for printable ASCII (H4).

    `%` is encoded, and white space at either end, which no server would keep.
    """
    if text.isascii() and text.isprintable() and "%" not in text and text == text.strip(" "):
        return text.encode("ascii")
    raw = text.encode("utf-8", "surrogatepass")
    inner = raw.strip(b" ")
    if not inner:
        return b"%20" * len(raw)
    start = len(raw) - len(raw.lstrip(b" "))
    end = len(raw) - start - len(inner)
    quoted = quote_from_bytes(inner, _SAFE_IN_VALUE).encode("ascii")
    return b"%20" * start + quoted + b"%20" * end


@functools.lru_cache(maxsize=1024)
def encode_member(text: str) -> bytes:
    """Return `text` as a member of a list: as a value, and `,` `;` `"` and space encoded too."""
    return quote_from_bytes(text.encode("utf-8", "surrogatepass"), _SAFE_IN_MEMBER).encode("ascii")


class IdentityPlan:
    """The identity headers of one route.

    `headers` maps names to templates over the identity (`sub`, `iss`, `scheme`, `email`, `name`,
    `roles`, `scopes`) and its claims. Raises `ValueError` for a name that cannot carry identity,
    two spellings of one name, a bad template, or an unknown preset.
    """

    __slots__ = ("_fields", "names")

    names: frozenset[str]
    """Every header that it can set, and those that only the gate may set beside it."""

    def __init__(self, headers: Mapping[str, str] | None = None, preset: str | None = None) -> None:
        if preset is not None and preset not in PRESETS:
            raise ValueError(f"{preset!r} is not a preset: {', '.join(PRESETS)}")
        templates = {} if preset is None else dict(PRESETS[preset])
        _map_headers(templates, headers or {})
        self.names = frozenset(
            (*IDENTITY_NAMES, *templates, *_PRESET_REMOVES.get(preset or "", ()))
        )
        self._fields = tuple(
            (name.encode("ascii"), _compile_field(text)) for name, text in templates.items()
        )

    def render(self, identity: Identity | None) -> tuple[Header, ...]:
        """Return the headers that tell `identity`; none for nobody.

        What the identity does not have is left out. Raises `IdentityRefused`: `subject_missing`,
        or `identity_too_large` (never a truncation).
        """
        if identity is None:
            return ()
        if not identity.subject.strip():
            raise IdentityRefused("subject_missing", f"scheme {identity.scheme}: empty subject")
        headers = _standard(identity)
        for name, fill in self._fields:
            value = fill(identity)
            if value is not None:
                headers.append((name, value))
        size = sum(len(name) + len(value) + 4 for name, value in headers)
        if size > MAX_BLOCK_BYTES:
            raise IdentityRefused("identity_too_large", f"{size} bytes of identity headers")
        return tuple(headers)


def _standard(identity: Identity) -> list[Header]:
    headers = [
        (b"X-Auth-Subject", encode_value(identity.subject)),
        (b"X-Auth-Issuer", encode_value(identity.origin)),
        (b"X-Auth-Scheme", encode_value(identity.scheme)),
    ]
    if identity.email is not None:
        headers.append((b"X-Auth-Email", encode_value(identity.email)))
    if identity.name is not None:
        headers.append((b"X-Auth-Name", encode_value(identity.name)))
    if identity.roles:
        headers.append((b"X-Auth-Roles", b",".join(map(encode_member, identity.roles))))
    if identity.scopes:
        headers.append((b"X-Auth-Scopes", b",".join(map(encode_member, identity.scopes))))
    return headers


def _map_headers(templates: dict[str, str], headers: Mapping[str, str]) -> None:
    """Add `headers` to those of the preset; a mapped name replaces the preset's."""
    by_fold = {fold(name.encode()): name for name in templates}
    mapped: set[bytes] = set()
    for name, text in headers.items():
        if reason := forbidden_identity_name(name):
            raise ValueError(f"{name} {reason}")
        folded = fold(name.encode())
        if folded in mapped:
            raise ValueError(f"{name} is mapped twice: servers take its spellings for one name")
        mapped.add(folded)
        if folded in by_fold:
            del templates[by_fold[folded]]
        templates[name] = text


def _identity_reader(path: str) -> Reader:
    own = _READERS.get(path)
    if own is not None:
        return own
    read = claim_reader(path)
    return lambda identity: read(identity.claims)


def _compile_field(text: str) -> Callable[[Identity], bytes | None]:
    """Compile a header's template: as compile_template, but encoded member by member (H4)."""
    parts = parse_template(text)
    if len(parts) == 1 and isinstance(parts[0], Placeholder):
        only = _identity_reader(parts[0].path)
        return lambda identity: _encode(only(identity))
    compiled = [
        (quote_from_bytes(part.encode(), _SAFE_IN_VALUE).encode("ascii"), b"", None)
        if isinstance(part, str)
        else (b"", part.separator.encode(), _identity_reader(part.path))
        for part in parts
    ]

    def fill(identity: Identity) -> bytes | None:
        filled = []
        for literal, separator, read in compiled:
            if read is None:
                filled.append(literal)
                continue
            value = _encode(read(identity))
            if not value:
                return None
            if separator and separator in value:
                value = value.replace(separator, b"%%%02X" % separator[0])
            filled.append(value)
        return b"".join(filled)

    return fill


def _encode(value: Any) -> bytes | None:
    if isinstance(value, list | tuple):
        members = members_of(value)
        return None if members is None else b",".join(map(encode_member, members))
    text = scalar_text(value)
    return None if text is None else encode_value(text)
