"""Loading a configuration with every check that there is, those of the upper layers included."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

from proxy.adapters.store.checks import check_stores
from proxy.config.loader import Check, LoadedConfig, load_config, parse_config
from proxy.config.models import Config
from proxy.edge.tls import server_context
from proxy.errors import Problem
from proxy.run.messages import Boot
from proxy.services.compile import compile_problems


def check_listeners(config: Config) -> Iterator[Problem]:
    """Find what is wrong with the listeners' TLS files; opens nothing else."""
    tls = config.server.tls
    if tls is not None:
        try:
            server_context(tls.cert, tls.key, tls.client_ca)
        except (OSError, ssl.SSLError) as error:
            reason = error.strerror or type(error).__name__
            yield Problem(("server", "tls"), f"cannot be used: {reason}")
    listeners = [*config.server.listen, *([config.health.listen] if config.health else [])]
    for index, address in enumerate(listeners):
        if address in listeners[:index] and (address.port or address.is_unix):
            is_health = index == len(config.server.listen)
            place = ("health", "listen") if is_health else ("server", "listen", index)
            yield Problem(place, f"{address} is listened on twice")


CHECKS: Final[tuple[Check, ...]] = (compile_problems, check_stores, check_listeners)


def load(path: Path | Literal["-"]) -> LoadedConfig:
    """Read, check and compile the configuration at `path`, without binding or connecting.

    Raises `ConfigErrors` with every mistake.
    """
    return load_config(path, checks=CHECKS)


def load_booted(boot: Boot) -> LoadedConfig:
    """Read the configuration that the supervisor has checked. Raises `ConfigErrors`.

    A file that it names may have changed since, so that it may have mistakes after all.
    """
    raw = boot.text.encode("utf-8", "surrogateescape")
    return parse_config(raw, file=boot.file, base=Path(boot.base))
