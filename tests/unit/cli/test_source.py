from __future__ import annotations

import os
import tempfile

import pytest

from proxy.cli.source import Source, find_source
from proxy.config.loader import load_config
from proxy.run.control import ControlError
from proxy.run.running import Running

GATE = """\
upstreams: {app: {servers: ["http://127.0.0.1:1"]}}
routes: [{match: {path: "/a"}, auth: none, upstream: app}]
"""


@pytest.fixture
def file(tmp_path):
    made = tmp_path / "latchgate.yaml"
    made.write_text(GATE)
    return made


@pytest.fixture(autouse=True)
def runtime(monkeypatch):
    with tempfile.TemporaryDirectory(prefix="lgs-") as path:
        monkeypatch.setenv("XDG_RUNTIME_DIR", path)
        yield


def runs(monkeypatch, file, text):
    """Let a gate of another process run `text` from the file."""

    async def find(name):
        return Running(4711, name, str(file.parent), text.encode(), dict(os.environ))

    monkeypatch.setattr("proxy.cli.source.find_running", find)


def test_what_runs_counts_more_than_the_file(monkeypatch, file, capsys):
    """With a warning where they differ."""
    runs(monkeypatch, file, GATE)
    source = find_source(str(file), from_file=False)
    assert (4711, False, "") == (source.process, source.has_changed, capsys.readouterr().err)
    runs(monkeypatch, file, GATE.replace("/a", "/b"))
    source = find_source(str(file), from_file=False)
    assert source.has_changed
    assert "has changed since" in capsys.readouterr().err
    assert "/b" == source.loaded.config.routes[0].match.path
    assert "/a" == find_source(str(file), from_file=True).loaded.config.routes[0].match.path


def test_a_gate_that_cannot_tell_is_a_warning(monkeypatch, file, capsys):
    """The file is what is left."""

    async def find(name):
        raise ControlError("the running gate does not answer")

    monkeypatch.setattr("proxy.cli.source.find_running", find)
    source = find_source(str(file), from_file=False)
    assert source.process is None
    assert "does not answer; this is the file" in capsys.readouterr().err


def test_a_running_text_that_cannot_be_read_any_more_is_told(monkeypatch, file, capsys):
    """A file that it names has gone, perhaps."""
    runs(monkeypatch, file, "routes: [{}]")
    source = find_source(str(file), from_file=False)
    assert source.process is None
    assert "cannot be read any more" in capsys.readouterr().err


def test_a_source_says_what_it_is(file):
    """In words and for programs."""
    loaded = load_config(file)
    assert str(Source(loaded, 7)) == f"{file}, as process 7 runs it"
    assert "the file" in str(Source(loaded, None))
    assert {"from": "running", "file": str(file), "process": 7, "changed": True} == Source(
        loaded, 7, has_changed=True
    ).to_json()
