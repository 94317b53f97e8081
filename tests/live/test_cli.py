"""The command line as its users run it: output, JSON and exit status (reference.md §3)."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

CONFIG = """
store: {{url: "{store}", timeout: 300ms}}
secrets: {{key: "{key}"}}
tokens: {{issuer: "https://gate.test", audience: app}}
upstreams: {{app: {{servers: ["http://127.0.0.1:1"]}}}}
schemes:
  web: {{type: session, format: native, cookie: sid}}
  api: {{type: jwt, audience: [app], algorithms: [EdDSA], keys: {{local: true}}}}
routes: [{{match: {{path: /**}}, auth: [web, api], upstream: app}}]
"""

pytestmark = pytest.mark.slow


@pytest.fixture
def latchgate(tmp_path, valkey):
    path = tmp_path / "latchgate.yaml"
    path.write_text(CONFIG.format(store=valkey.url, key="00" * 32))

    def run(*arguments, status=0, text=None, config=path):
        command = [sys.executable, "-m", "proxy", *arguments]
        if config is not None:
            command += ["-c", str(config)]
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == status, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run


def test_the_life_of_a_session(latchgate):
    """New, list, show, revoke; what is not there is exit status 1."""
    new = json.loads(
        latchgate("session", "new", "--subject", "ada", "--role", "admin", "--json").stdout
    )
    assert new["cookie"].startswith("sid=")
    assert new["subject"] == "ada"
    [listed] = json.loads(latchgate("session", "list", "--subject", "ada", "--json").stdout)
    assert {"id", "subject", "created_at", "last_seen", "address", "agent"} <= listed.keys()
    assert listed["id"] == new["id"]
    assert new["id"][:8] in latchgate("session", "show", new["id"]).stdout
    latchgate("session", "revoke", new["id"])

    assert json.loads(latchgate("session", "list", "--json").stdout) == []
    latchgate("session", "show", new["id"], status=1)
    latchgate("session", "revoke", new["id"], status=1)


def test_the_life_of_a_token(latchgate):
    """Mint, inspect from standard input, revoke; a revoked token is exit status 1."""
    minted = json.loads(latchgate("token", "mint", "--subject", "bo", "--json").stdout)
    assert minted.keys() >= {"token", "jti", "expires_at"}
    good = latchgate("token", "inspect", "-", text=minted["token"])
    assert "bo" in good.stdout
    latchgate("token", "revoke", "--jti", minted["jti"])

    latchgate("token", "inspect", "-", text=minted["token"], status=1)
    latchgate("token", "inspect", "-", text="a.b.c", status=1)


def test_usage_is_exit_status_2(latchgate, tmp_path):
    """Unknown commands, and configurations with mistakes."""
    latchgate("session", "new", status=2)
    latchgate("nonsense", status=2, config=None)
    bad = tmp_path / "bad.yaml"
    bad.write_text("routes: [{}]\n")
    done = latchgate("check", config=bad, status=2)

    assert f"{bad}:1:" in done.stdout + done.stderr


def test_a_store_out_of_reach_is_exit_status_3(latchgate, tmp_path):
    """The command says so, and does not hang."""
    config = tmp_path / "down.yaml"
    config.write_text(CONFIG.format(store="redis://127.0.0.1:1", key="00" * 32))

    latchgate("session", "list", config=config, status=3)
    latchgate("check", "--connect", config=config, status=3)
    latchgate("check", config=config)


def test_check_connects_on_demand(latchgate):
    """`check --connect` asks the store and the upstreams; one that is down is exit status 1."""
    done = latchgate("check", "--connect", status=1)

    assert "ok      store" in done.stdout
    assert "FAILED  upstream app" in done.stdout


def test_a_command_runs_the_embedded_store_for_its_own_time(latchgate, tmp_path):
    """Without a running gate the sessions are there for the next command."""
    config = tmp_path / "embedded.yaml"
    text = CONFIG.format(store="embedded:store", key="00" * 32)
    config.write_text(text)
    new = json.loads(
        latchgate("session", "new", "--subject", "ada", "--json", config=config).stdout
    )
    [listed] = json.loads(latchgate("session", "list", "--json", config=config).stdout)

    assert listed["id"] == new["id"]


def test_the_schema_is_printed(latchgate):
    """A JSON Schema of draft 2020-12."""
    schema = json.loads(latchgate("schema", config=None).stdout)

    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_health_of_a_gate_that_does_not_run(latchgate):
    """`latchgate health` fails for a HEALTHCHECK to see."""
    latchgate("health", status=1)
