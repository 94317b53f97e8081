"""What the access log says of Host and target."""

from __future__ import annotations

import pytest

from proxy.edge.logged import logged_host, logged_path
from proxy.model import Peer, RequestView

PEER = Peer(None, None, is_unix=True, is_tls=False)


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/a/b?token=secret", "/a/b"),
        (b"/a#secret", "/a"),
        (b"*", "*"),
        (b"http://gate/a?b", "/a"),
        (b"http://user:secret@gate/a", "/a"),
        (b"HTTPS://user:secret@gate", ""),
        (b"http://user:secret@gate?secret", ""),
        (b"http://user:secret@gate#/secret", ""),
        (b"ftp://user:secret@gate/a", "/a"),
        (b"http:///user:secret@gate", ""),
        (b"http:user:secret@gate/a", ""),
        (b"user:secret@gate:443", ""),
        (b"/\xe9", "/\\xe9"),
    ],
)
def test_s15_a_target_is_logged_without_authority_and_query(target, path):
    """S15: neither a password nor a query reaches the log, whatever the target's form."""
    assert logged_path(target) == path


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        (b"Gate.example:8080", "Gate.example:8080"),
        (b"[::1]:80", "[::1]:80"),
        (b"a/ forward [admin] web:root", ""),
        (b"user:secret@gate", ""),
        (b"\xff", ""),
        (b"", ""),
    ],
)
def test_s15_a_host_is_logged_only_where_it_is_one(host, shown):
    """S15: a Host cannot look like the fields of a line."""
    view = RequestView("GET", b"/", ((b"Host", host),), PEER, (1, 1))

    assert logged_host(view) == shown
