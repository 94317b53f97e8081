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
def pod():
    """Give the Kubernetes example's pod."""
    (manifest,) = [
        yaml(block)
        for block in re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
        if "kind: Deployment" in block
    ]
    return manifest["spec"]["template"]["spec"]


@pytest.fixture
def gate(pod):
    """Give the gate's container."""
    (container,) = [one for one in pod["containers"] if one["name"] == "latchgate"]
    return container


@pytest.fixture
def sidecar():
    """Give the sample that the example mounts."""
    return yaml((ROOT / "config" / "sidecar.yaml").read_text())


def test_the_page_names_every_sample():
    """Each file of config/ stands in the table, but the schema and the full example."""
    named = set(re.findall(r"`([a-z-]+\.(?:yaml|conf|service))`", PAGE))
    there = {path.name for path in (ROOT / "config").iterdir()}

    assert there - named == {"latchgate.schema.json", "latchgate.yaml"} - named


def test_the_probes_reach_the_health_listener(gate, sidecar):
    """The kubelet asks from outside: the sample listens there, on the port that the pod names."""
    ports = {port["name"]: port["containerPort"] for port in gate["ports"]}

    assert f"0.0.0.0:{ports['health']}" == sidecar["health"]["listen"]
    assert [f"0.0.0.0:{ports['http']}"] == sidecar["server"]["listen"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert "health" == gate[probe]["httpGet"]["port"]
    assert "/healthz" == gate["livenessProbe"]["httpGet"]["path"]


def test_the_pod_gives_the_gate_time_to_drain(pod, gate, sidecar):
    """The application outlives the drain, and the kubelet waits for both."""
    drain_s = seconds(sidecar["server"]["drain"])
    pause_s = gate["lifecycle"]["preStop"]["sleep"]["seconds"]
    (application,) = [one for one in pod["containers"] if one is not gate]

    assert application["lifecycle"]["preStop"]["sleep"]["seconds"] > pause_s + drain_s
    assert pod["terminationGracePeriodSeconds"] > pause_s + drain_s + GRACE_S


def test_the_pod_has_no_more_rights_than_it_needs(pod, gate):
    """Not root, read-only, without capabilities; every variable of the sample is given."""
    wanted = set(re.findall(r"\$\{(\w+)\}", (ROOT / "config" / "sidecar.yaml").read_text()))

    assert pod["securityContext"]["runAsNonRoot"]
    assert gate["securityContext"] == {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    assert wanted == {variable["name"] for variable in gate["env"]}


def test_the_unit_drains_before_it_kills():
    """SIGTERM goes to the supervisor alone, and there is time for the default drain of 30 s."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # names keep their case
    unit.read(UNIT)

    assert "mixed" == unit["Service"]["KillMode"]
    assert int(unit["Service"]["TimeoutStopSec"]) > 30 + GRACE_S
    assert "2" == unit["Service"]["RestartPreventExitStatus"]


def test_the_default_store_is_where_the_unit_may_write():
    """`embedded:var/store` beside the configuration leads into the state directory, by a link."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # names keep their case
    unit.read(UNIT)
    commands = re.findall(r"(?m)^ln -s (\S+) (\S+)$", PAGE)

    assert [(f"/var/lib/{unit['Service']['StateDirectory']}", "/etc/latchgate/var")] == commands
    assert "LATCHGATE_CONFIG=/etc/latchgate/latchgate.yaml" in UNIT.read_text()
    assert {"url": "embedded:var/store"} == yaml(render(Draft()))["store"]


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
