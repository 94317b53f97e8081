"""config/kubernetes: manifests that fit the published schemas, each other and the configurations beside them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import kubernetes_validate  # type: ignore[import-untyped]  # ships no types
import pytest
from ruamel.yaml import YAML

from proxy.run.loading import load
from tests.live.test_tls import Authority
from tests.reader import blocks

ROOT = Path(__file__).parents[2]
BASES = {path.name: path for path in sorted((ROOT / "config" / "kubernetes").iterdir())}
PAGE = (ROOT / "docs" / "kubernetes.md").read_text()
OLDEST = "1.30"
"""The first version whose `preStop` can sleep."""
RESERVE_S = 5


def documents(text):
    return [one for one in YAML(typ="safe", pure=True).load_all(text) if one is not None]


class Base:
    """A kustomize base: what its kustomization.yaml names, by kind."""

    def __init__(self, directory):
        self.directory = directory
        (self.kustomization,) = documents((directory / "kustomization.yaml").read_text())
        self.manifests = [
            one
            for name in self.kustomization["resources"]
            for one in documents((directory / name).read_text())
        ]
        self.text = (directory / "latchgate.yaml").read_text()
        (self.gate,) = documents(self.text)

    def of(self, kind):
        (manifest,) = [one for one in self.manifests if one["kind"] == kind]
        return manifest

    @property
    def template(self):
        return self.of("Deployment")["spec"]["template"]

    @property
    def pod(self):
        return self.template["spec"]

    @property
    def latchgate(self):
        (found,) = [one for one in self.pod["containers"] if one["name"] == "latchgate"]
        return found

    @property
    def others(self):
        return [one for one in self.pod["containers"] if one["name"] != "latchgate"]

    @property
    def maps(self):
        return {one["name"]: one for one in self.kustomization["configMapGenerator"]}

    @property
    def settings(self):
        """The variables of the generated maps."""
        lists = [one.get("literals", []) for one in self.maps.values()]
        return dict(line.split("=", 1) for lines in lists for line in lines)

    @property
    def ports(self):
        return {one["name"]: one["containerPort"] for one in self.latchgate["ports"]}


@pytest.fixture(params=BASES)
def base(request):
    """Give each base in turn."""
    return Base(BASES[request.param])


@pytest.fixture
def sidecar():
    """Give the base of a sidecar."""
    return Base(BASES["sidecar"])


def port_of(listener):
    return int(listener.rpartition(":")[2])


def seconds(duration):
    return int(duration.removesuffix("s"))


def preamble_s(container):
    """Return how long a container waits before it is told to end."""
    return container["lifecycle"]["preStop"]["sleep"]["seconds"]


def test_both_uses_have_a_base():
    """A sidecar and a gateway, no more and no less, and the page leads to both."""
    assert ["gateway", "sidecar"] == sorted(BASES)
    assert {f"config/kubernetes/{name}" for name in BASES} <= set(re.findall(r"`(\S+)`", PAGE))


def test_the_kustomization_names_every_file(base):
    """What lies in a base is part of it, and what it names is there."""
    files = [name for one in base.maps.values() for name in one.get("files", [])]
    named = [*base.kustomization["resources"], *files, "kustomization.yaml"]

    assert sorted(named) == sorted(path.name for path in base.directory.iterdir())


@pytest.mark.parametrize("version", [OLDEST, "newest"])
def test_the_published_schemas_find_no_mistake(base, version):
    """Each manifest fits the schema of its kind, unknown keys being mistakes, old and new."""
    wanted = kubernetes_validate.latest_version() if version == "newest" else version
    for manifest in base.manifests:
        kubernetes_validate.validate(manifest, wanted, strict=True)


def test_the_pages_manifests_fit_the_schemas_too():
    """What the page shows of Kubernetes is as good as the bases."""
    shown = [one for block in blocks(PAGE) if block.kind == "yaml" for one in documents(block.text)]
    manifests = [one for one in shown if one["kind"] != "Kustomization"]

    assert manifests
    for manifest in manifests:
        kubernetes_validate.validate(manifest, OLDEST, strict=True)


def test_kustomize_builds_the_base_and_the_pages_overlay(base, tmp_path):
    """Where kubectl is installed it makes of each base what the schemas allow, alone and overlaid."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")
    shutil.copytree(ROOT / "config" / "kubernetes", tmp_path / "config" / "kubernetes")
    overlay = next(block.text for block in blocks(PAGE) if "kind: Kustomization" in block.text)
    (tmp_path / "overlay").mkdir()
    (tmp_path / "overlay" / "kustomization.yaml").write_text(overlay)

    def build(directory):
        made = subprocess.run(
            [kubectl, "kustomize", directory], check=True, capture_output=True, text=True
        )
        found = documents(made.stdout)
        for manifest in found:
            kubernetes_validate.validate(manifest, OLDEST, strict=True)
        return found

    made = build(tmp_path / "config" / "kubernetes" / base.directory.name)
    assert len(made) == len(base.manifests) + len(base.maps)
    over = build(tmp_path / "overlay")
    (deployment,) = [one for one in over if one["kind"] == "Deployment"]
    images = {one["image"] for one in deployment["spec"]["template"]["spec"]["containers"]}
    assert {"registry.example.org/latchgate:0.1.0", "registry.example.org/shop:1.4.2"} == images
    assert "command" not in deployment["spec"]["template"]["spec"]["containers"][1]
    assert {"shop"} == {one["metadata"]["namespace"] for one in over}


