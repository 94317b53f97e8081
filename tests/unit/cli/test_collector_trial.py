"""What `check --connect` says of a collector of traces."""

from __future__ import annotations

import socket

import pytest
from cryptography.x509 import DNSName

from proxy.cli.connecting import connect_all
from proxy.config.models import Config
from proxy.edge.tls import server_context
from tests.certificates import Authority
from tests.collector import collecting


async def found(endpoint, **more):
    """Return the finding about a collector."""
    tracing = {"endpoint": endpoint, "headers": {"Authorization": "Bearer x"}, **more}
    config = Config.model_validate({"upstreams": {}, "routes": [], "tracing": tracing})
    (finding,) = await connect_all(config)
    assert ("collector", endpoint) == (finding.kind, finding.name)
    return finding.is_good, finding.text


@pytest.mark.parametrize(
    ("status", "expected"),
    [(200, (True, "takes spans")), (401, (False, "answers 401")), (302, (False, "answers 302"))],
    ids=["good", "credentials", "elsewhere"],
)
async def test_a_collector_is_asked_as_it_would_be(status, expected):
    """With the headers that it wants, and none of them is sent on to somewhere else."""
    async with collecting() as collector:
        collector.status = status
        assert expected == await found(collector.endpoint)
        assert ["Bearer x"] == [headers["authorization"] for headers in collector.headers]
        assert [] == collector.spans


async def test_a_collector_that_is_not_there_is_said_not_to_be():
    """In the words of the system."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    is_good, text = await found(f"http://127.0.0.1:{port}/v1/traces")

    assert not is_good
    assert "refused" in text.lower()


async def test_a_collector_is_believed_by_its_certificate(tmp_path):
    """One that `ca` has not signed is not sent a credential."""
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    pair = authority.issue("collector", "collector", DNSName("localhost"))
    async with collecting(server_context(*pair)) as collector:
        endpoint = f"https://localhost:{collector.port}/v1/traces"
        assert (True, "takes spans") == await found(endpoint, ca=str(authority.file))
        is_good, text = await found(endpoint, ca=str(stranger.file))
        assert 1 == len(collector.headers)

    assert not is_good
    assert "certificate" in text
