from __future__ import annotations

import tempfile

import pytest

from proxy.config.loader import load_config
from proxy.run.control import ControlError, ControlSocket
from proxy.run.running import find_running, told_of

GATE = """\
upstreams: {app: {servers: ["http://127.0.0.1:${GATE_TEST_PORT}"]}}
routes: [{match: {path: "${GATE_TEST_PATH:-/a}"}, auth: none, upstream: app}]
"""


@pytest.fixture(autouse=True)
def runtime(monkeypatch):
    with tempfile.TemporaryDirectory(prefix="lgr-") as path:
        monkeypatch.setenv("XDG_RUNTIME_DIR", path)
        yield


async def test_the_running_configuration_is_that_of_the_start(tmp_path, monkeypatch):
    """Text and variables as the gate read them, whatever file and shell say by now."""
    file = tmp_path / "gate.yaml"
    file.write_text(GATE)
    monkeypatch.setenv("GATE_TEST_PORT", "4711")
    monkeypatch.setenv("GATE_TEST_OTHER", "secret")
    told = told_of(load_config(file))

    async def answer(question):
        return told if question["kind"] == told["kind"] else None

    control = ControlSocket(file, answer)
    await control.open()
    monkeypatch.setenv("GATE_TEST_PORT", "1")
    running = await find_running(str(file))

    assert running is not None
    assert {"GATE_TEST_PORT": "4711"} == running.environment
    assert not running.has_changed(file)
    config = running.load().config
    assert (4711, "/a") == (config.upstreams["app"].servers[0].port, config.routes[0].match.path)
    file.write_text(GATE + "# changed\n")
    assert running.has_changed(file)
    file.unlink()
    assert running.has_changed(file)
    assert await find_running(str(file)) is None
    await control.close()


async def test_a_gate_of_another_version_is_said_to_be(tmp_path):
    """What it says is not guessed at."""
    file = tmp_path / "gate.yaml"
    file.write_text(GATE)

    async def answer(question):
        return {"kind": question["kind"], "pid": "1"}

    control = ControlSocket(file, answer)
    await control.open()
    with pytest.raises(ControlError, match="version"):
        await find_running(str(file))
    await control.close()


async def test_nobody_serves_standard_input():
    """What has no path cannot be found."""
    assert await find_running("-") is None
