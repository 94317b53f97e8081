"""What a check sees: a configuration in which mistakes may have been cut out already."""

from __future__ import annotations

from dataclasses import dataclass

from proxy.config.models import Config
from proxy.config.tree import Tree


@dataclass(frozen=True, slots=True)
class Survey:
    """A configuration that may be incomplete, and what is known about its gaps.

    Paths are in terms of `config`.
    """

    config: Config
    tree: Tree

    def is_whole(self, *path: str | int) -> bool:
        """Tell whether nothing at, below or around `path` was cut out as a mistake."""
        return self.tree.is_whole(self.tree.original(path))

    def is_odd(self, *path: str | int) -> bool:
        """Tell whether the mapping at `path` had keys that nobody knows."""
        return self.tree.is_odd(self.tree.original(path))

    def is_named(self, section: str, name: str) -> bool:
        """Tell whether the file gives `name` in `section`, rightly or wrongly."""
        return name in self.tree.names(section) or self.tree.is_cut((section,))
