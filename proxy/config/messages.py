"""What pydantic found wrong, in the words of this product. No message repeats a value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from proxy.config.document import Node, Path
from proxy.config.outline import is_later, known_keys, nearest, places_of

KEY_MARK: Final = "[key]"
"""Pydantic's last part of a location that means the key itself, not its value."""

_PLAIN_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_WORDS: Final = {
    "missing": "is required",
    "model_type": "must be a mapping of keys",
    "model_attributes_type": "must be a mapping of keys",
    "dict_type": "must be a mapping of keys",
    "list_type": "must be a list",
    "scheme_type": "`type` must be session, jwt or mtls",
    "too_short": "must not be empty",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "string_type": "must be text; put it in quotes",
}


def show_path(path: Path) -> str:
    """Return `routes[3].match.host`; the root is `(document)`.

    A key that stands in a secret's place is not shown: it may be the secret itself.
    """
    text = ""
    for index, part in enumerate(path):
        if isinstance(part, int):
            text += f"[{part}]"
        elif part != "file" and _is_in_secret(path[:index]):
            return f"{text}.…"
        else:
            word = part if _PLAIN_KEY.fullmatch(part) else _quoted(part)
            text += f".{word}" if text else word
    return text or "(document)"


def describe(error: Mapping[str, Any]) -> str:
    """Return one sentence for an item of pydantic's `ValidationError.errors()`.

    `unknown_key` is for keys that nobody reads.
    """
    kind = error["type"]
    context = error.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        return _one_of(error)
    return _WORDS.get(kind, str(error["msg"]).lower())


def meant_key(path: Path, root: Node) -> str | None:
    """Return the key that was probably meant by the unknown one at `path`."""
    return None if is_later(path) else nearest(str(path[-1]), known_keys(root, path[:-1]))


def unknown_key(path: Path, root: Node) -> str:
    """Return what is to be said about a key that nobody reads."""
    if is_later(path):
        return "unknown key (not available in this version)"
    if (guess := meant_key(path, root)) is not None:
        return f"unknown key; did you mean `{guess}`?"
    key = str(path[-1])
    known = known_keys(root, path[:-1])
    places = places_of(key)
    if len(places) == 1:
        return (
            f"unknown key here; it belongs to `{places[0].rpartition('.')[0] or 'the top level'}`"
        )
    return "unknown key; known here: " + ", ".join(sorted(known)) if known else "unknown key"


def did_you_mean(word: str, known: Mapping[str, Any] | frozenset[str]) -> str:
    """Return `; did you mean …?` or nothing."""
    guess = nearest(word, known)
    return f"; did you mean `{guess}`?" if guess is not None else ""


def _is_in_secret(path: Path) -> bool:
    names = [part for part in path if isinstance(part, str)]
    if names[:1] == ["schemes"]:
        return names[2:] in (["keys", "secret"], ["store"])
    return names in (["secrets", "key"], ["store", "url"])


def _one_of(error: Mapping[str, Any]) -> str:
    words = re.findall(r"'([^']*)'", str(error["ctx"]["expected"]))
    given = error.get("input")
    message = f"must be {_either(words)}"
    if isinstance(given, str):
        message += did_you_mean(given, frozenset(words))
    return message


def _either(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _quoted(key: str) -> str:
    shown = "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in key[:100])
    return '"' + shown.replace('"', '\\"') + '"'
