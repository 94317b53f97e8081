"""What of a configuration a reload cannot change."""

from __future__ import annotations

import pytest

from proxy.run.restarts import needs_restart
from proxy.services.runtime import load

BEFORE = """
server: {listen: "127.0.0.1:1", workers: 1}
log: {format: json}
store: {url: "embedded:state"}
upstreams: {app: {servers: ["http://127.0.0.1:9"]}}
routes: [{match: {path: /**}, auth: none, upstream: app}]
"""
FIXED = {
    "server.listen": ('127.0.0.1:1"', '127.0.0.1:2"'),
    "server.workers": ("workers: 1", "workers: 2"),
    "server.id": ("workers: 1", "workers: 1, id: other"),
    "log": ("format: json", "format: console"),
    "health.listen": ("log:", "health: none\nlog:"),
    "store.url": ("embedded:state", "embedded:other"),
}


@pytest.mark.parametrize("key", FIXED)
def test_what_is_bound_or_running_needs_a_restart(tmp_path, key):
    """Each is named, and nothing else is."""
    old, new = FIXED[key]
    assert old in BEFORE
    configs = []
    for name, text in (("a", BEFORE), ("b", BEFORE.replace(old, new, 1))):
        path = tmp_path / f"{name}.yaml"
        path.write_text(text)
        configs.append(load(path).config)
    assert needs_restart(*configs) == [key]
    assert needs_restart(configs[0], configs[0]) == []
