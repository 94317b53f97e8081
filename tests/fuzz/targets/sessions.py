"""Session records: somebody, or absent, whatever stands in the store.

Input: `n` or `j`, the record, and behind a NUL what the store holds under the `seen` key.
"""

from __future__ import annotations

from proxy.core.formats import json as foreign
from proxy.core.formats import native
from proxy.core.identity import IdentityPlan, IdentityRefused
from proxy.core.mapping import compile_mapping
from proxy.model import Absent, Identity

READERS = (
    compile_mapping(subject="user.id", email="m", name="{n}-{o}", roles="r", scopes="s"),
    compile_mapping(subject="{a}|{b.c}", email=None, name="n", roles="{r}", scopes="a.b"),
)

PLAN = IdentityPlan({"X-Shop-Tenant": "{tenant}", "X-Shop-All": "{sub}/{roles}"}, "remote-user")

WORDS = (
    *(b'"v":1', b'"sub"', b'"created_at"', b'"expires_at"', b'"auth_time"', b'"amr"', b'"ver"'),
    *(b'"email"', b'"name"', b'"roles"', b'"scopes"', b'"claims"', b'"address"', b'"agent"'),
    *(b'"user"', b'"id"', b'"m"', b'"n"', b'"o"', b'"r"', b'"s"', b'"a"', b'"b"', b'"c"'),
    *(b"{", b"}", b"[", b"]", b",", b":", b'""', b"null", b"true", b"NaN", b"Infinity", b"1e999"),
    *(b"2000", b"-1", b"0.5", b"9" * 25, b"\\u0000", b"\\ud800", b"\\n", b"\xff", b"\xc2\x80"),
    *(
        b"[" * 70,
        b'{"a":' * 20,
        b"\x00",
        b"\x001900",
        b"\x00nan",
        b"\x001e400",
        b" ",
        b"O:4:",
        b"!!",
    ),
)


def one_input(data: bytes) -> None:
    """Decode one record."""
    record, _, seen = data[1:].partition(b"\x00")
    if data[:1] == b"n":
        outcomes = [_native(record, seen)]
    else:
        outcomes = [foreign.decode(record, reader, scheme="legacy") for reader in READERS]
    for outcome in outcomes:
        assert isinstance(outcome, Identity | Absent)
        if isinstance(outcome, Identity):
            _check_identity(outcome)


def _native(record: bytes, seen: bytes) -> Identity | Absent:
    session = native.read(record)
    if isinstance(session, native.NativeSession):
        again = native.read(native.encode(session))
        assert again == session, "what was read can be written, and is read alike"
    return native.decode(
        record,
        seen or None,
        now=2000.0,
        idle_timeout=1800.0,
        lifetime=43200.0,
        scheme="web",
        origin="local",
    )


def _check_identity(identity: Identity) -> None:
    assert identity.subject.strip()
    told = (identity.subject, identity.email or "", identity.name or "", *identity.roles)
    assert all(isinstance(text, str) for text in told)
    try:
        headers = PLAN.render(identity)
    except IdentityRefused:
        return
    for name, value in headers:
        assert all(0x20 <= byte < 0x7F for byte in name + value)
        assert value == value.strip()
