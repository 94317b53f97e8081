"""Commands to paste: how the person at the terminal calls us, and how curl reaches the gate."""

from __future__ import annotations

import contextlib
import ipaddress
import shlex
import shutil
import sys
from pathlib import Path
from typing import Final

from proxy.config.addresses import Address

_MODULE: Final = f"{shlex.quote(sys.executable)} -P -m proxy"
"""As a module. `-P`: the directory where the command is pasted may be anybody's."""


def shown_program() -> str:
    """Return how the person at the terminal calls us, quoted for a shell."""
    program = Path(sys.argv[0]).absolute()
    if program.name == "__main__.py":
        return _MODULE
    on_path = shutil.which(program.name)
    if on_path is not None and Path(on_path).absolute() == program:
        return program.name
    with contextlib.suppress(ValueError):
        return shlex.quote(str(program.relative_to(Path.cwd())))
    return shlex.quote(str(program))


def program_anywhere() -> str:
    """Return how another terminal calls us, whatever its directory and PATH; quoted for a shell."""
    program = Path(sys.argv[0]).absolute()
    return _MODULE if program.name == "__main__.py" else shlex.quote(str(program))


def reachable(host: str) -> str:
    """Return where a listener on `host` answers: every address includes loopback."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if address.version == 4 else "::1"


def url_of(address: Address) -> str:
    """Return the URL of a listener as this machine reaches it; a unix socket has none of its own."""
    if address.is_unix:
        return "http://localhost"
    return f"http://{Address(reachable(address.host), address.port)}"


def curl(address: Address, path: str = "/", *, header: str | None = None) -> str:
    """Return a curl command; `header` is quoted by the caller, who may want the shell to fill it."""
    parts = ["curl", "-i"]
    if address.path is not None:
        parts += ["--unix-socket", shlex.quote(str(address.path))]
    if header is not None:
        parts += ["-H", header]
    return " ".join([*parts, shlex.quote(url_of(address) + path)])
