"""Session records: somebody, or absent, whatever stands in the store.

Input: a letter for the format, then the record; with `n` (native) and `j` (json) behind a NUL
what the store holds under the `seen` key. The other letters stand in `FOREIGN`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from proxy.core.formats import (
    aiohttp_session,
    better_auth,
    django,
    express,
    java_values,
    laravel,
    native,
    php,
    rails,
    spring,
    starsessions,
)
from proxy.core.formats.json import session_format
from proxy.core.formats.port import open_record
from proxy.core.formats.refusal import BadSession
from proxy.core.identity import IdentityPlan, IdentityRefused
from proxy.core.mapping import compile_mapping
from proxy.model import Absent, Identity

READERS = (
    compile_mapping(subject="user.id", email="m", name="{n}-{o}", roles="r", scopes="s"),
    compile_mapping(subject="{a}|{b.c}", email=None, name="n", roles="{r}", scopes="a.b"),
)

JSON = session_format("sess:")
BOUND = 4096
TOKEN = "6QH1jdV2PDgU3SUK3DDn7GCpgva90Ju7"


def _spring(record: bytes, serializer: spring.Serializer) -> Mapping[str, Any]:
    """Read a hash whose fields stand one behind the other, with NULs between them."""
    asked = spring.fields_of(serializer, ("x",))
    values = record.split(b"\x00\x00")
    session = spring.read_session(
        dict(zip(asked, values, strict=False)), serializer, max_bytes=BOUND
    )
    return {} if session is None else session.members


def _java(record: bytes) -> Mapping[str, Any]:
    try:
        return {"a": java_values.read(record)}
    except java_values.BadJava as bad:
        raise BadSession(str(bad)) from None


FOREIGN: dict[bytes, Callable[[bytes], Mapping[str, Any]]] = {
    b"e": lambda record: express.read_session(record, "express", max_bytes=BOUND)[0],
    b"f": lambda record: express.read_session(record, "fastify", max_bytes=BOUND)[0],
    b"k": lambda record: django.read_session(record, "pickle", "none", max_bytes=BOUND),
    b"m": lambda record: django.read_session(record, "msgpack", "none", max_bytes=BOUND),
    b"z": lambda record: django.read_session(record, "pickle", "zlib", max_bytes=BOUND),
    b"g": lambda record: django.read_session(record, "json", "gzip", max_bytes=BOUND),
    b"x": lambda record: django.read_session(record, "json", "lzma", max_bytes=BOUND),
    b"y": lambda record: django.read_session(record, "json", "zstd", max_bytes=BOUND),
    b"4": lambda record: django.read_session(record, "json", "lz4", max_bytes=BOUND),
    b"p": lambda record: php.read_session(record, "php", max_bytes=BOUND),
    b"s": lambda record: php.read_session(record, "php_serialize", max_bytes=BOUND),
    b"b": lambda record: php.read_session(record, "php_binary", max_bytes=BOUND),
    b"l": lambda record: laravel.read_session(record, "php", max_bytes=BOUND),
    b"L": lambda record: laravel.read_session(
        record, "json", max_bytes=BOUND, keys=(b"k" * 32,), cipher="AES-256-CBC"
    ),
    b"J": lambda record: _spring(record, "json"),
    b"D": lambda record: _spring(record, "jdk"),
    b"v": _java,
    b"a": lambda record: aiohttp_session.read_session(record, max_age=60, max_bytes=BOUND)[0],
    b"t": lambda record: starsessions.read_session(record, max_bytes=BOUND),
    b"r": lambda record: rails.read_session(record, max_bytes=BOUND),
    b"B": lambda record: better_auth.read_session(record, TOKEN, max_bytes=BOUND).members,
}

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
    *(b"a:1:{i:0;", b'O:1:"A":1:{', b'E:3:"A:B";', b'C:1:"A":0:{}', b"R:1;", b"r:2;", b"N;", b"}"),
    *(
        b"\xac\xed\x00\x05t",
        b"\xac\xed\x00\x05sr",
        b"\x00\x00",
        b"\x04\x08",
        b"2026-11-23T08:55:30Z",
    ),
)


def one_input(data: bytes) -> None:
    """Decode one record."""
    read = FOREIGN.get(data[:1])
    if read is not None:
        _check_foreign(read, data[1:])
        return
    record, _, seen = data[1:].partition(b"\x00")
    if data[:1] == b"n":
        outcomes = [_native(record, seen)]
    else:
        outcomes = [
            open_record(JSON, record, "abc", reader, scheme="legacy")[0] for reader in READERS
        ]
    for outcome in outcomes:
        assert isinstance(outcome, Identity | Absent)
        if isinstance(outcome, Identity):
            _check_identity(outcome)


def _check_foreign(read: Callable[[bytes], Mapping[str, Any]], record: bytes) -> None:
    """Members or a refusal; what members say is bounded and can be written as JSON."""
    try:
        members = read(record)
    except BadSession:
        return
    assert len(json.dumps(members, allow_nan=False)) < 64 * BOUND
    for reader in READERS:
        subject = reader.subject(members)
        assert subject is None or isinstance(subject, str)


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