def test_the_configuration_is_good(base, tmp_path, monkeypatch):
    """With the variables and files that the pod has, it loads without a warning, and its tests pass."""
    for name, value in base.settings.items():
        monkeypatch.setenv(name, value)
    for name in ("SECRETS_DIRECTORY", "TLS_DIRECTORY"):
        monkeypatch.setenv(name, str(tmp_path))
    certificate, key = Authority(tmp_path).issue("gate")
    certificate.rename(tmp_path / "tls.crt")
    key.rename(tmp_path / "tls.key")
    (tmp_path / "key").write_text("00" * 32)
    (tmp_path / "redis_url").write_text("rediss://gate:pw@valkey.valkey.svc:6379/0")
    file = tmp_path / "latchgate.yaml"
    file.write_text(base.text)

    assert () == load(file).warnings
    assert set(base.settings) == set(re.findall(r"\$\{(\w+)\}", base.text))


def test_the_sidecar_of_a_pod_is_the_sample(sidecar):
    """Kustomize reads nothing above its base, so the sample stands there again, and says the same."""
    (sample,) = documents((ROOT / "config" / "sidecar.yaml").read_text())

    assert sample == sidecar.gate


def test_the_files_are_mounted_where_the_configuration_looks(base):
    """Each volume exists, and the configuration's default directories are mount points."""
    mounts = {one["mountPath"]: one["name"] for one in base.latchgate["volumeMounts"]}
    volumes = {one["name"]: one for one in base.pod["volumes"]}
    wanted = set(re.findall(r"_DIRECTORY:-([^}]+)\}", base.text))

    assert wanted | {"/etc/latchgate", "/tmp"} == set(mounts)  # noqa: S108 - a path of the pod
    assert set(mounts.values()) <= set(volumes)
    assert volumes["config"]["configMap"]["name"] in base.maps
    for volume in volumes.values():
        if "secret" in volume:
            assert f" {volume['secret']['secretName']} " in PAGE
            assert "defaultMode" in volume["secret"]


def test_the_probes_reach_the_health_listener(base):
    """The kubelet asks from outside: the gate listens there, on the port that the pod names."""
    assert f"0.0.0.0:{base.ports['health']}" == base.gate["health"]["listen"]
    listeners = [*base.gate["server"]["listen"], base.gate["health"]["listen"]]
    listeners += [base.gate["redirect"]["listen"]] if "redirect" in base.gate else []
    assert sorted(map(port_of, listeners)) == sorted(base.ports.values())
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert "health" == base.latchgate[probe]["httpGet"]["port"]
    paths = [
        base.latchgate[probe]["httpGet"]["path"]
        for probe in ("startupProbe", "livenessProbe", "readinessProbe")
    ]
    # The first two restart the container: an outage of the store must not.
    assert ["/healthz", "/healthz", "/readyz"] == paths


