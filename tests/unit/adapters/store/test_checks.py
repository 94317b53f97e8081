"""What `check` finds in the stores of a configuration."""

from __future__ import annotations

import pytest

from proxy.adapters.store.checks import check_stores
from proxy.config.addresses import parse_store_url
from proxy.config.models import Config
from proxy.errors import Problem


def config(own: str, foreign: str | None = None) -> Config:
    """Make a configuration of which only the stores matter."""
    scheme = {
        "type": "session",
        "format": "json",
        "cookie": "sid",
        "prefix": "s:",
        "store": foreign,
        "identity": {"subject": "sub"},
    }
    return Config.model_validate(
        {
            "upstreams": {"u": {"servers": ["http://127.0.0.1:9"]}},
            "schemes": {"legacy": scheme} if foreign else {},
            "routes": [{"match": {"path": "/**"}, "auth": "none", "upstream": "u"}],
            "store": {"url": parse_store_url(own, None)},
        }
    )


@pytest.mark.parametrize("url", ["redis://h", "rediss://h", "unix:///run/s"])
def test_a_store_elsewhere_is_not_asked(url):
    """Nothing is connected to: a store that is down is no mistake of the file."""
    assert [] == list(check_stores(config(url)))


def test_an_embedded_store_that_is_not_there_yet_is_fine(tmp_path):
    """The directory is made when it is needed, and not by `check`."""
    assert [] == list(check_stores(config(f"embedded:{tmp_path}/store")))
    assert [] == list(tmp_path.iterdir())


def test_s11_a_directory_that_others_can_enter_is_told(tmp_path):
    """S11: the refusal that `serve` would give comes at check time, at its place."""
    tmp_path.chmod(0o755)
    [problem] = check_stores(config(f"embedded:{tmp_path}"))
    assert ("store", "url") == problem.path
    assert "chmod 700" in problem.message


def test_every_store_is_looked_at():
    """The stores of foreign sessions have sockets and certificates too."""
    problems = list(
        check_stores(
            config("rediss://h?ssl_ca_certs=/does/not/exist", "unix:///" + "a" * 200),
        )
    )
    assert [("store", "url"), ("schemes", "legacy", "store")] == [each.path for each in problems]
    assert isinstance(problems[0], Problem)
    assert "TLS" in problems[0].message
    assert "107" in problems[1].message
