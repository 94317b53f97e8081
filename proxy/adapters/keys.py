"""Where verification keys come from: files and secrets, providers, the supervisor (security.md, K3).

aiohttp's errors end here. What never belongs here: tokens, and the choice of a key for one.
"""

from __future__ import annotations

from typing import Protocol

from proxy.core.keyset import KeySet


class KeySource(Protocol):
    """The keys of one scheme, as fresh as the source can have them."""

    def current(self) -> KeySet:
        """Return the keys at hand; raises `KeysUnavailable` if there are none that may be used."""

    async def refreshed(self, kid: str) -> KeySet | None:
        """Look once more for a key called `kid`; `None` if the source does not have it.

        Raises `KeysUnavailable` if the provider could not be asked: an outage is not a bad token.
        """


class StaticKeys:
    """Keys that are what they are until the configuration is loaded again."""

    def __init__(self, keys: KeySet) -> None:
        self._keys = keys

    def current(self) -> KeySet:
        """Return the keys."""
        return self._keys

    async def refreshed(self, kid: str) -> KeySet | None:
        """Return `None`: there is nobody to ask about `kid`."""
        del kid
        return None
