"""The samples of `config/`: each is loaded as `serve` would load it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from proxy.run.loading import load
from tests.live.test_tls import Authority

CONFIG = Path(__file__).parents[3] / "config"
SAMPLES = sorted(path.name for path in CONFIG.glob("*.yaml"))

WANTED = {
    "sidecar.yaml",
    "gateway.yaml",
    "behind-nginx.yaml",
    "compose.yaml",
    "minimal.yaml",
    "login.yaml",
}

WARNINGS = {
    # It is for http://localhost, and its comment says what to do elsewhere.
    "compose.yaml": ["without __Host- another site below the same domain can set this cookie"],
}


@pytest.fixture
def deployed(tmp_path, monkeypatch):
    """Return a function that puts a sample where it would be, with what it needs around it."""
    for name, value in (
        ("PUBLIC_URL", "https://shop.example.com"),
        ("INGRESS_NETWORK", "10.1.0.0/16"),
        ("ISSUER", "https://id.example.com/"),
        ("AUDIENCE", "shop-api"),
        ("SECRETS_DIRECTORY", str(tmp_path)),
    ):
        monkeypatch.setenv(name, value)
    (tmp_path / "redis_url").write_text("rediss://redis.internal:6379/0\n")
    (tmp_path / "key").write_text("00" * 32)
    (tmp_path / "users.yaml").write_text("users: {}\n")
    cert, key = Authority(tmp_path).issue("gate")
    (tmp_path / "tls").mkdir()
    cert.rename(tmp_path / "tls" / "fullchain.pem")
    key.rename(tmp_path / "tls" / "key.pem")
    return lambda name: Path(shutil.copy(CONFIG / name, tmp_path))


def test_there_is_a_sample_for_every_place():
    """Beside one application, at the edge, behind nginx, in compose, with people who sign in, and the least of all."""
    assert set(SAMPLES) >= WANTED


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_is_loaded(deployed, name):
    """It has no mistake, and no warning but those that are meant."""
    loaded = load(deployed(name))

    assert WARNINGS.get(name, []) == [warning.message for warning in loaded.warnings]
    assert loaded.config.routes


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_explains_itself(name):
    """The first line names the schema, and a comment says what the file is for."""
    first, second, third, *_ = (CONFIG / name).read_text().splitlines()

    assert first == "# yaml-language-server: $schema=latchgate.schema.json"
    assert second == "#"
    assert third.startswith("# ")
