"""From a file to a `Config`, or to every mistake in it with line and column.

All mistakes are found at once: what is wrong is cut off the tree, the rest is validated again until
it fits, and then the checks look at what is left. A mistake that only follows from a cut is no
mistake of its own.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from proxy.config import document
from proxy.config.checks import CHECKS, dangling
from proxy.config.completion import complete
from proxy.config.document import MAX_BYTES, MappingNode, Position, read_document
from proxy.config.messages import KEY_MARK, describe, meant_key, show_path, unknown_key
from proxy.config.models import Config
from proxy.config.outline import is_optional
from proxy.config.secret import SECRET_FILES
from proxy.config.survey import Survey
from proxy.config.tree import SourceMap, Tree
from proxy.config.values import BASE
from proxy.errors import ConfigError, ConfigErrors, Problem

Check = Callable[[Config], Iterable[Problem]]
"""Looks at a valid configuration; paths of its problems are keys and indexes from the root."""

STANDARD_INPUT: Final = "-"
_SHORTEST_SCRUBBED: Final = 4
"""Characters; shorter values of the environment are words of everyday life."""


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A configuration without mistakes, and where its parts stand in the file."""

    config: Config
    file: str
    """As it is shown in messages."""
    base: Path
    """The directory that relative paths start from."""
    source_map: SourceMap
    warnings: tuple[ConfigError, ...]
    text: bytes = field(repr=False)
    """The file as it was read; may hold secrets."""
    secrets: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """What the files of its secrets held, by path."""

    def located(self, problem: Problem) -> ConfigError:
        """Return `problem`, found later, with its place in the file."""
        line, column = self.source_map.position(problem.path)
        path = show_path(problem.path)
        return ConfigError(self.file, line, column, path, problem.message, problem.is_warning)


def load_config(
    path: Path | Literal["-"],
    *,
    checks: Sequence[Check] = (),
    last_checks: Sequence[Check] = (),
    environment: Mapping[str, str] | None = None,
) -> LoadedConfig:
    """Read the configuration at `path` (`-`: standard input); see `parse_config`.

    Raises `ConfigErrors` also where the file cannot be read.
    """
    raw, file, base = _source(path)
    return parse_config(
        raw,
        file=file,
        base=base,
        checks=checks,
        last_checks=last_checks,
        environment=environment,
    )


def salvage_config(path: Path | Literal["-"]) -> tuple[Config | None, list[ConfigError]]:
    """Return what is left of the configuration at `path` without its mistakes, and the mistakes.

    For who looks for one thing in it, and has seen that no mistake is there. Never to be served:
    a route without what was wrong in it is another route. Raises `ConfigErrors` as `load_config`
    where the file cannot be read.
    """
    raw, file, base = _source(path)
    reading = _Reading(file, base, read_document(raw, os.environ))
    return reading.read((), ()), _in_order(reading.errors)


def _source(path: Path | Literal["-"]) -> tuple[bytes, str, Path]:
    """Return a file's text, its name for messages, and where its relative paths start."""
    if path == STANDARD_INPUT:
        return sys.stdin.buffer.read(MAX_BYTES + 1), "<stdin>", Path.cwd()
    file = str(path)
    try:
        with Path(path).open("rb") as stream:
            return stream.read(MAX_BYTES + 1), file, Path(path).absolute().parent
    except OSError as error:
        reason = f"the file cannot be read: {error.strerror}"
        if isinstance(error, FileNotFoundError):
            reason += "; `latchgate init` writes one"
        raise ConfigErrors([ConfigError(file, 1, 1, show_path(()), reason)]) from None


def parse_config(
    raw: bytes,
    *,
    file: str,
    base: Path,
    checks: Sequence[Check] = (),
    last_checks: Sequence[Check] = (),
    environment: Mapping[str, str] | None = None,
    secrets: Mapping[str, bytes] | None = None,
) -> LoadedConfig:
    """Return the configuration that `raw` says; `base` is where relative paths start.

    `secrets`: what files of secrets held when this text was read before; they are not read again.

    `checks` look at it after the checks of this package, `last_checks` only if there is no mistake
    so far. Raises `ConfigErrors` with all mistakes,
    in the order of the file; no message repeats a value that came from the environment.
    """
    found = read_document(raw, os.environ if environment is None else environment)
    reading = _Reading(file, base, found, secrets)
    config = reading.read(checks, last_checks)
    if config is None or reading.errors:
        raise ConfigErrors(_in_order(reading.errors))
    assert reading.tree is not None  # noqa: S101 - a document without root has an error
    return LoadedConfig(
        config,
        file,
        base,
        reading.tree.source_map,
        tuple(_in_order(reading.warnings)),
        raw,
        reading.secrets,
    )


