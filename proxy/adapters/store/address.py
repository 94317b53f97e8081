"""Where a store is, with everything that a connection to it needs.

No I/O. A password never shows in `repr` or in a message.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from proxy.config.store_url import StoreUrl
from proxy.errors import ProxyError

DEFAULT_PORT: Final = 6379
SOCKET_PATH_BYTES: Final = 107
"""What `sun_path` holds on Linux without its final NUL (unix(7)); macOS has room for 103."""

_TLS_FILES: Final = {
    "ssl_ca_certs": "ca_file",
    "ssl_certfile": "cert_file",
    "ssl_keyfile": "key_file",
}


class StoreMisconfigured(ProxyError):
    """The store cannot be used as configured; the text is for the operator (exit status 2)."""


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """One server that is reached over TCP, TLS or a unix socket, or whichever is the master."""

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
    sentinels: tuple[tuple[str, int], ...] = ()
    """Set where Sentinels say which server it is; then host and port mean nothing."""
    nodes: tuple[tuple[str, int], ...] = ()
    """Set for a Cluster: some of its nodes; then host and port mean nothing."""
    master_name: str = ""
    """What the Sentinels call it."""
    sentinel_username: str | None = None
    """With which the Sentinels are asked; the other one is for the master."""
    sentinel_password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        """Name the server for a log: no user, no password."""
        if self.socket_path:
            return f"unix://{self.socket_path}"
        scheme = f"redis{'s' if self.is_tls else ''}"
        if self.sentinels:
            hosts = ",".join(_place(*one) for one in self.sentinels)
            return f"{scheme}+sentinel://{hosts}/{self.master_name}/{self.database}"
        if self.nodes:
            return f"{scheme}+cluster://{','.join(_place(*one) for one in self.nodes)}"
        return f"{scheme}://{_place(self.host, self.port)}/{self.database}"

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


def address_of(url: StoreUrl) -> StoreAddress:
    """Return the address that a configured URL names.

    Raises `StoreMisconfigured` for a socket path that no socket can have, and `ValueError` for
    `embedded:`, whose address is that of the running server.
    """
    if url.kind == "embedded":
        raise ValueError("the address of an embedded store comes from its supervisor")
    password = url.password.reveal() if url.password is not None else None
    if url.kind == "unix":
        path = str(url.path)
        if len(os.fsencode(path)) > SOCKET_PATH_BYTES:
            raise StoreMisconfigured(
                f"the path of the store's socket is longer than {SOCKET_PATH_BYTES} bytes,"
                " which no unix socket can have"
            )
        return StoreAddress(
            socket_path=path, database=url.db, username=url.username, password=password
        )
    files = {_TLS_FILES[name]: str(path) for name, path in url.tls_files}
    return StoreAddress(
        host=url.host,
        port=url.port,
        database=url.db,
        username=url.username,
        password=password,
        is_tls=url.kind.startswith("rediss"),
        sentinels=url.sentinels,
        nodes=url.nodes,
        master_name=url.master,
        sentinel_username=url.sentinel_username,
        sentinel_password=sentinel.reveal() if (sentinel := url.sentinel_password) else None,
        **files,
    )


def _place(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
