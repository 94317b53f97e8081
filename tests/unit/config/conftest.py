"""What the configuration's tests share: a small file that is right, and a way to be told what is not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import dedent

import pytest

from proxy.config.loader import LoadedConfig, parse_config
from proxy.config.models import Config
from proxy.errors import ConfigErrors, Problem

GOOD = """\
upstreams:
  shop: {servers: ["http://127.0.0.1:9001"]}
schemes:
  web: {type: session, format: native}
routes:
  - {match: {path: /**}, auth: web, upstream: shop}
"""


class Reading:
    """Reads configurations given as text, with an environment of the test's own."""

    good = GOOD

    def __init__(self, base: Path) -> None:
        self.base = base

    def load(
        self, text: str | bytes, environment: Mapping[str, str] | None = None, **options: object
    ) -> LoadedConfig:
        """Return the configuration; the file's directory is the test's own."""
        raw = text.encode() if isinstance(text, str) else text
        return parse_config(
            raw, file="f.yaml", base=self.base, environment=environment or {}, **options
        )

    def config(self, text: str, environment: Mapping[str, str] | None = None) -> Config:
        """Return the models alone."""
        return self.load(dedent(text), environment).config

    def mistakes(
        self,
        text: str | bytes,
        environment: Mapping[str, str] | None = None,
        checks: list[Callable[[Config], list[Problem]]] | None = None,
    ) -> list[str]:
        """Return every mistake as `line:column: path: message`."""
        text = dedent(text) if isinstance(text, str) else text
        try:
            self.load(text, environment, checks=checks or [])
        except ConfigErrors as errors:
            return [str(error).removeprefix("f.yaml:") for error in errors.errors]
        return []

    def warnings(self, text: str) -> list[str]:
        """Return every warning as `path: message`."""
        return [f"{found.path}: {found.message}" for found in self.load(dedent(text)).warnings]


@pytest.fixture
def reading(tmp_path: Path) -> Reading:
    """Return a reader of configurations whose directory is empty."""
    return Reading(tmp_path)
