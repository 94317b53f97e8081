"""docs/deploy.md and the systemd unit: what they say fits the samples and the image."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from proxy.cli.draft import Draft, render

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "deploy.md").read_text()
UNIT = ROOT / "config" / "latchgate.service"
GRACE_S = 5


def yaml(text):
    return YAML(typ="safe", pure=True).load(text)


def seconds(duration):
    assert duration.endswith("s")
    return int(duration.removesuffix("s"))


@pytest.fixture
def unit():
    """Give the unit's sections; of a name that occurs twice all values."""
    parser = configparser.RawConfigParser(strict=False, dict_type=Several, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # names keep their case
    parser.read(UNIT)
    return {name: dict(parser[name]) for name in parser.sections()}


class Several(dict):
    """Keeps every value of a name that is set more than once, as systemd does with lists."""

    def __setitem__(self, name, value):
        if isinstance(value, list) and isinstance(self.get(name), list):
            value = [*self[name], *value]
        super().__setitem__(name, value)


def test_the_page_names_every_sample():
    """Each file of config/ stands in the table, but the schema and the full example."""
    named = set(re.findall(r"`([a-z-]+\.(?:ya?ml|conf|service|json)|kubernetes|sentinel)`", PAGE))
    there = {path.name for path in (ROOT / "config").iterdir()}

    assert there - named == {"latchgate.schema.json", "latchgate.yaml"} - named


def test_the_unit_drains_before_it_kills(unit):
    """SIGTERM goes to the supervisor alone, and there is time for the default drain of 30 s."""
    service = unit["Service"]

    assert "mixed" == service["KillMode"]
    assert int(service["TimeoutStopSec"]) > 30 + GRACE_S
    assert "2" == service["RestartPreventExitStatus"]


def test_the_default_store_is_where_the_unit_may_write(unit):
    """`embedded:var/store` beside the configuration leads into the state directory, by a link."""
    commands = re.findall(r"(?m)^ln -s (\S+) (\S+)$", PAGE)

    assert [(f"/var/lib/{unit['Service']['StateDirectory']}", "/etc/latchgate/var")] == commands
    assert "LATCHGATE_CONFIG=/etc/latchgate/latchgate.yaml" in UNIT.read_text()
    assert {"url": "embedded:var/store"} == yaml(render(Draft()))["store"]


def test_the_unit_has_the_credentials_and_the_user_that_the_page_speaks_of(unit):
    """The page makes the key that the unit loads, and its commands share the unit's user and state."""
    service = unit["Service"]
    name, _, path = service["LoadCredential"].partition(":")

    assert f"> {path})" in PAGE
    assert f"${{CREDENTIALS_DIRECTORY}}/{name}" in PAGE
    for setting in ("DynamicUser", "User", "StateDirectory", "LoadCredential"):
        assert f"-p {setting}={service[setting]} " in PAGE.replace("\\\n", " ")


def test_the_unit_speaks_no_protocol_that_the_gate_does_not(unit):
    """`Type=notify` would wait for a word that the gate never says."""
    speaking = [
        path for path in (ROOT / "proxy").rglob("*.py") if "NOTIFY_SOCKET" in path.read_text()
    ]

    assert ("notify" in unit["Service"]["Type"]) == bool(speaking)


def test_systemd_understands_the_unit():
    """Where systemd's own checker is installed it has nothing to say but that nothing is installed."""
    checker = shutil.which("systemd-analyze")
    if checker is None:
        pytest.skip("systemd-analyze is not installed")
    told = subprocess.run(
        [checker, "verify", "--man=no", str(UNIT)], capture_output=True, text=True, check=False
    ).stderr
    lines = [line for line in told.splitlines() if UNIT.name in line]

    assert [] == [line for line in lines if "is not executable" not in line]


def test_systemd_calls_the_unit_hardened():
    """Its own measure, ten for a unit that may do anything, is what the page says, and below 1.5."""
    checker = shutil.which("systemd-analyze")
    if checker is None:
        pytest.skip("systemd-analyze is not installed")
    told = subprocess.run(
        [checker, "security", "--offline=true", "--threshold=15", str(UNIT)],
        capture_output=True,
        text=True,
        check=False,
    )
    if "unrecognized option" in told.stderr:
        pytest.skip("this systemd-analyze looks at running units only")

    assert 0 == told.returncode, told.stdout
