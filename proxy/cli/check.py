"""`latchgate check`: everything that can be known about a configuration without running it."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from proxy.cli import report
from proxy.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, config_path
from proxy.config.loader import LoadedConfig
from proxy.errors import ConfigError, ConfigErrors
from proxy.run.announce import public_lines
from proxy.run.loading import load
from proxy.services.report_mode import report_states

if TYPE_CHECKING:
    from proxy.cli.connecting import Finding


def check(
    connect: Annotated[
        bool, typer.Option("--connect", help="Also try stores, key providers and upstreams.")
    ] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Check the configuration and run its tests; status 2 for mistakes. Says first what is public."""
    try:
        loaded = load(config_path(config))
    except ConfigErrors as errors:
        if not as_json:
            report.fail_config(errors)
        report.say_json({"valid": False, "errors": [_plain(error) for error in errors.errors]})
        raise typer.Exit(report.EXIT_USAGE) from None
    findings = _connect(loaded) if connect else []
    if as_json:
        report.say_json(_summary(loaded, findings))
    else:
        _say(loaded, findings)
    failed = [finding for finding in findings if not finding.is_good]
    if failed:
        is_store = any(finding.kind == "store" for finding in failed)
        raise typer.Exit(report.EXIT_STORE if is_store else report.EXIT_REFUSED)


def _connect(loaded: LoadedConfig) -> list[Finding]:
    # Whoever tries nothing needs nothing of what asks others.
    from proxy.cli.connecting import connect_all  # noqa: PLC0415 - as above

    return report.complete(connect_all(loaded.config))


def _say(loaded: LoadedConfig, findings: list[Finding]) -> None:
    for line in public_lines(loaded.config):
        report.say(line)
    for state in report_states(loaded.config, time.time()):
        speak = report.complain if state.is_urgent else report.say
        speak(f"warning: {state}" if state.is_urgent else str(state))
    for warning in loaded.warnings:
        report.complain(_warning(warning))
    for finding in findings:
        mark = "ok      " if finding.is_good else "FAILED  "
        report.say(f"{mark}{finding.kind} {finding.name}: {finding.text}")
    settings = loaded.config
    counts = [
        _count(len(settings.routes), "route"),
        _count(len(settings.schemes), "scheme"),
        _count(len(settings.upstreams), "upstream"),
        _count(len(loaded.warnings), "warning"),
    ]
    if settings.tests:
        counts.append(f"{_count(len(settings.tests), 'test')} passed")
    failed = sum(not finding.is_good for finding in findings)
    verdict = f"good, but {_count(failed, 'connection')} failed" if failed else "good"
    report.say(f"{loaded.file}: {verdict} ({', '.join(counts)})")


def _summary(loaded: LoadedConfig, findings: list[Finding]) -> dict[str, Any]:
    return {
        "valid": True,
        "public": [route.name for route in loaded.config.routes if not route.auth],
        "report": [state.to_json() for state in report_states(loaded.config, time.time())],
        "warnings": [_plain(warning) for warning in loaded.warnings],
        "errors": [],
        "connections": [asdict(finding) for finding in findings],
    }


def _plain(error: ConfigError) -> dict[str, Any]:
    return {
        "file": error.file,
        "line": error.line,
        "column": error.column,
        "path": error.path,
        "message": error.message,
    }


def _warning(error: ConfigError) -> str:
    place = f"{error.file}:{error.line}:{error.column}: {error.path}"
    return f"{place}: warning: {error.message}"


def _count(number: int, noun: str) -> str:
    return f"1 {noun}" if number == 1 else f"{number} {noun}s"
