"""What of a configuration a running gate cannot change: sockets that it holds, processes, its embedded store."""

from __future__ import annotations

from collections.abc import Iterator

from proxy.config.models import Config


def needs_restart(before: Config, after: Config) -> list[str]:
    """Return the keys whose change a reload does not bring about, as they are written."""
    return [key for key, old, new in _fixed(before, after) if old != new]


def _fixed(before: Config, after: Config) -> Iterator[tuple[str, object, object]]:
    def each(key: str, old: object, new: object) -> tuple[str, object, object]:
        return key, old, new

    old, new = before.server, after.server
    yield each("server.listen", old.listen, new.listen)
    yield each("server.workers", old.workers, new.workers)
    yield each("server.id", old.id, new.id)
    yield each("server.tls", old.tls is None, new.tls is None)
    yield each("log", before.log, after.log)
    for name in ("health", "admin", "decision", "redirect"):
        was, becomes = getattr(before, name), getattr(after, name)
        yield each(f"{name}.listen", was and was.listen, becomes and becomes.listen)
    urls = before.store.url, after.store.url
    if any(url.kind == "embedded" for url in urls):
        yield each("store.url", *urls)
