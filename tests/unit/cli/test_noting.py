from __future__ import annotations

import json


def test_what_commands_end_and_revoke_is_noted(gate):
    """The trail says whose session or token it was, and that it happened on the command line."""
    made = gate.json("session", "new", "--subject", "alice")
    gate.json("session", "new", "--subject", "bob")
    gate.json("session", "revoke", made["id"])
    gate.json("session", "revoke", "--subject", "bob")
    gate.json("session", "revoke", "--all")
    gate.json("token", "revoke", "--subject", "bob")
    assert 1 == gate.run("session", "revoke", made["id"]).exit_code
    noted = [json.loads(line) for line in gate.run("audit", "--json").stdout.splitlines()]
    issuer = "https://shop.example.com"

    assert [
        ("login", "alice", "on the command line"),
        ("login", "bob", "on the command line"),
        ("session_ended", "alice", f"{made['id'][:8]}, on the command line"),
        ("session_ended", "bob", "all 1, on the command line"),
        ("session_ended", None, "all 0 of everybody, on the command line"),
        (
            *("token_revoked", "bob"),
            f"every token of bob of {issuer} issued until now, on the command line",
        ),
    ] == [(event["kind"], event["subject"], event["detail"]) for event in noted]
