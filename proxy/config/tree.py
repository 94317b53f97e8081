"""A document from which mistakes can be cut, so that the rest can still be looked at."""

from __future__ import annotations

from typing import Any

from proxy.config.document import (
    BrokenNode,
    MappingNode,
    Node,
    Path,
    Position,
    ScalarNode,
    SequenceNode,
    child,
)


class SourceMap:
    """Tells where in the file the parts of a configuration stand. Shows no value."""

    __slots__ = ("_root",)

    def __init__(self, root: Node) -> None:
        self._root = root

    def position(self, path: Path, *, is_key: bool = False) -> Position:
        """Return where `path` stands, or the nearest part around it that is in the file.

        Of a value in its key's line the value's place is meant, unless `is_key`; else the key's.
        """
        node: Node | None = self._root
        found = Position(1, 1)
        for index, part in enumerate(path):
            parent, node = node, child(node, part)
            if node is None:
                break
            found = node.position
            if isinstance(parent, MappingNode) and isinstance(part, str):
                at = parent.entries[part][0]
                is_inside = index + 1 < len(path) and child(node, path[index + 1]) is None
                if is_key or is_inside or at.line != node.position.line:
                    found = at
        return found

    def __repr__(self) -> str:
        return "<SourceMap>"


class Tree:
    """A document with cuts. Paths are the file's own, whatever has been cut before them."""

    def __init__(self, root: Node) -> None:
        self.root = root
        self.source_map = SourceMap(root)
        self._cuts: set[Path] = set()
        self._touched: set[Path] = set()
        self._left: dict[Path, list[int]] = {}
        self._dropped: set[Path] = set()
        for path in _broken(root, ()):
            self.cut(path)

    def cut(self, path: Path) -> None:
        """Take the value at `path` out, as if it were not in the file."""
        self._cuts.add(path)
        self._left.pop(path[:-1], None)
        self._touched.update(path[:length] for length in range(len(path) + 1))

    def drop(self, path: Path, meant: Path | None) -> None:
        """Take an unknown key out. It changes nothing, except where `meant` is the key it should be."""
        self._cuts.add(path)
        self._dropped.add(path[:-1])
        if meant is not None:
            self._touched.update(meant[:length] for length in range(len(meant) + 1))

    def is_cut(self, path: Path) -> bool:
        """Tell whether `path` itself, or something around it, was cut."""
        return any(path[:length] in self._cuts for length in range(len(path) + 1))

    def is_whole(self, path: Path) -> bool:
        """Tell whether nothing at, below or around `path` was cut."""
        return path not in self._touched and not self.is_cut(path)

    def is_odd(self, path: Path) -> bool:
        """Tell whether unknown keys were dropped from the mapping at `path`."""
        return path in self._dropped

    @property
    def cuts(self) -> int:
        """How much has been taken out."""
        return len(self._cuts)

    def plain(self) -> Any:
        """Return what is left as dictionaries, lists and scalars; `None` where nothing is."""
        return None if () in self._cuts else self._plain(self.root, ())

    def names(self, key: str) -> frozenset[str]:
        """Return the names that the file gives below a key of the top level, cut or not."""
        node = child(self.root, key)
        return frozenset(node.entries) if isinstance(node, MappingNode) else frozenset()

    def original(self, path: Path) -> Path:
        """Return the file's path for one in terms of `plain`, without pydantic's additions.

        The attribute `from_` stands for the key `from`.
        """
        node: Node | None = self.root
        found: Path = ()
        for index, given in enumerate(path):
            part = given
            if isinstance(node, MappingNode) and given == "from_" and given not in node.entries:
                part = "from"
            if isinstance(node, SequenceNode) and isinstance(part, int):
                left = self._items_left(node, found)
                if part >= len(left):
                    return found
                found = (*found, left[part])
                node = node.items[left[part]]
            elif isinstance(node, MappingNode) and part in node.entries:
                found = (*found, part)
                node = child(node, part)
            elif isinstance(part, str) and not _is_tag(part) and index == len(path) - 1:
                return (*found, part) if isinstance(node, MappingNode) else found
        return found

    def _items_left(self, node: SequenceNode, path: Path) -> list[int]:
        """Return the indexes of the items that are not cut."""
        if path not in self._left:
            count = len(node.items)
            self._left[path] = [i for i in range(count) if (*path, i) not in self._cuts]
        return self._left[path]

    def _plain(self, node: Node, path: Path) -> Any:
        if isinstance(node, ScalarNode):
            return node.value
        if isinstance(node, SequenceNode):
            return [
                self._plain(item, (*path, index))
                for index, item in enumerate(node.items)
                if (*path, index) not in self._cuts
            ]
        if isinstance(node, MappingNode):
            return {
                key: self._plain(value, (*path, key))
                for key, (_, value) in node.entries.items()
                if (*path, key) not in self._cuts
            }
        raise AssertionError("broken nodes are cut from the beginning")


def _is_tag(part: str) -> bool:
    return part.startswith(("<", "["))


def _broken(node: Node, path: Path) -> list[Path]:
    if isinstance(node, BrokenNode):
        return [path]
    if isinstance(node, SequenceNode):
        return [p for index, item in enumerate(node.items) for p in _broken(item, (*path, index))]
    if isinstance(node, MappingNode):
        return [p for key, (_, item) in node.entries.items() for p in _broken(item, (*path, key))]
    return []
