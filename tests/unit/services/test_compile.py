"""What compiling a configuration finds out."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.config.loader import parse_config
from proxy.errors import ConfigErrors
from proxy.services.compile import compile_problems, needs_store

APP = 'upstreams: {app: {servers: ["http://127.0.0.1:1"]}}\n'
JSON = "{type: session, format: json, cookie: c, prefix: 's:', identity: {subject: id}}"


def load(text):
    return parse_config(
        (APP + text).encode(),
        file="gate.yaml",
        base=Path("/base"),
        checks=[compile_problems],
        environment={},
    )


def test_k6_a_foreign_scheme_cannot_take_the_origin_of_others():
    """Its name is its people's origin; `local` is that of native sessions."""
    text = f"schemes: {{local: {JSON}}}\nroutes: [{{auth: local, upstream: app}}]\n"
    with pytest.raises(ConfigErrors, match="origin of other identities"):
        load(text)

    assert load(text.replace("local", "shop")).config.schemes.keys() == {"shop"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("routes: [{auth: none, upstream: app}]\n", False),
        (f"schemes: {{s: {JSON}}}\nroutes: [{{auth: s, upstream: app}}]\n", True),
    ],
)
def test_a_store_runs_only_where_something_needs_it(text, expected):
    """A public gate has no store."""
    assert needs_store(load(text).config) is expected


def test_p4_a_weaker_way_to_an_upstream_is_a_warning():
    """`check` says by which route a guarded path of the application can be reached."""
    loaded = load(
        "schemes: {w: {type: session, format: native}}\n"
        "routes:\n"
        "  - {match: {host: a.example.com, path: /admin/**}, auth: w, upstream: app}\n"
        "  - {match: {host: b.example.com, path: /**}, auth: none, upstream: app}\n"
    )

    assert any(error.path == "routes[1].match" for error in loaded.warnings)
