from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from proxy import __version__
from proxy.cli.app import PLACES, SECTIONS, app
from proxy.config.schema import json_schema

ROOT = Path(__file__).parents[3]


def test_every_command_of_the_reference_that_is_due_is_there():
    """reference.md §3, as far as this version goes; each explains itself."""
    shown = CliRunner().invoke(app, ["--help"]).stdout
    for command in ("serve", "check", "schema", "session", "token", "health"):
        assert f"  {command} " in shown
        assert 0 == CliRunner().invoke(app, [command, "--help"]).exit_code


def test_help_lists_every_command_once_in_sections_and_whole():
    """In the order in which they are needed; no line of it is cut off."""
    shown = CliRunner().invoke(app, ["--help"]).stdout
    _, *sections = shown.split("\n\n")
    titles = [title for part in sections for title in SECTIONS if part.startswith(f"{title}:")]
    listed = [line.split()[0] for part in sections for line in part.splitlines()[1:]
              if line.startswith("  ") and not line.startswith("  --")]  # fmt: skip
    expected = [name for names in SECTIONS.values() for name in names]

    assert list(SECTIONS) == titles
    assert expected == [name for name in listed if name in expected]
    assert {*expected} == {*typer.main.get_command(app).commands}
    assert "..." not in shown.partition("\n\nOptions")[2]


@pytest.mark.parametrize("name", PLACES)
def test_every_command_is_where_it_is_looked_for(name):
    """Each can be imported, by the name that it was called by; a group says of itself what help does."""
    command = typer.main.get_command(app).commands[name]

    assert name == command.name
    assert not hasattr(command, "commands") or command.help == PLACES[name].line


def test_a_mistyped_command_is_guessed():
    """Whoever mistypes one is told which it may have been, without any being imported."""
    result = CliRunner().invoke(app, ["chek"])

    assert 2 == result.exit_code
    assert "Did you mean 'check'" in result.stderr


def test_help_imports_no_command():
    """What help and `--version` import is little: they answer at once."""
    program = (
        "import sys; from proxy.cli.app import main; sys.argv[1:] = ['--help']\n"
        "try: main()\n"
        "finally: print(*sys.modules, file=sys.stderr)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    imported = set(run.stderr.split())

    assert "Usage:" in run.stdout
    assert not imported & {"aiohttp", "pydantic", "redis", "rich", "proxy.config", "proxy.services"}


def test_the_schema_is_printed():
    """`schema` prints what `config/` ships."""
    result = CliRunner().invoke(app, ["schema"])
    assert json_schema() == json.loads(result.stdout)


def test_the_version_is_told():
    """`--version` needs no configuration."""
    assert f"latchgate {__version__}\n" == CliRunner().invoke(app, ["--version"]).stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["check", "--nonsense"],
        ["session"],
        ["token", "mint"],
        ["demo", "--port", "70000"],
        ["demo", "--port", "0"],
    ],
)
def test_wrong_usage_is_status_2(arguments):
    """reference.md §3: 2 is configuration or usage."""
    assert 2 == CliRunner().invoke(app, arguments).exit_code


@pytest.mark.parametrize(
    "arguments",
    [
        ["serve"],
        ["check"],
        ["health"],
        ["session", "list"],
        ["session", "revoke", "--all"],
        ["token", "mint", "--subject", "s"],
        ["token", "revoke", "--all"],
    ],
)
def test_a_configuration_that_is_not_there_is_status_2(latchgate, arguments):
    """Every command says which file it wanted."""
    result = latchgate.run(*arguments)
    assert 2 == result.exit_code
    assert f"{latchgate.file}:1:1: (document): the file cannot be read" in result.stderr


def test_the_configuration_may_come_from_the_environment_or_standard_input(
    latchgate, monkeypatch, tmp_path
):
    """LATCHGATE_CONFIG, `-`, and latchgate.yaml where nothing is said."""
    monkeypatch.chdir(tmp_path)
    text = 'upstreams: {app: {servers: ["http://127.0.0.1:1"]}}\n'
    runner = CliRunner()
    assert 0 == runner.invoke(app, ["check", "-c", "-"], input=text).exit_code
    assert 2 == runner.invoke(app, ["check"]).exit_code
    latchgate.write(text)
    assert 0 == runner.invoke(app, ["check"]).exit_code
    latchgate.file.rename(tmp_path / "other.yaml")
    monkeypatch.setenv("LATCHGATE_CONFIG", str(tmp_path / "other.yaml"))
    assert 0 == runner.invoke(app, ["check"]).exit_code


def test_serve_refuses_root_where_the_image_says_so(latchgate, monkeypatch):
    """Before the configuration is read: status 2, and the reason."""
    monkeypatch.setenv("LATCHGATE_REFUSE_ROOT", "1")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    result = latchgate.run("serve")
    assert 2 == result.exit_code
    assert result.stderr.startswith("latchgate: refuses to run as root (LATCHGATE_REFUSE_ROOT")


@pytest.mark.parametrize("module", ["proxy.cli.check", "proxy.cli.serve", "proxy.cli.health"])
def test_what_speaks_no_http_itself_imports_none(module):
    """Neither `check` nor a gate's first process imports aiohttp and what decides, as workers do."""
    program = f"import sys, {module}; print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    imported = set(run.stdout.split())

    assert not imported & {"aiohttp", "jinja2", "rich", "prometheus_client"}
    assert not imported & {"proxy.services.assembly", "proxy.services.runtime"}
