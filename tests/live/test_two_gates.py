"""docs/two-gates.md as a new user walks it, without docker: two gates, Sentinel, a revocation seen on both."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest

from proxy.run.loading import load
from tests.compose_services import SOURCE, Docker, Services
from tests.reader import Reader, blocks

PAGE = (Path(__file__).parents[2] / "docs" / "two-gates.md").read_text()
HARDENED = {
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
    "restart": "unless-stopped",
}


@pytest.fixture
def directory():
    """Give a directory whose path is short enough for sockets."""
    path = Path(tempfile.mkdtemp(prefix="lgc-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def services(directory):
    """Give the compose file's services, none of them running."""
    made = Services(directory)
    yield made
    made.end()


@pytest.fixture
def reader(directory, services):
    """Give a reader whose `docker compose` runs processes of this machine."""
    person = Reader(directory)
    person.ports |= {"8081": services.ports["gate-1"], "8082": services.ports["gate-2"]}
    docker = Docker(services, directory / "bin")
    yield person
    person.close()
    docker.close()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="the page's commands need curl")
def test_the_page_is_walked(reader):
    """Signed in at one and known at both, revoked at the other and refused at both, over a failover."""
    outputs = [block for block in blocks(PAGE) if block.kind == "text"]

    assert len(outputs) >= 5
    assert len(outputs) == reader.follow(PAGE)


def test_every_service_has_no_more_rights_than_it_needs(services):
    """Read-only, without capabilities or a way to gain any, checked, and not root."""
    for service in services.compose.values():
        assert service.items() >= HARDENED.items()
        assert service["healthcheck"]["test"][0] == "CMD"
        assert service.get("user") == "valkey" or service["image"] == "latchgate"


def test_the_gates_are_the_only_way_in(services):
    """Only they have ports, on loopback, and application and store are on networks of their own."""
    published = {name: one["ports"] for name, one in services.compose.items() if "ports" in one}
    networks = {name: one["networks"] for name, one in services.compose.items()}

    assert published == {"gate-1": ["127.0.0.1:8081:8080"], "gate-2": ["127.0.0.1:8082:8080"]}
    assert networks.pop("site") == ["apps"]
    assert [networks.pop(name) for name in published] == [["front", "apps", "store"]] * 2
    assert set(map(tuple, networks.values())) == {("store",)}


def test_the_gates_configuration_is_good(monkeypatch):
    """It loads, its own tests pass, and its addresses are the compose file's services."""
    for name in ("GATE_PASSWORD", "WATCH_PASSWORD"):
        monkeypatch.setenv(name, "pw")
    loaded = load(SOURCE / "gate" / "latchgate.yaml")

    assert ["schemes.web.cookie"] == [warning.path for warning in loaded.warnings]
    assert loaded.config.server.drain + 5 < 15


def test_the_stores_user_may_what_is_documented():
    """The rights of `gate` are those of docs/store.md with Sentinels, and nobody else is let in."""
    script = (SOURCE / "valkey.sh").read_text()
    documented = (
        (SOURCE.parents[1] / "docs" / "store.md").read_text().partition("`store.prefix`: `")[2]
    )
    line = next(line for line in script.splitlines() if line.startswith("user gate "))
    words = {word for word in line.split() if word.startswith("+")}

    assert words == {*documented.partition("`")[0].split(), "+role", "+wait"}
    assert "user default off" in script
    assert "user default off" in (SOURCE / "sentinel.sh").read_text()
