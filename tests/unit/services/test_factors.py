"""What a configuration switches on of the second factor."""

from __future__ import annotations

import pytest

from proxy.adapters.store import StoreAddress, open_store
from proxy.config.loader import parse_config
from proxy.services.factors import open_otp

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
