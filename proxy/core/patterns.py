"""Path patterns of routes, and the tree that finds the most specific one (reference.md, Matching).

A pattern is literals, `{x}` (one non-empty segment) and, at its end, `**` (the rest). What a tree
finds it finds by walking the path's segments: the number of patterns makes no difference.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

L = TypeVar("L")

Step = bytes | None
"""One segment of a pattern: a decoded literal, or `None` for `{x}`."""

MAX_SEGMENTS: Final = 64
"""Segments of one pattern; a walk recurses as deep."""

_PARAMETER = re.compile(r"\{[A-Za-z_][A-Za-z0-9_]*\}")
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]|\xc2[\x80-\x9f]")


@dataclass(frozen=True, slots=True)
class Pattern:
    """A compiled pattern."""

    steps: tuple[Step, ...]
    has_rest: bool
    """True when `**` ends the pattern: it matches nothing, `/` and any number of segments."""

    @property
    def is_literal(self) -> bool:
        """True when the pattern matches one path only (with or without final slash)."""
        return not self.has_rest and None not in self.steps

    def folded(self, key: Callable[[bytes], bytes]) -> Pattern:
        """Return the pattern with `key` of each literal, such as `fold` (P5)."""
        steps = tuple(None if step is None else key(step) for step in self.steps)
        return Pattern(steps, self.has_rest)


def parse_pattern(text: str) -> Pattern:
    """Read a pattern such as `/api/{id}/**`; raise `ValueError` with the reason if it is none.

    Escapes are decoded, as the paths are that it is compared with. A final slash says nothing:
    `/a` and `/a/` are one pattern, since both match `/a/`.
    """
    if not text.startswith("/"):
        raise ValueError("a path begins with '/'")
    parts = text[1:].split("/")
    has_rest = parts[-1] == "**"
    if has_rest or not parts[-1]:
        parts.pop()
    if len(parts) > MAX_SEGMENTS:
        raise ValueError(f"a path has at most {MAX_SEGMENTS} segments")
    return Pattern(tuple(_parse_step(part) for part in parts), has_rest)


def _parse_step(part: str) -> Step:
    if not part:
        raise ValueError("an empty segment never matches; write one '/'")
    if _PARAMETER.fullmatch(part):
        return None
    for character, reason in _REFUSED.items():
        if character in part:
            raise ValueError(reason)
    raw = part.encode("utf-8", "surrogatepass")
    if raw.count(b"%") != len(_ESCAPE.findall(raw)):
        raise ValueError("'%' is not followed by two hexadecimal digits; write '%25' for itself")
    literal = _ESCAPE.sub(lambda escape: bytes.fromhex(escape[1].decode()), raw)
    if literal in (b".", b".."):
        raise ValueError("a dot segment never matches")
    if b"/" in literal or _CONTROL.search(literal):
        raise ValueError("an encoded slash or control character never matches")
    return literal


_REFUSED: Final = {
    "*": "'*' stands for nothing but a final '/**'; one segment is '{name}'",
    "{": "'{name}' stands for a whole segment",
    "}": "'{name}' stands for a whole segment",
    "?": "the query never chooses a route; write '%3F' for the character",
    "#": "a fragment is never sent; write '%23' for the character",
}


class Node(Generic[L]):
    """One segment's place in the tree of all patterns."""

    __slots__ = ("exact", "literals", "parameter", "rest")

    def __init__(self) -> None:
        self.literals: dict[bytes, Node[L]] | None = None
        self.parameter: Node[L] | None = None
        self.exact: L | None = None
        """What the pattern holds that ends here."""
        self.rest: L | None = None
        """What the pattern holds that ends here with `**`."""

    def get(self, pattern: Pattern) -> L | None:
        """Return what a pattern holds."""
        node = self.place(pattern)
        return node.rest if pattern.has_rest else node.exact

    def put(self, pattern: Pattern, held: L) -> None:
        """Let a pattern hold something."""
        node = self.place(pattern)
        if pattern.has_rest:
            node.rest = held
        else:
            node.exact = held

    def place(self, pattern: Pattern) -> Node[L]:
        """Return the node of the pattern's last step; it and those above it are made as needed."""
        node = self
        for step in pattern.steps:
            if step is None:
                if node.parameter is None:
                    node.parameter = Node()
                node = node.parameter
            else:
                if node.literals is None:
                    node.literals = {}
                node = node.literals.setdefault(step, Node())
        return node


def find(node: Node[L], path: tuple[bytes, ...] | list[bytes], index: int) -> L | None:
    """Return what the most specific pattern holds that matches `path[index:]` from `node` on.

    Literal before `{x}` before `**`, decided at the first segment where patterns differ. Each node
    is visited at most once, so that hostile paths cannot make the walk longer than the tree.
    """
    if index == len(path):
        return node.exact if node.exact is not None else node.rest
    segment = path[index]
    if node.literals is not None:
        child = node.literals.get(segment)
        if child is not None:
            found = find(child, path, index + 1)
            if found is not None:
                return found
    if node.parameter is not None and segment:
        found = find(node.parameter, path, index + 1)
        if found is not None:
            return found
    return node.rest


def examples(pattern: Pattern, fresh: bytes, *, longest: int) -> Iterator[tuple[bytes, ...]]:
    """Yield paths that the pattern matches: `fresh` for each `{x}`, up to `longest` for `**`."""
    path = tuple(fresh if step is None else step for step in pattern.steps)
    yield path
    if pattern.has_rest:
        for count in range(1, longest + 1):
            yield path + (fresh,) * count


def told_apart(
    patterns: Iterable[Pattern], fresh: bytes, *, most: int
) -> Iterator[tuple[bytes, ...]]:
    """Yield a path for each set of patterns that some path matches, and no other one does.

    All paths of one set are found alike by any tree of these patterns, so that asking about one of
    them is asking about all. `fresh` is a segment that is no literal of theirs. Raises `ValueError`
    where there are more than `most` ways to begin a path.
    """
    ordered = tuple(dict.fromkeys(patterns))
    begin = frozenset((pattern, 0) for pattern in ordered)
    seen = {begin}
    waiting: deque[tuple[_State, tuple[bytes, ...]]] = deque([(begin, ())])
    while waiting:
        state, path = waiting.popleft()
        if any(at == len(pattern.steps) for pattern, at in state):
            yield path
        for segment, reached in _steps_on(state, fresh):
            if reached and reached not in seen:
                if len(seen) >= most:
                    raise ValueError("the patterns overlap in too many ways")
                seen.add(reached)
                waiting.append((reached, (*path, segment)))


_State = frozenset[tuple[Pattern, int]]
"""What patterns a path may still match, and how many of their steps it has taken."""


def _steps_on(state: _State, fresh: bytes) -> Iterator[tuple[bytes, _State]]:
    """Yield each segment that makes a difference next, and what the path may match behind it."""
    always: set[tuple[Pattern, int]] = set()
    literal: dict[bytes, set[tuple[Pattern, int]]] = {}
    for pattern, at in state:
        if at == len(pattern.steps):
            if pattern.has_rest:
                always.add((pattern, at))
            continue
        step = pattern.steps[at]
        (always if step is None else literal.setdefault(step, set())).add((pattern, at + 1))
    yield fresh, frozenset(always)
    for segment in sorted(literal):
        yield segment, frozenset(always | literal[segment])
