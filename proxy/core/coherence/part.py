"""What one of several connections lets a worker believe, where verdicts hang on all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from proxy.core.coherence.source import Source


class Part(Source):
    """One node of a Cluster. What it tells is told to the whole, and its state makes the whole's.

    Only the whole has scopes and holders. Changes are passed on in the order of the wire.
    """

    def __init__(self, whole: Source, changed: Callable[[], None]) -> None:
        super().__init__(whole.name, max_staleness_s=whole.max_staleness_s, counters=whole.counters)
        self._whole = whole
        self._changed = changed

    def tracked(self, proven_at: float) -> None:
        """Note that the node tells what changes."""
        super().tracked(proven_at)
        self._changed()

    def untracked(self) -> None:
        """Note that it cannot."""
        super().untracked()
        self._changed()

    def proven(self, sent_at: float) -> None:
        """Note the answer of a heartbeat."""
        super().proven(sent_at)
        self._changed()

    def lost(self) -> None:
        """Note that its connection is gone."""
        super().lost()
        self._changed()

    def invalidated(self, keys: Sequence[bytes] | None) -> None:
        """Let the whole forget what depends on `keys`."""
        self._whole.invalidated(keys)


class Whole:
    """Makes one `Source` of the parts that are needed: as good as the worst of them."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._parts: list[Part] = []
        self._steady_at: float | None = None
        self._is_other = False

    def consist_of(self, parts: Sequence[Part], steady_at: float | None, *, is_other: bool) -> None:
        """Take `parts` for the whole, as was known at `steady_at`; `None` while slots are moving.

        `is_other`: something has moved since, so that nothing that was kept hangs on where it is.
        """
        self._parts = list(parts)
        self._steady_at = steady_at
        self._is_other |= is_other
        if steady_at is None:
            if self.source.state != "untracked":
                self._tell(self.source.untracked)
            return
        if is_other:
            self._lose()
        self.changed()

    def changed(self) -> None:
        """Look at the parts again."""
        source = self.source
        states = {part.state for part in self._parts}
        if self._steady_at is None:
            return
        if not states or states & {"lost", "waiting"}:
            self._lose()
        elif "untracked" in states:
            if source.state != "untracked":
                self._tell(source.untracked)
        else:
            proof = min(self._steady_at, *(part.proven_at for part in self._parts))
            if source.state != "tracking" or self._is_other:
                self._is_other = False
                self._tell(partial(source.tracked, proof))
            else:
                source.proven(proof)

    def _lose(self) -> None:
        if self.source.state in ("tracking", "untracked"):
            self._tell(self.source.lost)

    def _tell(self, change: Callable[[], None]) -> None:
        """Change the whole; connections are counted by the parts alone."""
        counters = self.source.counters
        counted = counters.connections, counters.losses, counters.untracked
        change()
        counters.connections, counters.losses, counters.untracked = counted
