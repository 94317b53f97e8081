"""A YAML 1.2 file as a tree whose every key and value knows its line and column.

The tree is built from the parser's events, one after the other and without recursion, so that a
hostile file costs no more than its size: depth, size and what aliases add are bounded, and what
YAML could do beyond plain data (tags, merge keys, several documents, directives) is refused.
Nothing here knows what a configuration is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from proxy.config.expansion import ExpansionError, expand
from proxy.config.values import Expanded

Path = tuple[str | int, ...]

MAX_BYTES: Final = 8 * 1024 * 1024
"""Of a file; 10,000 routes take about 2 MiB."""
MAX_DEPTH: Final = 32
"""Of nesting; the deepest key of the reference has 6."""
MAX_ALIASED: Final = 20_000
"""Nodes that aliases may add to what is written out (against "billion laughs")."""

_FORBIDDEN: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff\ufffe\uffff]|\r(?!\n)"
)
"""Control characters, what only some programs take for a line's end, and what turns the direction
of writing, so that a reviewer reads another file than the machine."""
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_NULL: Final = re.compile(r"null|Null|NULL|~|")
_TRUE: Final = re.compile(r"true|True|TRUE")
_FALSE: Final = re.compile(r"false|False|FALSE")
_INTEGER: Final = re.compile(r"[-+]?[0-9]+")
_OCTAL: Final = re.compile(r"0o[0-7]+")
_HEXADECIMAL: Final = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE: Final = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_MAX_DIGITS: Final = 18


class Position(NamedTuple):
    """Where something begins; both count from 1, columns in characters."""

    line: int
    column: int


class Mistake(NamedTuple):
    """What is wrong with the document as YAML, before it is read as a configuration."""

    position: Position
    path: Path
    message: str


@dataclass(slots=True)
class ScalarNode:
    """A text, number or boolean."""

    position: Position
    value: str | int | float | bool = field(repr=False)
    size: int = 1
    height: int = 1


@dataclass(slots=True)
class BrokenNode:
    """A value that is a mistake already; it takes part in nothing that follows."""

    position: Position
    size: int = 1
    height: int = 1


@dataclass(slots=True)
class SequenceNode:
    """A list."""

    position: Position
    items: list[Node] = field(default_factory=list)
    size: int = 1
    height: int = 1


@dataclass(slots=True)
class MappingNode:
    """A mapping; every key has its own position."""

    position: Position
    entries: dict[str, tuple[Position, Node]] = field(default_factory=dict)
    size: int = 1
    height: int = 1


Node = ScalarNode | BrokenNode | SequenceNode | MappingNode


@dataclass(slots=True)
class Document:
    """What could be read, and what could not."""

    root: Node | None
    """`None` where the text is no YAML at all: then nothing else can be said about it."""
    mistakes: list[Mistake]
    replaced: dict[str, str] = field(repr=False)
    """Values that came from the environment, and the text that stands for each in the file."""


def child(node: Node | None, part: str | int) -> Node | None:
    """Return the value under a key or index, if there is one."""
    if isinstance(node, MappingNode) and isinstance(part, str) and part in node.entries:
        return node.entries[part][1]
    if isinstance(node, SequenceNode) and isinstance(part, int) and 0 <= part < len(node.items):
        return node.items[part]
    return None


class _FatalError(Exception):
    def __init__(self, position: Position, message: str) -> None:
        super().__init__(message)
        self.position = position
        self.message = message


def read_document(raw: bytes, environment: Mapping[str, str]) -> Document:
    """Read `raw`; never raises, whatever the bytes are."""
    builder = _Builder(environment)
    try:
        for event in _events(_decode(raw)):
            builder.take(event)
    except _FatalError as error:
        builder.mistakes.append(Mistake(error.position, (), error.message))
        return Document(None, builder.mistakes, builder.replaced)
    if builder.root is None:
        builder.mistakes.append(Mistake(Position(1, 1), (), "the file is empty"))
    return Document(builder.root, builder.mistakes, builder.replaced)


def _decode(raw: bytes) -> str:
    if len(raw) > MAX_BYTES:
        raise _FatalError(Position(1, 1), "the file is larger than 8 MiB")
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _FatalError(Position(1, 1), "the file is not UTF-8 (it begins like UTF-16)")
    raw = raw.removeprefix(b"\xef\xbb\xbf")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode()
        raise _FatalError(_end_of(before), "this byte is not UTF-8") from None
    if (match := _FORBIDDEN.search(text)) is not None:
        name = f"U+{ord(match[0][0]):04X}"
        raise _FatalError(
            _end_of(text[: match.start()]),
            f"the character {name} must not stand in the file; it cannot be seen",
        )
    return text


def _end_of(text: str) -> Position:
    return Position(text.count("\n") + 1, len(text) - (text.rfind("\n") + 1) + 1)


def _events(text: str) -> Iterator[Event]:
    yaml = YAML(typ="safe", pure=True)
    last = Position(1, 1)
    try:
        for event in yaml.parse(text):
            last = _position(event.start_mark)
            yield event
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        position = _position(mark) if mark is not None else last
        raise _FatalError(position, _syntax_message(error, text, position)) from None
    except _FatalError:
        raise
    except (YAMLError, ValueError, OverflowError, AssertionError):  # it asserts what it reads
        raise _FatalError(last, "what follows here is not YAML") from None


def _syntax_message(error: MarkedYAMLError, text: str, position: Position) -> str:
    problem = str(error.problem or "is not YAML")
    lines = text.split("\n")
    line = lines[position.line - 1] if position.line <= len(lines) else ""
    if "'\\t'" in problem or line[: position.column].strip(" ").startswith("\t"):
        return "YAML is indented with spaces, not with tabs"
    if "${" in line and ("[" in line or "{" in line.replace("${", "")):
        problem += '; inside [ ] and { } a "${VARIABLE}" stands in quotes'
    return f"not YAML: {problem}"


def _position(mark: Any) -> Position:
    return Position(mark.line + 1, mark.column + 1)


@dataclass(slots=True)
class _Frame:
    node: SequenceNode | MappingNode
    anchor: str | None
    key: str | None = None
    key_position: Position | None = None
    is_key_taken: bool = False
    """A key was read (perhaps a bad one, then `key` is `None`), its value comes next."""


class _Builder:
    """Takes the events of one document, in order."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.root: Node | None = None
        self.mistakes: list[Mistake] = []
        self.replaced: dict[str, str] = {}
        self._environment = environment
        self._stack: list[_Frame] = []
        self._anchors: dict[str, Node] = {}
        self._aliased = 0

    def take(self, event: Event) -> None:
        """Add what `event` says to the tree."""
        if isinstance(event, ScalarEvent):
            self._take_scalar(event)
        elif isinstance(event, AliasEvent):
            self._add(self._alias(event), None)
        elif isinstance(event, SequenceStartEvent | MappingStartEvent):
            self._open(event)
        elif isinstance(event, SequenceEndEvent | MappingEndEvent):
            frame = self._stack.pop()
            self._add(frame.node, frame.anchor)
        elif isinstance(event, DocumentStartEvent):
            self._start_document(event)

    def _start_document(self, event: DocumentStartEvent) -> None:
        position = _position(event.start_mark)
        if self.root is not None:
            raise _FatalError(position, "a second document begins here; a configuration is one")
        if event.tags or (event.version is not None and tuple(event.version) != (1, 2)):
            raise _FatalError(position, "directives other than %YAML 1.2 are not used here")

    def _open(self, event: SequenceStartEvent | MappingStartEvent) -> None:
        position = _position(event.start_mark)
        if len(self._stack) >= MAX_DEPTH:
            raise _FatalError(position, f"nested deeper than {MAX_DEPTH} levels")
        if event.tag is not None:
            self._mistake(position, "tags (!…) are not used here")
        is_list = isinstance(event, SequenceStartEvent)
        node: SequenceNode | MappingNode = (
            SequenceNode(position) if is_list else MappingNode(position)
        )
        self._stack.append(_Frame(node, event.anchor))

    def _take_scalar(self, event: ScalarEvent) -> None:
        position = _position(event.start_mark)
        frame = self._stack[-1] if self._stack else None
        if frame is not None and isinstance(frame.node, MappingNode) and not frame.is_key_taken:
            self._take_key(frame, event, position)
            return
        self._add(self._scalar(event, position), event.anchor)

    def _take_key(self, frame: _Frame, event: ScalarEvent, position: Position) -> None:
        frame.is_key_taken = True
        frame.key = None
        frame.key_position = position
        key = event.value
        assert isinstance(frame.node, MappingNode)  # noqa: S101 - the caller has looked
        if event.tag is not None or event.anchor is not None or _SURROGATE.search(key):
            self._mistake(position, "a key is plain text, without tag or anchor")
        elif not key and event.implicit[0]:
            self._mistake(position, "a key is missing")
        elif key == "<<" and event.implicit[0]:
            self._mistake(position, "merge keys (<<) are not part of YAML 1.2")
        elif key in frame.node.entries:
            first = frame.node.entries[key][0].line
            self._mistake(position, f"this key stands in line {first} already", key)
        else:
            frame.key = key

    def _add(self, node: Node, anchor: str | None) -> None:
        """Put a finished node where it belongs."""
        if anchor is not None:
            self._anchors[anchor] = node
        if not self._stack:
            self.root = node
            return
        frame = self._stack[-1]
        parent = frame.node
        if isinstance(parent, SequenceNode):
            parent.items.append(node)
        elif not frame.is_key_taken:
            self._mistake(node.position, "a key is plain text, not a list, mapping or alias")
            frame.is_key_taken, frame.key = True, None
            return
        else:
            if frame.key is not None and frame.key_position is not None:
                parent.entries[frame.key] = (frame.key_position, node)
            frame.is_key_taken, frame.key = False, None
        parent.size += node.size
        parent.height = max(parent.height, node.height + 1)

    def _alias(self, event: AliasEvent) -> Node:
        position = _position(event.start_mark)
        node = self._anchors.get(event.anchor)
        if node is None:
            is_open = any(frame.anchor == event.anchor for frame in self._stack)
            self._mistake(
                position, "this alias contains itself" if is_open else "no such anchor (&)"
            )
            return BrokenNode(position)
        if len(self._stack) + node.height > MAX_DEPTH:
            raise _FatalError(
                position, f"nested deeper than {MAX_DEPTH} levels, through this alias"
            )
        self._aliased += node.size
        if self._aliased > MAX_ALIASED:
            raise _FatalError(position, f"aliases add more than {MAX_ALIASED} values")
        return node

    def _scalar(self, event: ScalarEvent, position: Position) -> Node:
        text: str = event.value
        if event.tag is not None:
            return self._broken(position, "tags (!…) are not used here; quotes make a text")
        if _SURROGATE.search(text):
            return self._broken(position, "half a character (a surrogate) is no text")
        is_plain = bool(event.implicit[0])
        if is_plain and _NULL.fullmatch(text):
            frame = self._stack[-1] if self._stack else None
            at = frame.key_position if frame is not None and frame.key_position else position
            self._mistake(at, "the value is missing")
            return BrokenNode(at)
        if "${" in text:
            return self._expanded(text, position, is_plain=is_plain)
        if not is_plain:
            return ScalarNode(position, text)
        try:
            return ScalarNode(position, _resolve(text))
        except ValueError as error:
            return self._broken(position, str(error))

    def _expanded(self, text: str, position: Position, *, is_plain: bool) -> Node:
        try:
            value, taken = expand(text, self._environment)
        except ExpansionError as error:
            return self._broken(position, str(error))
        if _SURROGATE.search(value):
            return self._broken(position, "the variable's value is not UTF-8")
        for secret in (*taken, value if taken else ""):
            self.replaced.setdefault(secret, text)
        return ScalarNode(position, Expanded(value) if is_plain else value)

    def _broken(self, position: Position, message: str) -> BrokenNode:
        self._mistake(position, message)
        return BrokenNode(position)

    def _mistake(self, position: Position, message: str, key: str | None = None) -> None:
        path: list[str | int] = []
        for frame in self._stack:
            if isinstance(frame.node, SequenceNode):
                path.append(len(frame.node.items))
            elif frame.key is not None:
                path.append(frame.key)
        self.mistakes.append(
            Mistake(position, (*path, key) if key is not None else (*path,), message)
        )


def _resolve(text: str) -> str | int | float | bool:
    """Return what a plain scalar means under the core schema of YAML 1.2 (§10.3.2)."""
    if _TRUE.fullmatch(text):
        return True
    if _FALSE.fullmatch(text):
        return False
    for pattern, base in ((_INTEGER, 10), (_OCTAL, 8), (_HEXADECIMAL, 16)):
        if pattern.fullmatch(text):
            if len(text) > _MAX_DIGITS:
                raise ValueError("the number is too large; put it in quotes if it is a text")
            return int(text.removeprefix("0o"), base)
    if _FLOAT.fullmatch(text):
        number = float(text)
        if math.isfinite(number):
            return number
    elif not _NOT_FINITE.fullmatch(text):
        return text
    raise ValueError("the number is not finite; put it in quotes if it is a text")
