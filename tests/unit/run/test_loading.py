from __future__ import annotations

import os
from pathlib import Path

import pytest

from proxy.errors import ConfigErrors
from proxy.run.loading import load, load_booted
from proxy.run.messages import Boot

GOOD = """
server: {listen: ["127.0.0.1:8080"]}
upstreams: {app: {servers: ["http://127.0.0.1:9001"]}}
routes: [{match: {path: "/**"}, auth: none, upstream: app}]
"""


def mistakes(path: Path, text: str) -> list[str]:
    """Return the messages of a configuration with mistakes."""
    path.write_text(text)
    with pytest.raises(ConfigErrors) as errors:
        load(path)
    return [f"{error.path}: {error.message}" for error in errors.value.errors]


@pytest.fixture
def path(tmp_path) -> Path:
    """Give the path of a configuration file."""
    return tmp_path / "latchgate.yaml"


def test_any_free_port_may_be_asked_for_twice(path):
    """Port 0 is another one each time."""
    path.write_text(GOOD.replace('["127.0.0.1:8080"]', '["127.0.0.1:0", "127.0.0.1:0"]'))
    assert 2 == len(load(path).config.server.listen)


def test_checks_of_every_layer_run(path):
    """Routes that cannot be compiled and stores that cannot be used are found together."""
    (path.parent / "store").write_text("a file")
    text = GOOD.replace(
        "upstream: app}]", "upstream: app}, {match: {path: '/**'}, auth: none, upstream: app}]"
    )
    text += 'store: {url: "embedded:store"}\n'
    found = mistakes(path, text)
    assert any(message.startswith("routes[1].match") for message in found)
    assert any(message.startswith("store.url") for message in found)


def test_a_worker_reads_what_the_supervisor_read(path):
    """Text, name and base directory travel; the file may be gone by then."""
    path.write_text(GOOD + "# ä\n")
    loaded = load(path)
    path.unlink()
    boot = Boot(
        worker=0,
        gate_id="gate",
        text=loaded.text.decode(),
        file=loaded.file,
        base=str(loaded.base),
        sockets=[],
        own_addresses=[],
    )
    again = load_booted(boot)
    assert (loaded.config, loaded.file, loaded.base) == (again.config, again.file, again.base)


def test_a_named_pipe_in_the_place_of_a_key_is_a_mistake_and_not_waited_for(path):
    """Whoever would write into it does not come."""
    os.mkfifo(path.parent / "pipe")
    text = GOOD.replace("auth: none", "auth: api") + (
        "schemes: {api: {type: jwt, issuer: i, audience: a, algorithms: [EdDSA], keys: {file: pipe}}}\n"
    )
    assert any(mistake.startswith("schemes.api.keys.file: ") for mistake in mistakes(path, text))
