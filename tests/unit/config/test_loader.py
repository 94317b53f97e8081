"""Loading a file: strict YAML, the environment, secrets that never show, and values with units."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.config.loader import parse_config
from proxy.errors import ConfigErrors

MINIMAL = (
    'upstreams: {app: {servers: ["http://127.0.0.1:1"]}}\nroutes: [{auth: none, upstream: app}]\n'
)


def parse(text, base=Path("/base"), **environment):
    raw = text.encode() if isinstance(text, str) else text
    return parse_config(raw, file="gate.yaml", base=base, environment=environment)


def mistakes(text, **environment):
    with pytest.raises(ConfigErrors) as caught:
        parse(text, **environment)
    return [str(error) for error in caught.value.errors]


def test_a_minimal_file_has_the_documented_defaults():
    """What is not written has the default of reference.md §1."""
    config = parse(MINIMAL).config

    assert config.server.limits.header_size == 32 * 1024
    assert config.server.limits.keepalive == 75.0
    assert config.store.timeout == 0.5
    assert config.upstreams["app"].timeouts.keepalive == 4.0
    assert config.routes[0].match.path == "/**"
    assert config.upstreams["app"].audience == "app"


def test_relative_paths_begin_at_the_files_directory():
    """Wherever the gate was started."""
    text = MINIMAL + 'store: {url: "embedded:x/y"}\nhealth: {listen: "unix:h.sock"}\n'
    config = parse(text).config

    assert config.store.url.path == Path("/base/x/y")
    assert config.health.listen.path == Path("/base/h.sock")


def test_auth_is_never_silently_public():
    """A route without `auth` is a mistake, and so is an empty list."""
    assert any(
        "auth: is required" in line for line in mistakes(MINIMAL.replace("auth: none, ", ""))
    )
    assert mistakes(MINIMAL.replace("auth: none", "auth: []"))


@pytest.mark.parametrize(
    "text",
    [
        b"\xff\xfe\x00",
        b"a: b\n\x00",
        "a: &a [*a]\n",
        "a: !!python/object:os.system x\n",
        "- a list\n",
        "just text\n",
        "",
        "a: 1\n---\nb: 2\n",
        "server: {id: a, id: b}\n" + MINIMAL,
        "a: " + "[" * 5000,
        "x: &x [1,1,1,1,1,1,1,1,1]\ny: &y [*x,*x,*x,*x,*x,*x,*x,*x]\nz: [*y,*y,*y,*y,*y,*y,*y,*y]\n",
        "server:\n\tid: x\n",
    ],
)
def test_hostile_files_are_mistakes_with_a_place(text):
    """No bytes make anything but `file:line:column: …`."""
    for line in mistakes(text):
        assert line.startswith("gate.yaml:")


@pytest.mark.parametrize("word", ["yes", "no", "on", "off", "Yes"])
def test_yaml_12_has_no_other_booleans(word):
    """`yes` is a text, and no boolean takes it."""
    assert mistakes(MINIMAL + f"log: {{access: {word}}}\n")


@pytest.mark.parametrize("value", ["10", "10x", "-1s", "1.5", "ten", "true"])
def test_a_duration_has_a_unit(value):
    """A bare number is a mistake."""
    assert mistakes(MINIMAL + f"server: {{drain: {value}}}\n")


def test_the_environment_is_taken_and_must_be_there():
    """`${VAR}`, `${VAR:-default}`; an undefined variable is a mistake with a place."""
    text = MINIMAL + 'server: {id: "${ID}", drain: "${DRAIN:-5s}"}\n'
    config = parse(text, ID="gate-1").config

    assert (config.server.id, config.server.drain) == ("gate-1", 5.0)
    assert any("ID" in line and ":3:" in line for line in mistakes(text))


def test_a_secret_shows_nowhere(tmp_path):
    """Not in repr, not in an error, not from the environment; a final line break is cut."""
    secret = "correct horse battery staple correct"
    (tmp_path / "key").write_text(secret + "\n")
    scheme = "schemes: {api: {type: jwt, issuer: x, audience: [a], algorithms: [HS256], keys: {secret: %s}}}"
    loaded = parse(MINIMAL + scheme % "{file: key}", base=tmp_path)
    keys = loaded.config.schemes["api"].keys

    assert keys.secret.reveal() == secret
    assert secret not in repr(loaded)
    assert secret not in str(loaded.config)
    short = mistakes(MINIMAL + scheme % "shortsecret123")
    assert short
    assert all("shortsecret123" not in line for line in short)
