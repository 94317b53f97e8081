from __future__ import annotations

import time

from tests.unit.cli.test_token import inspect, mint


def test_rotate_publishes_a_key_that_waits(gate):
    """The new key is published at once and signs a quarter of an hour later; the old one has its end."""
    token = mint(gate)["token"]
    (first,) = gate.json("keys", "list")
    (made,) = gate.json("keys", "rotate")
    old, new = gate.json("keys", "list")

    assert ("token", "EdDSA", "signs", None) == (
        first["purpose"],
        first["algorithm"],
        first["state"],
        first["ends_at"],
    )
    assert (first["kid"], "signs") == (old["kid"], old["state"])
    assert made == new
    assert "waits" == new["state"]
    assert 890 < new["signs_from"] - time.time() <= 900
    assert old["ends_at"] > new["signs_from"] + 86_400
    assert old["kid"] == inspect(gate, mint(gate)["token"])["header"]["kid"]
    assert inspect(gate, token)["valid"]


def test_rotating_twice_is_rotating_once(gate):
    """A key that waits is the one to come: another would only cut its time short."""
    mint(gate)
    first = gate.json("keys", "rotate")

    assert first == gate.json("keys", "rotate")
    assert 2 == len(gate.json("keys", "list"))


def test_the_words_for_people(gate):
    """A table, and a line for each key that is to come; nothing of a key is secret in them."""
    listed, rotated = gate.run("keys", "list"), gate.run("keys", "rotate")

    assert 0 == listed.exit_code == rotated.exit_code
    assert "SIGNS FROM" in listed.stdout
    assert "is published, and signs from" in rotated.stdout


def test_a_gate_that_signs_nothing_has_no_keys(latchgate, valkey):
    """Status 2 and a sentence."""
    latchgate.write(f"""
store: {{url: "{valkey.url}"}}
upstreams: {{app: {{servers: ["http://127.0.0.1:1"]}}}}
schemes: {{web: {{type: session, format: native}}}}
routes: [{{match: {{path: /**}}, auth: web, upstream: app}}]
""")
    result = latchgate.run("keys", "list")

    assert 2 == result.exit_code
    assert "nothing in this configuration is signed" in result.stderr
