from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest
from ruamel.yaml import YAML

from proxy.config.outline import outline
from proxy.config.schema import DIALECT, default_of, json_schema

ROOT = Path(__file__).parents[3]
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


def written(value):
    """Return a default as the page shows it."""
    if value is None:
        return "\u2013"
    if isinstance(value, list):
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{str(value).lower()}`" if isinstance(value, bool) else f"`{value}`"


def test_the_page_has_every_key_with_its_default():
    """docs/configuration.md lists every key once, in the file's order, with type, default, meaning."""
    page = (ROOT / "docs" / "configuration.md").read_text()
    rows = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in page.splitlines()
        if re.match(r"\| `[a-z_*.\[\]]+` \| ", line) and line.count(" | ") > 2
    ]
    expected = [
        (f"`{path}`", "required" if field.is_required() else written(default_of(field)))
        for path, field in outline()
        if re.search(r"[.\[]", path)
    ]

    assert expected == [(key, default) for key, _, default, _ in rows]
    assert not [row for row in rows if not row[1] or len(row[3]) < 5]
    for section in {path for path, _ in outline() if not re.search(r"[.\[]", path)}:
        assert f"\n## {section}\n" in page
