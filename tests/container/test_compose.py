"""The services of compose.yaml, run from the image one by one; Valkey is the tests' own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.live.processes.conftest import eventually

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture
def services():
    """Give the services."""
    return YAML(typ="safe", pure=True).load(ROOT / "compose.yaml")["services"]


@pytest.fixture
async def site(run, services, free_port):
    """Run the example application on a free port, by the file's own command."""
    service = services["site"]
    argv = [part.replace("9001", str(free_port)) for part in service["entrypoint"]]
    check = [part.replace("9001", str(free_port)) for part in service["healthcheck"]["test"][1:]]
    container = await run(None, argv=argv, has_state=False)

    async def is_healthy() -> bool:
        return (await container.exec(*check))[0] == 0

    await eventually(is_healthy)
    yield f"http://127.0.0.1:{free_port}"
    await container.terminate()
    assert 0 == await container.exit()


async def test_the_example_is_guarded(run, services, site, valkey):
    """The file's own configuration: public is public, the rest wants a session, /admin a role."""
    text = (ROOT / "config" / "compose.yaml").read_text()
    text = text.replace("0.0.0.0:8080", "127.0.0.1:0") + 'health: {listen: "127.0.0.1:0"}\n'
    gate = await run(
        text,
        has_state=False,
        environment={"STORE_URL": valkey.tcp_url, "SITE_URL": site},
    )
    await gate.ready()
    assert 200 == (await gate.get("/public/about"))[0]
    assert 401 == (await gate.get("/account"))[0]

    status, output = await gate.exec("latchgate", "session", "new", "--subject", "ada", "--json")
    assert 0 == status
    cookie = json.loads(output)["cookie"]
    page = await gate.get("/account", Cookie=cookie)
    assert 200 == page[0]
    assert b"<strong>ada</strong>" in page[1]
    assert 403 == (await gate.get("/admin", Cookie=cookie))[0]
    assert [] == [line for line in await gate.processes() if "valkey-server" in line]

    await gate.terminate()
    assert 0 == await gate.exit()
