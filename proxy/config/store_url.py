"""Where a store is, as a configuration says it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote, urlencode

from proxy.config.secret import Secret

StoreKind = Literal[
    "embedded",
    "redis",
    "rediss",
    "unix",
    "redis+sentinel",
    "rediss+sentinel",
    "redis+cluster",
    "rediss+cluster",
]


@dataclass(frozen=True, slots=True)
class StoreUrl:
    """Where a store is. `str` and `repr` show no password; `reveal` makes redis-py's URL."""

    kind: StoreKind
    path: Path | None = None
    """`embedded`: its directory; `unix`: its socket."""
    host: str = ""
    port: int = 0
    db: int = 0
    username: str | None = None
    password: Secret | None = None
    tls_files: tuple[tuple[str, Path], ...] = ()
    """redis-py's `ssl_ca_certs`, `ssl_certfile`, `ssl_keyfile`; with TLS only."""
    sentinels: tuple[tuple[str, int], ...] = ()
    """Host and port of each Sentinel; then `host` and `port` mean nothing."""
    nodes: tuple[tuple[str, int], ...] = ()
    """Host and port of some nodes of a Cluster; then `host` and `port` mean nothing."""
    master: str = ""
    """What the Sentinels call the master."""
    sentinel_username: str | None = None
    sentinel_password: Secret | None = None

    def reveal(self) -> str:
        """Return the URL with its password, as `redis.asyncio.from_url` reads it.

        That reads no URL of Sentinels or a Cluster; those are as the configuration has them.
        """
        if self.kind == "embedded":
            return f"embedded:{self.path}"
        secret = self.password.reveal() if self.password is not None else None
        query = [("db", str(self.db)), *((name, str(path)) for name, path in self.tls_files)]
        if self.kind == "unix":
            if secret is not None:
                query.append(("password", secret))
            user = f"{quote(self.username, safe='')}@" if self.username else ""
            return f"unix://{user}{quote(str(self.path))}?{urlencode(query, quote_via=quote)}"
        login = quote(self.username or "", safe="")
        if secret is not None:
            login += f":{quote(secret, safe='')}"
        at = f"{login}@" if login else ""
        if self.sentinel_username is not None:
            query.append(("sentinel_username", self.sentinel_username))
        if self.sentinel_password is not None:
            query.append(("sentinel_password", self.sentinel_password.reveal()))
        query_text = urlencode(query[1:], quote_via=quote)
        tail = f"?{query_text}" if query_text else ""
        return f"{self.kind}://{at}{self._places()}/{self.db}{tail}"

    def is_same_database(self, other: StoreUrl) -> bool:
        """Tell whether both name one database of one server, whoever logs in."""
        mine = (self.host, self.port, self.path, self.master, self.db)
        if mine != (other.host, other.port, other.path, other.master, other.db):
            return False
        ours, theirs = {*self.sentinels, *self.nodes}, {*other.sentinels, *other.nodes}
        return ours == theirs or not ours.isdisjoint(theirs)

    def __str__(self) -> str:
        if self.path is not None:
            return f"{self.kind}:{self.path}"
        return f"{self.kind}://{self._places()}/{self.db}"

    def _places(self) -> str:
        found = self.sentinels or self.nodes or ((self.host, self.port),)
        hosts = ",".join(f"{_bracketed(host)}:{port}" for host, port in found)
        return f"{hosts}/{self.master}" if self.sentinels else hosts


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
