"""Templates over claims: `{sub}`, `{iss}|{sub}`, `{realm.roles}`.

Compiled when the configuration is loaded. Two different sets of values never make the same text:
what could be taken for the separator behind a placeholder is percent-encoded in its value. What
never belongs here: which header or field a template fills.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

Reader = Callable[[Any], object]
"""Takes one value out of the document (claims or an identity) that a template is filled from."""

_TOKEN: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[^{}]+|[{}]")
_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,4}")
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f]")
_SEPARATORS: Final = frozenset(" !\"#$&'()*+,-./:;<=>?@[\\]^_`|~")
"""Neither `%` nor what stands in a percent-encoding: so encoding a separator hides it."""


@dataclass(frozen=True, slots=True)
class Placeholder:
    """One `{path}` of a template."""

    path: str
    separator: str
    """The character that begins the literal before the next placeholder; empty for the last."""


Part = str | Placeholder


def parse_template(text: str) -> tuple[Part, ...]:
    """Split a template into literals and placeholders; `{{` and `}}` stand for braces.

    Raises `ValueError` for lone or empty braces, control characters, white space at either end,
    and placeholders that nothing, or nothing that could be told from a value, stands between.
    """
    if _UNPRINTABLE.search(text):
        raise ValueError("a template has no control characters")
    if text != text.strip():
        raise ValueError("a template does not begin or end with white space")
    if not text:
        raise ValueError("a template is not empty")
    return tuple(_with_separators(_split(text)))


def claim_at(claims: Mapping[str, Any], dotted: str) -> Any:
    """Return the claim at a dotted path, `None` if there is none.

    Names may contain dots themselves (`https://example.com/roles`): the whole path is tried as one
    name first, then the longest first name that leads to an object or a list. A list's members are
    numbered from 0 (`warden.user.user.key.0.0`).
    """
    if dotted in claims:
        return claims[dotted]
    end = dotted.rfind(".")
    while end > 0:
        found = _inside(claims.get(dotted[:end]), dotted[end + 1 :])
        if found is not None:
            return found
        end = dotted.rfind(".", 0, end)
    return None


def claim_reader(path: str) -> Reader:
    """Return a function that takes the claim at `path` out of a mapping of claims."""
    return lambda claims: claim_at(claims, path)


def compile_template(
    text: str, reader: Callable[[str], Reader] = claim_reader
) -> Callable[[Any], str | None]:
    """Return a function from a document to the filled template.

    It returns `None` where a value is missing or cannot be said in a text. The members of a list
    are joined by `,`. Raises `ValueError` as `parse_template` does.
    """
    parts = parse_template(text)
    if len(parts) == 1 and isinstance(parts[0], Placeholder):
        read = reader(parts[0].path)
        return lambda document: text_of(read(document))
    compiled = [
        (part, "", None) if isinstance(part, str) else ("", part.separator, reader(part.path))
        for part in parts
    ]

    def fill(document: Any) -> str | None:
        filled: list[str] = []
        for literal, separator, read in compiled:
            if read is None:
                filled.append(literal)
                continue
            value = text_of(read(document))
            if value is None:
                return None
            filled.append(_hide(value, separator) if separator else value)
        return "".join(filled)

    return fill


def text_of(value: object) -> str | None:
    """Return a claim as text; `None` for what is absent, empty, an object or not finite."""
    if isinstance(value, str):
        return value or None
    if isinstance(value, list | tuple):
        members = members_of(value)
        return None if members is None else ",".join(_hide(member, ",") for member in members)
    return scalar_text(value)


def members_of(value: list[Any] | tuple[Any, ...]) -> list[str] | None:
    """Return every member as text, or `None`: an empty list, or a member that is no text.

    A member is never left out: the application would count fewer than the identity has.
    """
    members = [member if isinstance(member, str) else scalar_text(member) for member in value]
    if not members or None in members:
        return None
    return [member for member in members if member is not None]


def scalar_text(value: object) -> str | None:
    """Return a text, a number, true or false as text; `None` for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if abs(value) < 1 << 128 else None
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else None
    return None


def _inside(value: Any, dotted: str) -> Any:
    """Return what the path leads to inside of an object or a list."""
    if isinstance(value, Mapping):
        return claim_at(value, dotted)
    if not isinstance(value, list):
        return None
    number, dot, rest = dotted.partition(".")
    if _INDEX.fullmatch(number) is None or int(number) >= len(value):
        return None
    member = value[int(number)]
    return _inside(member, rest) if dot else member


def _split(text: str) -> list[str | tuple[str]]:
    """Return literals as texts and placeholders as 1-tuples, neighbouring literals joined."""
    pieces: list[str | tuple[str]] = []
    literal = ""
    for match in _TOKEN.finditer(text):
        token, path = match[0], match[1]
        if path is not None:
            if not path or path != path.strip():
                raise ValueError("a placeholder names a claim, such as {sub}")
            if literal:
                pieces.append(literal)
                literal = ""
            pieces.append((path,))
        elif token in ("{{", "}}"):
            literal += token[0]
        elif token in ("{", "}"):
            raise ValueError("a brace stands alone; write {{ or }} for a brace itself")
        else:
            literal += token
    if literal:
        pieces.append(literal)
    return pieces


def _with_separators(pieces: list[str | tuple[str]]) -> list[Part]:
    parts: list[Part] = []
    last = max((i for i, piece in enumerate(pieces) if isinstance(piece, tuple)), default=-1)
    for index, piece in enumerate(pieces):
        if isinstance(piece, str):
            parts.append(piece)
            continue
        separator = ""
        if index != last:
            following = pieces[index + 1]
            if isinstance(following, tuple) or following[0] not in _SEPARATORS:
                raise ValueError("two placeholders need a punctuation mark or space between them")
            separator = following[0]
        parts.append(Placeholder(piece[0], separator))
    return parts


def _hide(value: str, separator: str) -> str:
    """Percent-encode `separator` in `value`, so that it ends where the literal begins."""
    if separator not in value and "%" not in value:
        return value
    return value.replace("%", "%25").replace(separator, f"%{ord(separator):02X}")