class _Reading:
    """One document on its way to a configuration; collects what is wrong with it."""

    def __init__(
        self,
        file: str,
        base: Path,
        found: document.Document,
        secrets: Mapping[str, bytes] | None = None,
    ) -> None:
        self.secrets = dict(secrets or {})
        self.errors: list[ConfigError] = []
        self.warnings: list[ConfigError] = []
        self.tree: Tree | None = None
        self._file = file
        self._base = base
        self._scrubbed = {
            value: shown
            for value, shown in sorted(found.replaced.items(), key=lambda item: -len(item[0]))
            if len(value) >= _SHORTEST_SCRUBBED
        }
        self._seen: set[tuple[Position, document.Path, str]] = set()
        self._wrong: set[document.Path] = set()
        for mistake in found.mistakes:
            self._report(mistake.position, mistake.path, mistake.message)
        if isinstance(found.root, MappingNode):
            self.tree = Tree(found.root)
        elif found.root is not None and not found.mistakes:
            self._report(found.root.position, (), "a configuration is a mapping of keys")

    def read(self, checks: Sequence[Check], last_checks: Sequence[Check]) -> Config | None:
        """Validate, complete and check; `None` where nothing can be made of the document."""
        if self.tree is None:
            return None
        config = self._validated(self.tree)
        if config is None:
            return None
        survey = Survey(config, self.tree)
        before = set(self._wrong)
        for check in CHECKS:
            for problem in check(survey):
                self._take(self.tree, problem)
        config = self._without_gaps(self.tree, survey, self._wrong - before)
        if config is not None:
            self._run(self.tree, config, checks)
            if not self.errors:
                self._run(self.tree, config, last_checks)
        return config

    def _validated(self, tree: Tree) -> Config | None:
        """Cut until the rest is valid, and report every mistake that is one by itself."""
        while (plain := tree.plain()) is not None:
            before = tree.cuts
            try:
                context = {BASE: self._base, SECRET_FILES: self.secrets}
                config = Config.model_validate(plain, context=context, by_alias=True, by_name=False)
            except ValidationError as error:
                self._cut_all(tree, error.errors())
                if tree.cuts == before:
                    raise AssertionError("a mistake is nowhere in the file") from None
            else:
                return complete(config, self._base)
        return None

    def _cut_all(self, tree: Tree, items: list[ErrorDetails]) -> None:
        """Report what is wrong, then cut it: a cut changes the numbers of the items behind it."""
        mistakes = [(item, *_place(tree, item)) for item in items]
        unknown = [path for item, path, _ in mistakes if item["type"] == "extra_forbidden"]
        others = [mistake for mistake in mistakes if mistake[0]["type"] != "extra_forbidden"]
        for path in unknown:
            position = tree.source_map.position(path, is_key=True)
            self._report(position, path, unknown_key(path, tree.root))
            # A misspelt key is not also a missing one.
            meant = meant_key(path, tree.root)
            tree.drop(path, (*path[:-1], meant) if meant is not None else None)
        for item, path, is_key in others:
            if tree.is_whole(path):
                position = tree.source_map.position(path, is_key=is_key)
                self._report(position, path, describe(item))
        for item, path, _ in others:
            tree.cut(path[:-1] if item["type"] == "missing" else path)

    def _without_gaps(self, tree: Tree, survey: Survey, wrong: set[document.Path]) -> Config | None:
        """Cut the routes that lean on what is not there, so that `checks` need not expect gaps."""
        paths = [tree.original(path) for path in dangling(survey)]
        # What is wrong in a route and can be left out would only be found a second time.
        paths += [path for path in wrong if path[0] == "routes" and is_optional(tree.root, path)]
        if not paths:
            return survey.config
        for path in paths:
            tree.cut(path)
        return self._validated(tree)

    def _run(self, tree: Tree, config: Config, checks: Sequence[Check]) -> None:
        for check in checks:
            try:
                for problem in check(config):
                    self._take(tree, problem, is_second=True)
            except Exception:
                # What compiles a configuration may stumble over mistakes that are reported here.
                if not self.errors:
                    raise

    def _take(self, tree: Tree, problem: Problem, *, is_second: bool = False) -> None:
        """Report what a check says; a second opinion on one place is left out."""
        path = tree.original(problem.path)
        if not tree.is_cut(path) and not (is_second and self._is_known(path)):
            position = tree.source_map.position(path)
            self._report(position, path, problem.message, is_warning=problem.is_warning)

    def _is_known(self, path: document.Path) -> bool:
        """Tell whether a mistake at `path` is one that was reported in greater detail before."""
        if path[:1] == ("routes",):
            return path in self._wrong
        if path[:1] == ("schemes",) and path[2:3] != ("identity",):
            # Keys, algorithms and issuer are one thing to whoever compiles a scheme.
            return any(
                known[:2] == path[:2] and known[2:3] != ("identity",) for known in self._wrong
            )
        return any(known[: len(path)] == path for known in self._wrong)

    def _report(
        self, position: Position, path: document.Path, message: str, *, is_warning: bool = False
    ) -> None:
        for value, shown in self._scrubbed.items():
            message = message.replace(value, shown)
        # An alias has one mistake, however often it is used.
        mistake = (position, path[-1:], message)
        if mistake in self._seen:
            return
        self._seen.add(mistake)
        if not is_warning:
            self._wrong.add(path)
        found = ConfigError(
            self._file, position.line, position.column, show_path(path), message, is_warning
        )
        (self.warnings if is_warning else self.errors).append(found)


def _place(tree: Tree, item: ErrorDetails) -> tuple[document.Path, bool]:
    """Return the file's path of one of pydantic's errors, and whether the key itself is meant."""
    location = item["loc"]
    is_key = location[-1:] == (KEY_MARK,)
    return tree.original(location[:-1] if is_key else location), is_key


def _in_order(errors: list[ConfigError]) -> list[ConfigError]:
    return sorted(errors, key=lambda error: (error.line, error.column))
