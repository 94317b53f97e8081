"""What the process for passwords is asked, and what it answers."""

from __future__ import annotations

import io

import pytest

from proxy.adapters import password_process
from proxy.adapters.hashing import hasher, is_right
from proxy.adapters.password_process import answer, asked, serve

CHEAP = (64, 1, 1)


def test_a_line_is_answered():
    """Right, wrong, and anew with the salt that is told."""
    known = hasher(CHEAP).hash("secret")

    assert b"yes" == answer(asked(known, b"secret"))
    assert b"no" == answer(asked(known, b"Secret"))
    assert b"no" == answer(asked("no hash", b"secret"))
    anew = answer(asked(known, b"secret", b"s" * 16)).decode()
    assert is_right(anew, b"secret")


@pytest.mark.parametrize("password", [b"", b"\n", b"a\nb", b"\xff\x00", "비밀".encode()])
def test_one_line_is_one_password(password):
    """Whatever a password holds, it ends no line."""
    known = hasher(CHEAP).hash(password)
    lines = asked(known, password) + asked(known, b"other")
    sink = io.BytesIO()
    serve(io.BytesIO(lines), sink)

    assert b"yes\nno\n" == sink.getvalue()


def test_it_knows_little():
    """It imports no more of the gate than it needs: its memory stands beside that of each worker."""
    assert "PasswordHash" not in vars(password_process)