def test_the_pod_gives_the_gate_time_to_drain(base):
    """An application outlives the drain, and the kubelet waits for all."""
    drained_s = preamble_s(base.latchgate) + seconds(base.gate["server"]["drain"])

    assert all(preamble_s(one) > drained_s for one in base.others)
    latest_s = max(map(preamble_s, base.others), default=0)
    assert base.pod["terminationGracePeriodSeconds"] > max(drained_s, latest_s) + RESERVE_S


def test_the_application_is_reached_through_the_gate_alone(sidecar):
    """It listens on 127.0.0.1, where the gate looks for it, and neither port nor Service leads to it."""
    (app,) = sidecar.others
    command = app["command"]
    host, port = (command[command.index(name) + 1] for name in ("--host", "--port"))

    assert "127.0.0.1" == host
    assert f":-http://127.0.0.1:{port}}}" in sidecar.text
    assert "ports" not in app
    services = [one["targetPort"] for one in sidecar.of("Service")["spec"]["ports"]]
    assert ["http"] == services


def test_no_container_has_more_rights_than_it_needs(base):
    """The strictest Pod Security Standard, a read-only root besides, and no token of the cluster's."""
    assert base.pod["securityContext"]["runAsNonRoot"]
    assert {"type": "RuntimeDefault"} == base.pod["securityContext"]["seccompProfile"]
    assert not base.pod["automountServiceAccountToken"]
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(base.pod)
    for container in base.pod["containers"]:
        rights = base.pod["securityContext"] | container["securityContext"]
        assert (True, False) == (
            rights["readOnlyRootFilesystem"],
            rights["allowPrivilegeEscalation"],
        )
        assert {"drop": ["ALL"]} == rights["capabilities"]
        assert rights["runAsUser"] > 0
        assert {"requests", "limits"} == set(container["resources"])
        assert "memory" in container["resources"]["limits"]
    assert 65532 == (base.pod["securityContext"] | base.latchgate["securityContext"])["runAsUser"]


def test_everything_means_the_same_pods(base):
    """Service, budget, policy and spread select the Deployment's pods; ports are named as there."""
    labels = base.template["metadata"]["labels"]
    selectors = [
        base.of("Service")["spec"]["selector"],
        base.of("NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        *(one["labelSelector"]["matchLabels"] for one in base.pod["topologySpreadConstraints"]),
        *(base.of(kind)["spec"]["selector"]["matchLabels"]
          for kind in ("Deployment", "PodDisruptionBudget")),
    ]  # fmt: skip
    assert all(selector.items() <= labels.items() for selector in selectors)
    admitted = [
        port["port"]
        for rule in base.of("NetworkPolicy")["spec"]["ingress"]
        for port in rule["ports"]
    ]
    served = [port["targetPort"] for port in base.of("Service")["spec"]["ports"]]
    assert set(admitted) == set(base.ports)
    assert set(served) <= set(base.ports)
    assert {"Ingress", "Egress"} == set(base.of("NetworkPolicy")["spec"]["policyTypes"])


def test_the_autoscaler_scales_the_gateway():
    """It names the Deployment, which leaves the number to it and asks for the CPU that is measured."""
    gateway = Base(BASES["gateway"])
    deployment, scaler = gateway.of("Deployment"), gateway.of("HorizontalPodAutoscaler")
    target = scaler["spec"]["scaleTargetRef"]

    assert ("Deployment", deployment["metadata"]["name"]) == (target["kind"], target["name"])
    assert "replicas" not in deployment["spec"]
    assert "cpu" in gateway.latchgate["resources"]["requests"]
    assert (
        scaler["spec"]["minReplicas"] > gateway.of("PodDisruptionBudget")["spec"]["maxUnavailable"]
    )
