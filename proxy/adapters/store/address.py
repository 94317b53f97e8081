"""Where a store is: the URL of the configuration, taken apart and checked.

No I/O. A password never shows in `repr` or in a message.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from proxy.errors import ProxyError

DEFAULT_PORT: Final = 6379
SOCKET_PATH_BYTES: Final = 107
"""What `sun_path` holds on Linux without its final NUL (unix(7)); macOS has room for 103."""

_TLS_FILES: Final = {"ca": "ca_file", "cert": "cert_file", "key": "key_file"}
_LATER: Final = ("redis+sentinel", "redis+cluster", "rediss+sentinel", "rediss+cluster")
_SCHEMES: Final = "embedded:, redis://, rediss:// or unix://"


class StoreMisconfigured(ProxyError):
    """The store cannot be used as configured; the text is for the operator (exit status 2)."""


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """One server that is reached over TCP, TLS or a unix socket."""

    host: str = ""
    port: int = DEFAULT_PORT
    socket_path: str = ""
    """Set for a unix socket; then host and port mean nothing."""
    database: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    is_tls: bool = False
    ca_file: str | None = None
    """PEM file of the authorities that sign the server's certificate; `None` is the system's."""
    cert_file: str | None = None
    """PEM file of a client certificate."""
    key_file: str | None = None

    def __str__(self) -> str:
        """Name the server for a log: no user, no password."""
        if self.socket_path:
            return f"unix://{self.socket_path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"redis{'s' if self.is_tls else ''}://{host}:{self.port}/{self.database}"

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` takes. It holds the password: for a private channel only."""
        return {
            "socket_path": self.socket_path,
            "username": self.username,
            "password": self.password,
            "database": self.database,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> StoreAddress:
        """Read an address of an embedded store. Raises `ValueError` for anything else."""
        path, username, password, database = (
            document.get(name) for name in ("socket_path", "username", "password", "database")
        )
        if not (isinstance(path, str) and path and isinstance(database, int)):
            raise ValueError("not the address of a store")
        if not (isinstance(username, str) and isinstance(password, str)):
            raise ValueError("not the credentials of a store")  # noqa: TRY004 - as for bad JSON
        return cls(socket_path=path, username=username, password=password, database=database)

    @classmethod
    def from_text(cls, text: str) -> StoreAddress:
        """Read what `json.dumps(to_json())` wrote. Raises `ValueError`."""
        document = json.loads(text)
        if not isinstance(document, dict):
            raise ValueError("not the address of a store")  # noqa: TRY004 - as for bad JSON
        return cls.from_json(document)


@dataclass(frozen=True, slots=True)
class EmbeddedAddress:
    """The private server that the gate runs itself."""

    directory: Path


def parse_store_url(url: str, *, base: Path | None = None) -> StoreAddress | EmbeddedAddress:
    """Take the `store.url` of a configuration apart; relative paths are relative to `base`.

    `embedded:DIR`, `redis://[user:password@]host[:port][/db]`, `rediss://` likewise with
    `?ca=FILE&cert=FILE&key=FILE`, `unix://[user:password@]/path[?db=N]`. Raises `ValueError`
    whose text has nothing of the URL but its scheme: the rest may be a password.
    """
    scheme, colon, rest = url.partition(":")
    scheme = scheme.lower()
    if not colon:
        raise ValueError(f"a store's URL begins with {_SCHEMES}")
    if scheme == "embedded":
        return EmbeddedAddress(_embedded_directory(rest, base))
    if scheme in _LATER:
        raise ValueError(f"{scheme}:// is not available in this version")
    if scheme not in ("redis", "rediss", "unix"):
        raise ValueError(f"a store's URL begins with {_SCHEMES}")
    parts = _split(url)
    options = _options(parts, ("db",) if scheme != "rediss" else ("db", *_TLS_FILES))
    database = _database(parts, options)
    username = unquote(parts.username) if parts.username else None
    password = unquote(parts.password) if parts.password else None
    if username and not password:
        raise ValueError("a store's URL with a user name needs a password too")
    if scheme == "unix":
        return StoreAddress(
            socket_path=_socket_path(parts, base),
            database=database,
            username=username,
            password=password,
        )
    if not parts.hostname:
        raise ValueError(f"a {scheme}:// URL needs a host")
    files = {
        _TLS_FILES[name]: str((base or Path()) / value)
        for name, value in options.items()
        if name in _TLS_FILES
    }
    if ("cert_file" in files) != ("key_file" in files):
        raise ValueError("a store's URL needs `cert` and `key` together")
    return StoreAddress(
        host=unquote(parts.hostname),
        port=_port(parts),
        database=database,
        username=username,
        password=password,
        is_tls=scheme == "rediss",
        **files,
    )


def check_socket_path(path: str) -> None:
    """Raise `ValueError` when no unix socket can have this path."""
    size = len(os.fsencode(path))
    if size > SOCKET_PATH_BYTES:
        raise ValueError(
            f"the socket's path has {size} bytes, but a unix socket's has at most"
            f" {SOCKET_PATH_BYTES}"
        )


def _embedded_directory(rest: str, base: Path | None) -> Path:
    path = rest.removeprefix("//")
    if not path or "\0" in path or "?" in path:
        raise ValueError("embedded: needs the path of a directory, and takes no options")
    return (base or Path()) / path


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.hostname, parts.port
    except ValueError:
        # urllib's text would quote the URL, and with it the password.
        raise ValueError("the store's URL is not a valid URL") from None
    if parts.fragment:
        raise ValueError("a store's URL has no fragment; write # in a password as %23")
    return parts


def _options(parts: SplitResult, known: tuple[str, ...]) -> dict[str, str]:
    options: dict[str, str] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in known:
            # Not named: behind an unescaped `?` of a password it would be the rest of it.
            raise ValueError(f"the store's URL has an unknown option; known: {', '.join(known)}")
        if name in options or not value:
            raise ValueError(f"the store's URL has option {name} twice or without a value")
        options[name] = value
    return options


def _database(parts: SplitResult, options: Mapping[str, str]) -> int:
    path = parts.path.strip("/") if parts.scheme != "unix" else ""
    if path and "db" in options:
        raise ValueError("the store's URL names its database twice")
    text = options.get("db") or path or "0"
    if not (text.isascii() and text.isdigit() and len(text) <= 5):
        raise ValueError("the store's URL names a database that is not a number")
    return int(text)


def _port(parts: SplitResult) -> int:
    if parts.port is None:
        return DEFAULT_PORT
    if parts.port == 0:
        raise ValueError("the store's URL has port 0")
    return parts.port


def _socket_path(parts: SplitResult, base: Path | None) -> str:
    if parts.hostname:
        raise ValueError("a unix:// URL has three slashes: unix:///run/redis.sock")
    path = unquote(parts.path)
    if not path or path == "/" or "\0" in path:
        raise ValueError("a unix:// URL needs the path of a socket")
    path = str((base or Path()) / path)
    check_socket_path(path)
    return path
