"""`explain` and `routes` beside a running gate with its embedded store, as people use them."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.live.processes.conftest import Shell, fetch

pytestmark = pytest.mark.slow

GATE = """
server: {{listen: "127.0.0.1:0", workers: 1, drain: 1s, id: "${{GATE_TEST_ID}}"}}
health: {{listen: "unix:h"}}
store: {{url: "embedded:store"}}
log: {{format: json}}
tokens: {{issuer: https://shop.example.com, audience: shop}}
upstreams: {{app: {{servers: ["http://127.0.0.1:{port}"]}}}}
schemes:
  web: {{type: session, format: native, cookie: sid}}
  api: {{type: jwt, keys: {{local: true}}}}
routes:
  - {{name: all, match: {{path: /**}}, auth: [api, web], require: {{roles: [user]}}, upstream: app}}
"""


@pytest.fixture
def shell(directory, monkeypatch) -> Shell:
    """Give a shell that lacks a variable which the gate has."""
    made = Shell(directory)
    monkeypatch.setenv("GATE_TEST_ID", "gate-of-the-service")
    return made


async def test_the_running_gate_and_its_explanation_agree(serve, application, shell, directory):
    """Both kinds of credentials, against the store that the gate runs; in the gate's own words."""
    gate = await serve(GATE.format(port=application.port))
    await gate.ready()
    environment = {"GATE_TEST_ID": "x"}
    status, out, error = await shell.run(
        "session", "new", "--subject", "ada", "--role", "user", "--json", **environment
    )
    assert 0 == status, error
    cookie = json.loads(out)["cookie"]
    status, out, error = await shell.run(
        "token", "mint", "--subject", "bo", "--role", "guest", "--json", **environment
    )
    assert 0 == status, error
    token = json.loads(out)["token"]

    by_session = await shell.json("explain", "GET", "/a", "--cookie=-", stdin=cookie)
    by_token = await shell.json("explain", "GET", "/a", "--bearer=-", stdin=token, status=1)
    answers = [
        (await fetch(await asyncio.open_connection("127.0.0.1", gate.port), "/a", **headers))[0]
        for headers in ({"Cookie": cookie}, {"Authorization": f"Bearer {token}"})
    ]

    assert [200, 403] == answers
    assert ("forward", None) == (by_session["decision"], by_session["answer"])
    assert ("role_missing", "bo") == (
        by_token["answer"]["code"],
        by_token["schemes"][0]["identity"]["subject"],
    )
    assert {
        "from": "running",
        "file": str(directory / "latchgate.yaml"),
        "process": gate.process.pid,
        "changed": False,
    } == by_token["configuration"]
    via = {header["name"]: header["value"] for header in by_session["headers"]["set"]}["Via"]
    assert "1.1 gate-of-the-service" == via
    told = {h["name"]: h["value"] for h in by_session["headers"]["set"] if h["says"] == "who"}
    seen = application.heads[0].decode()
    assert told
    assert all(f"{name}: {value}\r\n" in seen for name, value in told.items())


async def test_a_file_that_has_changed_is_not_what_runs(serve, public, shell, directory):
    """What runs is explained, with a warning; `--from-file` looks at the file."""
    gate = await serve(public)
    await gate.ready()
    file = directory / "latchgate.yaml"
    file.write_text(
        public.replace("auth: none", "auth: web")
        + "schemes: {web: {type: session, format: native}}\n"
    )
    status, _, error = await shell.run("explain", "GET", "/a")
    assert 0 == status
    assert "has changed since the gate read it" in error
    assert f"process {gate.process.pid}" in error
    assert (await shell.json("routes"))["routes"][0]["public"]
    assert (await shell.json("explain", "GET", "/a"))["configuration"]["changed"]
    found = await shell.json("explain", "GET", "/a", "--from-file", status=1)
    assert ("file", "challenge") == (found["configuration"]["from"], found["decision"])
    assert not (await shell.json("routes", "--from-file"))["routes"][0]["public"]


async def test_without_a_gate_it_is_the_file(shell, directory, public):
    """And nothing is started or made for a request without a credential."""
    text = GATE.format(port=1).replace("${GATE_TEST_ID}", "gate")
    (directory / "latchgate.yaml").write_text(text)
    found = await shell.json("explain", "GET", "/a", status=1)
    assert ("file", "credential_missing") == (
        found["configuration"]["from"],
        found["answer"]["code"],
    )
    found = await shell.json("explain", "GET", "/a", "--cookie=-", stdin="sid=a", status=3)
    assert "no gate has run the embedded store yet" == found["schemes"][1]["detail"]
    assert ["latchgate.yaml"] == [path.name for path in directory.iterdir()]
