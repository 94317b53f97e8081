"""Loading a configuration with every check that there is, those of the upper layers included."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

from proxy.adapters.store.checks import check_stores
from proxy.config.loader import Check, LoadedConfig, load_config, parse_config
from proxy.config.models import Config
from proxy.errors import Problem
from proxy.run.messages import Boot
from proxy.services.compile_checks import compile_problems

CHECKS: Final[tuple[Check, ...]] = (compile_problems, check_stores)


def load(path: Path | Literal["-"], *, runs_tests: bool = True) -> LoadedConfig:
    """Read, check and compile the configuration at `path`, without binding or connecting.

    Its policy tests are run as well, unless a command says otherwise that has to work with what
    there is. Raises `ConfigErrors` with every mistake.
    """
    return load_config(path, checks=CHECKS, last_checks=[policy_problems] if runs_tests else [])


def reload_text(loaded: LoadedConfig) -> LoadedConfig:
    """Read the same text again, with the files that it names as they are now. Raises `ConfigErrors`."""
    return parse_config(
        loaded.text,
        file=loaded.file,
        base=loaded.base,
        checks=CHECKS,
        last_checks=[policy_problems],
    )


def policy_problems(config: Config) -> Iterator[Problem]:
    """Yield every policy test that does not come out as expected."""
    if config.tests:
        # A whole gate, which a file without tests does not need to be checked.
        from proxy.services.policy_tests import policy_problems as run  # noqa: PLC0415 - as above

        yield from run(config)


def load_booted(boot: Boot) -> LoadedConfig:
    """Read the configuration that the supervisor has checked. Raises `ConfigErrors`.

    Secrets are what they were then. Another file that it names may have changed since, so that it may
    have mistakes after all.
    """
    raw = boot.text.encode("utf-8", "surrogateescape")
    secrets = {path: held.encode("latin-1") for path, held in boot.secrets.items()}
    return parse_config(raw, file=boot.file, base=Path(boot.base), secrets=secrets)
