from __future__ import annotations

import json

import pytest

from proxy.run import messages
from proxy.run.channel import ChannelError
from proxy.run.messages import Boot

BOOT = Boot(
    worker=1,
    gate_id="gate",
    text="server: {}",
    file="latchgate.yaml",
    base="/etc/latchgate",
    sockets=[5, 6],
    own_addresses=[["127.0.0.1", 8080], "/run/gate.sock"],
    store={"socket_path": "/s", "password": "hunter2"},
    keys={"api": {"jwks": "{}"}},
    revocations=["6f75", 1.5],
)


def test_a_boot_message_survives_the_channel():
    """What is sent as JSON is read as what it was."""
    assert BOOT == Boot.from_message(json.loads(json.dumps(BOOT.to_message())))


def test_s15_a_boot_message_hides_what_is_secret():
    """S15: neither the password of the store nor the configuration's text shows in `repr`."""
    assert "hunter2" not in repr(BOOT)
    assert "server" not in repr(BOOT)


@pytest.mark.parametrize(
    "message", [None, {"kind": "ready"}, {"kind": "boot"}, {"kind": "boot", "later": 1}]
)
def test_what_is_no_boot_message_is_refused(message):
    """A worker serves nothing that it does not understand."""
    with pytest.raises(ChannelError):
        Boot.from_message(message)


def test_every_message_has_a_kind():
    """The kinds are those of the table in the module."""
    made = [
        BOOT.to_message(),
        messages.keys("api", "whose", {}),
        messages.drain(3.0),
        messages.ready(),
        messages.failed("because"),
        messages.keys_wanted("api", "kid"),
        messages.count(),
        messages.counts({("latchgate_ready", ()): [1]}),
        messages.prepare(1, BOOT),
        messages.commit(1),
        messages.abort(1),
        messages.prepared(1, None),
        messages.committed(1),
    ]
    kinds = [message["kind"] for message in made]
    expected = [
        *("boot", "keys", "drain", "ready", "failed", "keys_wanted", "count", "counts"),
        *("prepare", "commit", "abort", "prepared", "committed"),
    ]
    assert expected == kinds
    assert messages.__doc__ is not None
    assert all(f"`{kind}`" in messages.__doc__ for kind in kinds)
