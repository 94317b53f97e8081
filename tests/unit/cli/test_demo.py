"""`latchgate demo`: what it makes for its two people."""

from __future__ import annotations

import stat

from proxy.cli.demo import PEOPLE, person
from proxy.config.user_models import read_users


def test_nobodys_password_is_the_same_twice(tmp_path):
    """Passwords are made at each start; the gate's file has their hashes, for its owner alone."""
    made = [person(tmp_path, *who) for who in PEOPLE] + [person(tmp_path, *PEOPLE[0])]
    file = tmp_path / "users.yaml"

    assert 3 == len({one.password for one in made})
    assert all(len(one.password) >= 12 for one in made)
    assert not any(one.password in file.read_text() for one in made)
    assert 0o600 == stat.S_IMODE(file.stat().st_mode)
    assert ["admin", "customer"] == sorted(
        role for user in read_users(file).users.values() for role in user.roles
    )
