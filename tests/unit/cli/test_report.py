from __future__ import annotations

import io
import sys

import pytest
import typer

from proxy.adapters.store import StoreMisconfigured
from proxy.cli import report
from proxy.errors import (
    ConfigError,
    ConfigErrors,
    KeysUnavailable,
    SecretsError,
    StoreUnavailable,
    TokenExpired,
)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (StoreUnavailable("no answer"), 3),
        (StoreMisconfigured("mode 0755"), 2),
        (SecretsError("no key"), 2),
        (ValueError("no scheme"), 2),
        (TokenExpired("exp has passed"), 1),
        (KeysUnavailable(""), 1),
        (ConfigErrors([ConfigError("f", 1, 2, "p", "m")]), 2),
    ],
)
def test_errors_are_statuses_and_sentences(error, status, capsys):
    """reference.md §3: 1 refused, 2 configuration or usage, 3 store; never a traceback."""

    async def work() -> None:
        raise error

    with pytest.raises(typer.Exit) as ended:
        report.complete(work())
    assert status == ended.value.exit_code
    shown = capsys.readouterr().err
    assert "latchgate: " in shown
    assert "Traceback" not in shown


def test_a_bug_is_no_sentence():
    """What is no error of ours stays one, with its traceback."""

    async def work() -> None:
        raise RuntimeError("bug")

    with pytest.raises(RuntimeError):
        report.complete(work())


def test_a_result_cannot_move_the_cursor(capsys):
    """S15: control and bidi characters are escaped on the terminal too."""
    report.say("a\x1b[2J\u202e")
    report.say_table(["X"], [["b\x07[bold]c[/bold]"]])
    report.complain("d\n")
    shown = capsys.readouterr()
    assert "a\\x1b[2J\\u202e\n" in shown.out
    assert "b\\x07[bold]c[/bold]" in shown.out
    assert "d\\x0a\n" == shown.err


def test_claims_are_json_where_they_are_json():
    """Numbers, booleans and lists as such; everything else is a text."""
    pairs = ["a=1", "b=true", "c=[1]", "d=x=y", 'e="1"', "f="]
    assert {"a": 1, "b": True, "c": [1], "d": "x=y", "e": "1", "f": ""} == report.parse_claims(
        pairs
    )


@pytest.mark.parametrize("pair", ["a", "=x", ""])
def test_a_claim_without_name_or_value_is_refused(pair):
    """Usage: status 2."""
    with pytest.raises(typer.Exit):
        report.parse_claims([pair])


def test_credentials_come_from_files_and_standard_input_only(tmp_path, monkeypatch):
    """White space around them is not theirs."""
    (tmp_path / "c").write_bytes(b" secret\n")
    assert b"secret" == report.read_credential(f"@{tmp_path / 'c'}")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"typed\n")))
    assert b"typed" == report.read_credential("-")
    for text in ("secret", "", f"@{tmp_path / 'missing'}"):
        with pytest.raises(typer.Exit) as ended:
            report.read_credential(text)
        assert 2 == ended.value.exit_code


def test_times_are_for_people():
    """Nothing for no time."""
    assert "" == report.when(None)
    assert report.when(0.0).startswith(("1970-01-01", "1969-12-31"))
