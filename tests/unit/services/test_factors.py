"""What a configuration switches on of the second factor."""

from __future__ import annotations

import pytest

from proxy.adapters.store import StoreAddress, open_store
from proxy.config.loader import parse_config
from proxy.core.binding import bind
from proxy.services.factors import binder, open_otp

KEY = "00" * 32
TEXT = """
store: {{url: "redis://127.0.0.1:1"}}
{more}
upstreams: {{app: {{servers: ["http://127.0.0.1:1"]}}}}
schemes: {{web: {{type: session, format: native}}}}
login: {{scheme: web{login}}}
routes: [{{auth: web, upstream: app}}]
"""


@pytest.fixture
def load(tmp_path):
    """Return a function that reads a configuration."""

    def load(more="", login=""):
        text = TEXT.format(more=more, login=login).encode()
        return parse_config(text, file="f", base=tmp_path, checks=[], environment={}).config

    return load


def test_without_keys_there_are_no_one_time_passwords(load):
    """S10: a secret is never kept in the clear; with `secrets` there are."""
    store = open_store(StoreAddress(host="127.0.0.1", port=1), timeout_s=1)

    assert open_otp(load(), store) is None
    assert open_otp(load(f'secrets: {{key: "{KEY}"}}'), store) is not None


@pytest.mark.parametrize(
    ("login", "expected"),
    [
        ("", {"bits": 24, "has_agent": True}),
        (', sessions: {bind: {address: "/16", agent: false}}', {"bits": 16, "has_agent": False}),
        (", sessions: {bind: {address: none}}", {"bits": None, "has_agent": True}),
    ],
)
def test_a_session_is_bound_as_the_configuration_says(load, login, expected):
    """Where a factor was proved is where the session is bound to."""
    here = ("198.51.100.7", b"Fox/1")

    assert binder(load(login=login))(*here) == bind(*here, **expected)


def test_without_binding_a_session_is_bound_to_nothing(load):
    """`bind: none`."""
    assert binder(load(login=", sessions: {bind: none}"))("198.51.100.7", b"Fox") is None
