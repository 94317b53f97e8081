"""Commands to paste: how the person at the terminal calls us, and how curl reaches the gate."""

from __future__ import annotations

import contextlib
import ipaddress
import shlex
import shutil
import sys
from pathlib import Path

from proxy.config.addresses import Address


def shown_program() -> str:
    """Return how the person at the terminal calls us, quoted for a shell."""
    program = Path(sys.argv[0]).absolute()
    if program.name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m proxy"
    on_path = shutil.which(program.name)
    if on_path is not None and Path(on_path).absolute() == program:
        return program.name
    with contextlib.suppress(ValueError):
        return shlex.quote(str(program.relative_to(Path.cwd())))
    return shlex.quote(str(program))


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
