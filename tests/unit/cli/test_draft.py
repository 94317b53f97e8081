from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from proxy.cli.draft import Draft, mistakes, parse, quote, read_place, read_server, render
from proxy.config.schema import json_schema

ISSUERS = {"local": "", "https://id.example.com/": "shop-api"}
MATRIX = [
    Draft(auth=auth, issuer=issuer, audience=audience, public=public, is_trial=is_trial)
    for auth, (issuer, audience), public, is_trial in itertools.product(
        ("session", "token", "either"), ISSUERS.items(), ((), ("/static/**", "/healthz")), (0, 1)
    )
]


@pytest.mark.parametrize("draft", MATRIX, ids=str)
def test_every_draft_is_a_configuration_without_mistakes(draft, tmp_path):
    """Whatever is answered, `check` is content, and an editor's schema too."""
    text = render(draft)
    loaded = parse(text, file="f", base=tmp_path)
    expected = ["without __Host-"] if draft.is_trial and draft.auth != "token" else []
    assert expected == [warning.message[:15] for warning in loaded.warnings]
    assert [] == list(mistakes(draft))
    Draft202012Validator(json_schema()).validate(YAML(typ="safe", pure=True).load(text))


@pytest.mark.parametrize("draft", MATRIX, ids=str)
def test_everything_is_guarded_but_what_was_named(draft, tmp_path):
    """Deny by default: the last route takes all paths, with the keys that were asked for."""
    config = parse(render(draft), file="f", base=tmp_path).config
    public = [route.match.path for route in config.routes if not route.auth]
    assert list(draft.public) == public
    keys = {"session": ["web"], "token": ["api"], "either": ["api", "web"]}[draft.auth]
    (everything,) = [route for route in config.routes if route.match.path == "/**"]
    assert keys == everything.auth
    assert set(keys) == set(config.schemes)
    assert draft.has_local_tokens == (config.tokens is not None)


def test_the_text_is_tidy_and_names_the_schema_first():
    """An editor finds the schema in the first line; no line is too long, or ends with spaces."""
    for draft in MATRIX:
        lines = render(draft).splitlines()
        assert "# yaml-language-server: $schema=latchgate.schema.json" == lines[0]
        assert [] == [line for line in lines if len(line) > 100 or line != line.rstrip()]
        assert "\n\n\n\n" not in "\n".join(lines)


HOSTILE = (
    'http://a"\nroutes: []\nx: "',
    "http://a'#",
    "${HOME}",
    "$${HOME}",
    "a\u2028b: c",
    "x" * 5000,
    "!!python/object",
    "*alias",
    "",
    "{{ 7 * 7 }}",
    "\ufeff\x85\x00",
)


@pytest.mark.parametrize("value", HOSTILE)
def test_no_value_says_anything_but_itself(value):
    """A hostile answer is text in its own place: it adds no key and changes none."""
    safe = YAML(typ="safe", pure=True)
    plain = safe.load(render(Draft()))
    draft = Draft(upstream=value, name=value[:64], listen=value, issuer=value, public=(value,))
    found = safe.load(render(draft))
    assert {*plain, "tokens"} == {*found, "tokens"}
    assert [value.replace("${", "$${")] == next(iter(found["upstreams"].values()))["servers"]
    assert [value.replace("${", "$${")] == found["server"]["listen"]
    assert 2 == len(found["routes"])


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_quoted_text_is_read_back_as_it_was(text):
    """Any text, on one line."""
    quoted = quote(text)
    assert "\n" not in quoted
    assert text.replace("${", "$${") == YAML(typ="safe", pure=True).load(quoted)


def test_variables_in_answers_are_not_variables(tmp_path):
    """`${…}` in an answer is a plain text for the loader."""
    draft = Draft(upstream="unix:/run/${APP}.sock")
    config = parse(render(draft), file="f", base=tmp_path).config
    assert Path("/run/${APP}.sock") == config.upstreams["app"].servers[0].path


@pytest.mark.parametrize("name", ["true", "null", "1e5", "0x1F", "2026-01-01", "No", "a.b"])
def test_a_name_stays_a_name(name, tmp_path):
    """Names that YAML has another meaning for."""
    assert [name] == list(parse(render(Draft(name=name)), file="f", base=tmp_path).config.upstreams)


def test_a_site_elsewhere_hears_its_own_name(tmp_path):
    """It would not know the gate's Host; an application of this network wants the client's."""

    def host_of(upstream: str) -> str:
        config = parse(render(Draft(upstream=upstream)), file="f", base=tmp_path).config
        return config.upstreams["app"].host

    assert "upstream" == host_of("https://wiki.example.com")
    for near in ("http://app:8000", "https://10.0.0.7:8443", "https://localhost:1", "unix:/a"):
        assert "preserve" == host_of(near)


def test_mistakes_are_those_of_check():
    """The gate's own rules speak, about single values and about how they fit together."""
    assert ["must start with http://, https:// or unix:"] == list(mistakes(Draft("ftp://a")))
    same = Draft("http://127.0.0.1:8080")
    assert ["is a listener of this gate itself"] == list(mistakes(same))
    assert [] != list(mistakes(Draft(public=("/**",))))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" http://a:1/ ", "http://a:1"),
        ("localhost:3000", "http://localhost:3000"),
        ("[::1]:3000", "http://[::1]:3000"),
        ("https://a/b/", "https://a/b/"),
        ("unix:app.sock", "unix:/here/app.sock"),
        ("unix:/run/app.sock", "unix:/run/app.sock"),
        ("unix:", "unix:"),
        ("nonsense", "nonsense"),
    ],
)
def test_a_server_may_be_written_as_people_write_it(text, expected):
    """A copied slash, a missing scheme, a path from where the person is."""
    assert expected == read_server(text, Path("/here"))


def test_a_listener_is_no_url():
    """Only unix paths are changed."""
    assert "127.0.0.1:1" == read_place("127.0.0.1:1", Path("/here"))
    assert "unix:/here/s" == read_place("unix:s", Path("/here"))
