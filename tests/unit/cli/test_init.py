from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from proxy.cli.app import app

UPSTREAM = ("--upstream", "http://127.0.0.1:3000")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Be in an empty directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def init(*arguments: str, status: int = 0):
    result = CliRunner().invoke(app, ["init", *arguments])
    assert status == result.exit_code, result.output
    return result


def left(directory):
    return sorted(path.name for path in directory.iterdir())


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--auth", "session", "--public", "/static/**", "--public", "/healthz"),
        ("--auth", "token", "--issuer", "https://id.example.com/", "--audience", "shop"),
        ("--issuer", "https://id.example.com/", "--audience", "shop", "--name", "shop"),
        ("--auth", "token", "--listen", "0.0.0.0:9000"),
        ("--auth", "either", "--issuer", "local", "--audience", "shop"),
    ],
)
def test_what_it_writes_check_accepts_without_warnings(here, options):
    """From options alone, without a question."""
    shown = init(*UPSTREAM, *options).stdout
    assert shown.startswith("Wrote latchgate.yaml.")
    checked = CliRunner().invoke(app, ["check"])
    assert (0, "") == (checked.exit_code, checked.stderr)
    assert ", 0 warnings)" in checked.stdout
    assert ["latchgate.yaml"] == left(here)


@pytest.mark.parametrize("auth", ["session", "either"])
def test_with_login_people_sign_in_once_somebody_is_added(here, auth):
    """The section is there, the first command adds somebody, and nothing is warned of after it."""
    told = json.loads(init(*UPSTREAM, "--auth", auth, "--login", "--json").stdout)
    before = CliRunner().invoke(app, ["check"])
    added = CliRunner().invoke(
        app, ["user", "add", "ada", "--password", "-"], input="correct horse"
    )
    after = CliRunner().invoke(app, ["check"])

    assert told["next"][0].endswith("user add ada")
    assert any(line.endswith("/_auth/login") for line in told["next"])
    assert "latchgate user add" in before.stderr
    assert 0 == added.exit_code
    assert (0, "") == (after.exit_code, after.stderr)
    assert ["latchgate.yaml", "users.yaml"] == left(here)


def test_without_login_the_file_says_how_to_have_it(here):
    """As a comment where there are sessions, and not a word where there are none."""
    either = init(*UPSTREAM, "-o", "-").stdout
    uncommented = either.replace("# login: {", "login: {")

    assert 0 == CliRunner().invoke(app, ["check", "-c", "-"], input=uncommented).exit_code
    assert uncommented != either
    assert "login" not in init(*UPSTREAM, "--auth", "token", "-o", "-").stdout


def test_without_a_terminal_it_names_its_options(here):
    """A script that gives nothing is told what to give, and gets no file."""
    complaint = init("--auth", "session", status=2).stderr
    for option in (
        "--upstream",
        "--auth",
        "--issuer",
        "--audience",
        "--public",
        "--login",
        "--listen",
    ):
        assert option in complaint
    assert [] == left(here)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--upstream", "ftp://a"), "--upstream: must start with http://"),
        (("--upstream", "http://a/b"), "--upstream: a server has no path"),
        ((*UPSTREAM, "--name", "a b"), "--name: must be a name"),
        ((*UPSTREAM, "--listen", "a"), "--listen: must be host:port"),
        ((*UPSTREAM, "--listen", "127.0.0.1:3000"), "--listen: is a listener of this gate itself"),
        ((*UPSTREAM, "--public", "static"), "--public: a path starts with /"),
        ((*UPSTREAM, "--public", "/**"), "--public: "),
        ((*UPSTREAM, "--issuer", "http://a.example"), "--issuer: must be https://"),
        ((*UPSTREAM, "--issuer", "https://a.example"), "--issuer needs --audience"),
        ((*UPSTREAM, "--auth", "session", "--issuer", "https://a.example"), "--issuer is about"),
        ((*UPSTREAM, "--auth", "token", "--login"), "--login is about sessions"),
        ((*UPSTREAM, "--auth", "nobody"), "--auth: must be session, token or either\n"),
        ((*UPSTREAM, "--auth", "sesion"), "or either; did you mean `session`?"),
        ((*UPSTREAM, "--listen", "8080"), "--listen: must be host:port, such as 127.0.0.1:8080"),
        ((*UPSTREAM, "--listen", ":8080"), "--listen: must be host:port, such as 127.0.0.1:8080"),
        ((*UPSTREAM, "--issuer", "notaurl"), "--issuer: must be local, for the gate's own"),
    ],
)
def test_a_bad_option_is_status_2_and_writes_nothing(here, options, complaint):
    """The option is named, and why its value is no good."""
    assert complaint in init(*options, status=2).stderr
    assert [] == left(here)


def test_an_existing_file_stays_unless_forced(here):
    """Also one that is no configuration at all."""
    (here / "latchgate.yaml").write_text("mine")
    assert "--force" in init(*UPSTREAM, status=2).stderr
    assert "mine" == (here / "latchgate.yaml").read_text()
    init(*UPSTREAM, "--force")
    assert "http://127.0.0.1:3000" in (here / "latchgate.yaml").read_text()


def test_another_place_is_named_in_the_next_commands(here):
    """With `-c` and quotes, and relative paths from where the person is."""
    (here / "my files").mkdir()
    shown = init("--upstream", "unix:app.sock", "--output", "my files/a.yaml").stdout
    assert "serve -c 'my files/a.yaml'\n" in shown
    assert f"unix:{here}/app.sock" in (here / "my files" / "a.yaml").read_text()
    assert "there is no such" not in shown
    complaint = init(*UPSTREAM, "--output", "nowhere/a.yaml", status=2).stderr
    assert "nowhere/a.yaml: No such file or directory" in complaint


def test_standard_output_takes_the_text_alone(here):
    """`-o -` writes no file, and its output is a configuration."""
    text = init(*UPSTREAM, "-o", "-").stdout
    assert 0 == CliRunner().invoke(app, ["check", "-c", "-"], input=text).exit_code
    assert [] == left(here)


def test_json_tells_file_and_next_commands(here):
    """For programs: what was written, and what comes next as shell lines."""
    told = json.loads(init(*UPSTREAM, "--json").stdout)
    assert {"file", "next"} == set(told)
    assert "latchgate.yaml" == told["file"]
    assert any("session new --subject ada --quiet" in line for line in told["next"])
    assert any("token mint --subject ada --quiet" in line for line in told["next"])


def test_the_schema_is_written_beside_it_on_demand(here):
    """It is the one that the first line of the file names."""
    init(*UPSTREAM, "--schema")
    assert ["latchgate.schema.json", "latchgate.yaml"] == left(here)
    first = (here / "latchgate.yaml").read_text().splitlines()[0]
    name = first.partition("$schema=")[2]
    printed = CliRunner().invoke(app, ["schema"]).stdout
    assert json.loads(printed) == json.loads((here / name).read_text())
