from __future__ import annotations

import json

STREAM = "latchgate:audit"


def test_the_trail_is_shown_a_line_an_event(gate, valkey):
    """Each event is one line with when, what, who, from where and by what."""
    with valkey.client() as client:
        fields = {"kind": "login", "at": "1800000000.5", "subject": "alice", "address": "10.0.0.1"}
        client.xadd(STREAM, {**fields, "agent": "curl/8", "detail": "by password"})
    result = gate.run("audit")

    assert 0 == result.exit_code
    assert result.stdout.endswith(
        '  login             alice  from 10.0.0.1  "curl/8"  (by password)\n'
    )


def test_json_is_one_object_a_line(gate, valkey):
    """Programs read a stream line by line; what an event does not say is null."""
    with valkey.client() as client:
        for number in range(3):
            client.xadd(
                STREAM, {"kind": "logout", "at": "1", "subject": str(number)}, f"1-{number}"
            )
    lines = gate.run("audit", "--json", "--last", "2").stdout.splitlines()

    assert ["1", "2"] == [json.loads(line)["subject"] for line in lines]
    assert {
        "id": "1-2",
        "at": 1.0,
        "kind": "logout",
        "subject": "2",
        "address": None,
        "agent": None,
        "request_id": None,
        "detail": None,
    } == json.loads(lines[-1])


def test_s15_a_planted_entry_cannot_move_the_cursor(gate, valkey):
    """S15: whoever writes to the store does not write to the terminal."""
    with valkey.client() as client:
        client.xadd(STREAM, {"kind": "login\x1b[2J", "subject": "a\nb\u202e", "at": "x"})
    out = gate.run("audit").stdout

    assert 1 == out.count("\n")
    assert r"login\x1b[2J" in out
    assert r"a\x0ab\u202e" in out


def test_an_empty_trail_is_no_mistake(gate):
    """A gate to which nothing has happened yet shows nothing."""
    result = gate.run("audit")

    assert (0, "") == (result.exit_code, result.stdout)
