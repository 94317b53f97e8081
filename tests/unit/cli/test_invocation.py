from __future__ import annotations

import sys
from pathlib import Path

import pytest

from proxy.cli.invocation import curl, program_anywhere, reachable, shown_program, url_of
from proxy.config.addresses import Address


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("0.0.0.0", "127.0.0.1"),
        ("::", "::1"),
        ("192.0.2.1", "192.0.2.1"),
        ("localhost", "localhost"),
    ],
)
def test_every_address_includes_loopback(host, expected):
    """A listener on all addresses is asked on this machine's own."""
    assert expected == reachable(host)


def test_curl_reaches_every_kind_of_listener():
    """TCP by URL, IPv6 in brackets, a unix socket by its path."""
    assert "http://[::1]:80" == url_of(Address("::", 80))
    assert "curl -i http://127.0.0.1:80/" == curl(Address("0.0.0.0", 80))
    expected = "curl -i --unix-socket '/a b' -H 'A: b' http://localhost/c"
    assert expected == curl(Address("", 0, Path("/a b")), "/c", header="'A: b'")


def test_the_program_is_called_as_it_was_called(tmp_path, monkeypatch):
    """By its name where the shell finds it, by its path elsewhere, as a module where it was one."""
    program = tmp_path / "bin" / "latchgate"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(program)])
    monkeypatch.setenv("PATH", str(tmp_path))
    assert str(program) == shown_program()
    monkeypatch.chdir(tmp_path)
    assert "bin/latchgate" == shown_program()
    monkeypatch.setenv("PATH", str(program.parent))
    assert "latchgate" == shown_program()
    monkeypatch.setattr(sys, "argv", ["/x/proxy/__main__.py"])
    assert f"{sys.executable} -P -m proxy" == shown_program()


@pytest.mark.parametrize("called", ["bin/latchgate", "./bin/latchgate", "/usr/bin/latchgate"])
def test_another_terminal_needs_the_whole_path(tmp_path, monkeypatch, called):
    """Its directory and its PATH may be others: never a relative path, never the bare name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [called])
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin")
    assert str(tmp_path / called) == program_anywhere()
    monkeypatch.setattr(sys, "argv", ["/x/proxy/__main__.py"])
    assert f"{sys.executable} -P -m proxy" == program_anywhere()
