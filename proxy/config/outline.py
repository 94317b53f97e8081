"""Which keys a configuration can have, found in the models themselves."""

from __future__ import annotations

import difflib
import functools
import types
import typing
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Final, TypeGuard

from pydantic.fields import FieldInfo

from proxy.config.document import Node, Path, ScalarNode, child
from proxy.config.models import Config
from proxy.config.strict import Section

ANY_KEY: Final = "*"
"""Stands in an outline for a name that the file's author chooses."""
ANY_ITEM: Final = "[]"
"""Stands in an outline for an item of a list."""

LATER: Final[frozenset[str]] = frozenset()
"""Keys of the product that this version does not have yet. They are refused like unknown ones."""


def outline(section: type[Section] = Config, prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Yield every key below `section` as `server.limits.body_size`, with its field.

    `upstreams.*.servers` is a key of a section under a chosen name, `routes[].auth` of an item.
    """
    for key, field in fields_of(section).items():
        path = f"{prefix}.{key}" if prefix else key
        yield path, field
        for suffix, inner in nested(field.annotation):
            yield from outline(inner, path + suffix)


def sections(section: type[Section] = Config) -> list[type[Section]]:
    """Return `section` and every section below it, each once."""
    found = [section]
    for field in section.model_fields.values():
        for _, inner in nested(field.annotation):
            found += [item for item in sections(inner) if item not in found]
    return found


def fields_of(section: type[Section]) -> dict[str, FieldInfo]:
    """Return the fields of `section` under the names that stand in the file."""
    return {field.alias or name: field for name, field in section.model_fields.items()}


def known_keys(root: Node, path: Path) -> frozenset[str]:
    """Return the keys that the mapping at `path` may have; empty where its names are free."""
    leaves, _ = _walk(root, path)
    found = [leaf for leaf in leaves if _is_section(leaf)]
    return frozenset(key for section in found for key in fields_of(section))


def is_optional(root: Node, path: Path) -> bool:
    """Tell whether the innermost key of `path` may be left out. Items belong to their list's key."""
    _, field = _walk(root, path)
    return field is not None and not field.is_required()


def is_later(path: Path) -> bool:
    """Tell whether `path` is a key that a later version will know."""
    text = ""
    for index, part in enumerate(path):
        if isinstance(part, int):
            text += ANY_ITEM
        elif index == 1 and path[0] == "schemes":
            text += f".{ANY_KEY}"
        else:
            text += f".{part}" if text else part
    return text in LATER


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that `word` was probably meant to be."""
    choices = sorted(known)
    folded = {choice.casefold().replace("-", "_"): choice for choice in choices}
    found = difflib.get_close_matches(
        word.casefold().replace("-", "_")[:64], folded, n=1, cutoff=0.6
    )
    return folded[found[0]] if found else None


def places_of(key: str) -> tuple[str, ...]:
    """Return where in a configuration `key` may stand."""
    return _places().get(key, ())


@functools.cache
def _places() -> dict[str, tuple[str, ...]]:
    places: dict[str, tuple[str, ...]] = {}
    for path, _ in outline():
        key = path.rpartition(".")[2]
        places[key] = tuple(dict.fromkeys((*places.get(key, ()), path)))
    return places


def _walk(root: Node, path: Path) -> tuple[list[Any], FieldInfo | None]:
    """Return the types that the value at `path` may have, and the innermost field on the way."""
    leaves: list[Any] = [Config]
    field: FieldInfo | None = None
    node: Node | None = root
    for part in path:
        node = child(node, part)
        steps = [step for leaf in leaves for step in _step(leaf, part)]
        field = next((found for _, found in steps if found is not None), field)
        leaves = [leaf for annotation, _ in steps for leaf in _leaves(annotation)]
        leaves = [leaf for leaf in leaves if not _is_section(leaf) or _fits(leaf, node)]
    return leaves, field


def _leaves(annotation: Any) -> Iterator[Any]:
    """Yield the alternatives of `annotation`: sections, lists, mappings and plain types."""
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        yield from _leaves(typing.get_args(annotation)[0])
    elif origin in {typing.Union, types.UnionType}:
        for choice in typing.get_args(annotation):
            yield from _leaves(choice)
    else:
        yield annotation


def _step(leaf: Any, part: str | int) -> Iterator[tuple[Any, FieldInfo | None]]:
    """Yield the type of what stands under `part` in a `leaf`, and the field if it has one."""
    if _is_section(leaf):
        field = fields_of(leaf).get(part) if isinstance(part, str) else None
        if field is not None:
            yield field.annotation, field
    elif typing.get_origin(leaf) is (list if isinstance(part, int) else dict):
        yield typing.get_args(leaf)[-1], None


def nested(annotation: Any) -> Iterator[tuple[str, type[Section]]]:
    """Yield the sections that a value of this type is or holds, and what leads there in a path."""
    for leaf in _leaves(annotation):
        if _is_section(leaf):
            yield "", leaf
        elif typing.get_origin(leaf) in {list, dict}:
            mark = ANY_ITEM if typing.get_origin(leaf) is list else f".{ANY_KEY}"
            for suffix, section in nested(typing.get_args(leaf)[-1]):
                yield mark + suffix, section


def _is_section(leaf: Any) -> TypeGuard[type[Section]]:
    return isinstance(leaf, type) and issubclass(leaf, Section)


def _fits(section: type[Section], node: Node | None) -> bool:
    """Tell whether a mapping's own `type` allows it to be a `section`."""
    kind = section.model_fields.get("type")
    stated = child(node, "type")
    if kind is None or not isinstance(stated, ScalarNode):
        return True
    return stated.value in typing.get_args(kind.annotation)
