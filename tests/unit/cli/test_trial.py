from __future__ import annotations

import pytest
from typer.testing import CliRunner

from proxy.cli.app import app


def serve(*arguments: str, status: int = 0, **options):
    result = CliRunner().invoke(app, ["serve", *arguments], **options)
    assert status == result.exit_code, result.output
    return result


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--upstream", "http://a", "--config", "x.yaml"), "not with --config"),
        (("--upstream", "http://a", "-c", "latchgate.yaml"), "not with --config"),
        (("--listen", "127.0.0.1:1"), "--listen goes with --upstream"),
        (("--print-config",), "--print-config goes with --upstream"),
        (("--upstream", "nonsense"), "--upstream: must be http://"),
        (("--upstream", "http://a", "--listen", "a"), "--listen: must be host:port"),
        (("--upstream", "http://127.0.0.1:8080"), "is a listener of this gate itself"),
    ],
)
def test_what_makes_no_sense_is_status_2(arguments, complaint):
    """A file and an application exclude each other; each option is checked before anything starts."""
    assert complaint in serve(*arguments, status=2).stderr


def test_the_printed_configuration_is_one_to_go_on_from():
    """`check` accepts it; all it says is that the cookie is for this machine."""
    text = serve("--upstream", "localhost:3000", "--print-config").stdout
    checked = CliRunner().invoke(app, ["check", "-c", "-"], input=text)
    assert 0 == checked.exit_code
    assert "no route is public" in checked.stdout
    assert 1 == checked.stderr.count("warning")
    assert "__Host-" in checked.stderr


def test_the_environment_names_no_file_here():
    """LATCHGATE_CONFIG is often set for good; an explicit --upstream is meant."""
    environment = {"LATCHGATE_CONFIG": "/nowhere.yaml"}
    serve("--upstream", "http://a", "--print-config", env=environment)
