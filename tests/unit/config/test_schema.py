from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import jsonschema
import pytest
from ruamel.yaml import YAML

from proxy.config.outline import outline
from proxy.config.schema import DIALECT, default_of, json_schema

ROOT = Path(__file__).parents[3]


def part_of_the_site(name):
    """Return a module of docs/site, which is no package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / "site" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


configuration, hooks = part_of_the_site("configuration"), part_of_the_site("hooks")
SCHEMA = json_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
SAMPLES = sorted((ROOT / "config").glob("*.yaml"))


def is_valid(text):
    """Tell whether an editor would find nothing to say about `text`."""
    return VALIDATOR.is_valid(YAML(typ="safe", pure=True).load(text))


def test_the_shipped_schema_is_current():
    """`latchgate schema > config/latchgate.schema.json` changes nothing."""
    assert json.loads((ROOT / "config" / "latchgate.schema.json").read_text()) == SCHEMA


def test_the_schema_is_one():
    """It is a schema of draft 2020-12, and says so."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)

    assert DIALECT == SCHEMA["$schema"]
    assert "null" not in json.dumps(SCHEMA)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.name)
def test_samples_fit_the_schema(sample):
    """An editor that opens a sample finds no fault, and knows the schema by the first line."""
    text = sample.read_text()

    assert is_valid(text)
    assert text.startswith("# yaml-language-server: $schema=latchgate.schema.json\n")


@pytest.mark.parametrize(
    "text",
    [
        "server: {listn: x}",
        "server: {drain: 30}",
        "server: {drain: ~}",
        "server: {workers: few}",
        "upstreams: {a: {}}",
        "upstreams: {'a b': {servers: [http://a]}}",
        "upstreams: {a: {servers: ['http://a/b']}}",
        "schemes: {a: {type: basic}}",
        "schemes: {a: {type: session, format: native, issuer: x}}",
        "schemes: {a: {type: jwt, keys: {local: true}, from: [cookie]}}",
        "routes: [{upstream: a}]",
        "routes: [{auth: none, upstream: a, require: {roles: admin}}]",
        "routes: [{auth: none, upstream: a, cors: any}]",
        "login: {}",
    ],
)
def test_mistakes_do_not_fit_the_schema(text):
    """An editor shows them before `check` does."""
    assert not is_valid(text)


@pytest.mark.parametrize(
    "text",
    [
        "server: {drain: '${DRAIN:-30s}', workers: '${WORKERS}', limits: {connections: '${N}'}}",
        "server: {limits: {body_size: none, connections_per_address: 3}}",
        "health: none",
        "log: {access: '${ACCESS}'}",
        "store: {url: {file: /run/secrets/url}}",
        "secrets: {key: {file: a}}",
        "secrets: {key: [a, {file: b}]}",
        "schemes: {a: {type: jwt, audience: any, keys: {secret: {file: a}}, from: bearer}}",
        "schemes: {a: {type: jwt, audience: x, keys: {local: true}, from: [{cookie: a}]}}",
        "routes: [{auth: none, upstream: a, cors: upstream, cross_site: ['https://a']}]",
        "routes: [{auth: a, upstream: a, require: {roles: {all: [x]}, claims: {a: 1, b: {any: [x]}}}}]",
        "routes: [{auth: [a, b], upstream: a, identity: {preset: none, headers: {X: '{sub}'}}}]",
        "upstreams: {a: {servers: [http://a], balance: {hash: {cookie: io}}}}",
    ],
)
def test_every_form_fits_the_schema(text):
    """Words, lists, sections, secrets in files and variables are all completed, none is underlined."""
    assert is_valid(text)


def test_defaults_are_shown_as_the_file_would_say_them():
    """Durations and sizes have their units, switched-off values are `none`."""
    fields = dict(outline())
    shown = {
        "server.limits.header_size": "32KiB",
        "server.limits.keepalive": "75s",
        "server.limits.body_size": "none",
        "server.listen": ["0.0.0.0:8080"],
        "store.timeout": "500ms",
        "store.url": "embedded:var/store",
        "tokens.keys.rotate": "30d",
        "schemes.*.from": ["bearer"],
        "schemes.*.idle_timeout": "30m",
        "log.access": True,
        "server.tls": None,
        "upstreams.*.audience": None,
        "upstreams.*.servers": None,
        "schemes.*.audience": None,
    }

    assert shown == {path: default_of(fields[path]) for path in shown}


@pytest.mark.parametrize("page", [configuration.PAGE.read_text()], ids=["docs/configuration.md"])
def test_the_page_is_what_the_models_say(page):
    """`make reference` changes nothing: each key once, in the file's order, its default and meaning."""
    assert page == configuration.filled(page)
    for section in {path for path, _ in outline() if not re.search(r"[.\[]", path)}:
        assert f"\n## {section}\n" in page


def test_every_key_is_described():
    """In a sentence that stands below it in its model, whatever else the page says."""
    assert not [path for path, _, meaning in configuration.described() if len(meaning) < 5]


def test_a_key_without_its_row_is_named():
    """A new key fails until somebody says where it stands and what it takes; so does one that is gone."""
    page = configuration.PAGE.read_text()
    row = next(line for line in page.split("\n") if line.startswith("| `store.timeout` "))

    with pytest.raises(ValueError, match=r"the model has \['store.timeout'\]"):
        configuration.filled(page.replace(row + "\n", ""))
    with pytest.raises(ValueError, match=r"row \d+ is of \['store.timeuot'\]"):
        configuration.filled(page.replace("`store.timeout` |", "`store.timeuot` |"))


def test_what_a_key_takes_is_what_the_schema_takes():
    """The page's words say more than the schema's, never something else."""
    strict = {"duration": "duration", "size": "size", "`true` or `false`": "boolean true"}
    wrong = []
    for path, takes, *_ in configuration.rows(configuration.PAGE.read_text()):
        node = hooks.find(SCHEMA, path.strip("`"))
        kinds = {word for one in hooks.resolved(node, SCHEMA) for word in hooks.word_of(one)}
        allowed = {word for one in kinds for word in re.findall(r"`([^`]+)`", one)}
        words = set(re.findall(r"`([^`]+)`", takes))
        if not kinds & {"text", "list", "section"} and not words <= allowed:
            wrong.append((path, words - allowed))
        made = hooks.values(node, SCHEMA).removesuffix(" or `none`")
        if made in strict and takes.split()[0] not in strict[made].split():
            wrong.append((path, takes, made))

    assert wrong == []
