"""What an operator adds to answers and takes from them, Strict-Transport-Security among it.

Compiled once for each route, and once for answers that belong to none. What never belongs here: what
the gate itself must say or keep back (`proxy.core.responses`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from proxy.config.response_models import HstsConfig, ResponseHeadersConfig
from proxy.core.headers import fold
from proxy.model import Header

_HSTS: Final = b"Strict-Transport-Security"


@dataclass(frozen=True, slots=True)
class Dressing:
    """Header fields that are set, and the names that do not pass."""

    added: tuple[Header, ...] = ()
    dropped: frozenset[bytes] = frozenset()
    """Folded: what an application says under these names reaches nobody."""
    hsts: Header | None = None

    @classmethod
    def compile(
        cls,
        default: ResponseHeadersConfig,
        own: ResponseHeadersConfig | None = None,
        hsts: HstsConfig | None = None,
    ) -> Dressing:
        """Return what `own`, a route's word, makes of the `default` for all.

        What a route sets, or removes, stands in the place of the default of that name.
        """
        own = own or ResponseHeadersConfig()
        spoken = {_folded(name) for name in (*own.set, *own.remove)}
        added = {n: v for n, v in default.set.items() if _folded(n) not in spoken} | own.set
        dropped = {_folded(name) for name in (*added, *default.remove, *own.remove)}
        if hsts is not None:
            dropped.add(fold(_HSTS))
        return cls(
            added=tuple((n.encode("ascii"), v.encode("ascii")) for n, v in added.items()),
            dropped=frozenset(dropped),
            hsts=None if hsts is None else (_HSTS, _hsts_value(hsts)),
        )

    def to(self, *, is_secure: bool) -> tuple[Header, ...]:
        """Return what is set on an answer; `is_secure`: the client is known to use https.

        Nothing commits a browser to https that came without it (RFC 6797 §7.2).
        """
        if is_secure and self.hsts is not None:
            return (*self.added, self.hsts)
        return self.added

    def own(self, lines: Iterable[Header], *, is_secure: bool) -> list[Header]:
        """Return an answer of the gate's own with what is set beside it; its own word stands."""
        lines = list(lines)
        if more := self.to(is_secure=is_secure):
            said = {name.lower() for name, _ in lines}
            lines.extend(header for header in more if header[0].lower() not in said)
        return lines


def _folded(name: str) -> bytes:
    return fold(name.encode("ascii"))


def _hsts_value(hsts: HstsConfig) -> bytes:
    words = [f"max-age={int(hsts.max_age)}"]
    if hsts.subdomains:
        words.append("includeSubDomains")
    if hsts.preload:
        words.append("preload")
    return "; ".join(words).encode("ascii")
