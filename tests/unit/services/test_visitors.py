"""Who asks for one of the gate's own endpoints."""

from __future__ import annotations

from proxy.model import Identity
from proxy.services.visitors import told


def test_people_are_told_what_the_gate_knows_of_them():
    """Only what is theirs to know, in types that JSON has; claims are the applications' business."""
    identity = Identity(
        "local",
        "ada",
        "web",
        email="ada@example.com",
        roles=("a",),
        claims={"secret": 1},
        expires_at=20.9,
        auth_time=10.5,
        amr=("pwd",),
    )
    assert {
        "subject": "ada",
        "email": "ada@example.com",
        "name": None,
        "roles": ["a"],
        "scopes": [],
        "auth_time": 10,
        "amr": ["pwd"],
        "expires_at": 20,
    } == told(identity)
