from __future__ import annotations

import base64
import json
from math import inf

import pytest

from proxy.core.formats.refusal import BadSession
from proxy.core.formats.spring import (
    PRINCIPAL_NAME,
    SECURITY_CONTEXT,
    fields_of,
    read_session,
    session_id,
)

UUID = "33fdd1b6-b496-4b33-9f7d-df96679d32fe"
ACCESSED, INTERVAL = "lastAccessedTime", "maxInactiveInterval"
NAME = f"sessionAttr:{PRINCIPAL_NAME}"
CONTEXT = f"sessionAttr:{SECURITY_CONTEXT}"


def read(serializer="json", **fields):
    """Read a session of 30 minutes that was used at 4102444740 (s)."""
    times = {ACCESSED: 4102444740000, INTERVAL: 1800}
    written = {name: value for name, value in (times | fields).items() if value is not ...}
    raw = {
        name: value if isinstance(value, bytes | None) else json.dumps(value).encode()
        for name, value in written.items()
    }
    return read_session(raw, serializer, max_bytes=1 << 20)


def context(**authentication):
    """Return a security context as Spring Security's Jackson modules write one."""
    return {
        "@class": "org.springframework.security.core.context.SecurityContextImpl",
        "authentication": {
            "@class": "….UsernamePasswordAuthenticationToken",
            "authenticated": True,
            "authorities": [
                "java.util.Collections$UnmodifiableRandomAccessList",
                [{"@class": "….SimpleGrantedAuthority", "authority": "ROLE_USER"}],
            ],
            "principal": {"@class": "….User", "username": "alice"},
        }
        | authentication,
    }


def test_a_session_says_whose_it_is_and_how_long():
    """The name that the application has set; it lives from its last use on, not by its key."""
    session = read(**{NAME: "alice", "sessionAttr:theme": "dark"})

    assert 4102444740 + 1800 == session.ends_at
    assert {PRINCIPAL_NAME: "alice", "principal": "alice", "theme": "dark"} == session.members


def test_a_context_says_whose_session_it_is():
    """A principal's name, and the names of the authorities without those of their classes."""
    members = read(**{CONTEXT: context()}).members
    assert ("alice", ["ROLE_USER"]) == (members["principal"], members["authorities"])

    members = read(**{CONTEXT: context(principal="bob")}).members
    assert "bob" == members["principal"]


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {NAME: None},
        {NAME: b""},
        {NAME: ["alice"]},
        {CONTEXT: None},
        {CONTEXT: []},
        {CONTEXT: context(authenticated=False)},
        {CONTEXT: context(authenticated="true")},
        {CONTEXT: context(principal=None)},
        {CONTEXT: context(principal={"name": "alice"})},
        {CONTEXT: context(**{"@class": "a.b.AnonymousAuthenticationToken"})},
        {CONTEXT: context(authenticated=False), NAME: "alice"},
        {"sessionAttr:principal": "mallory"},
    ],
    ids=str,
)
def test_who_is_not_signed_in_is_nobody(attributes):
    """No name, or a context that is not authenticated: no principal, and no context either."""
    members = read(**attributes).members

    assert "principal" not in members
    assert members.get(SECURITY_CONTEXT, context()) != context(authenticated=False)


@pytest.mark.parametrize(
    ("interval", "ends_at"),
    [(0, 0.0), (-1, inf), (1, 4102444741.0), (["java.lang.Integer", 5], 4102444745.0)],
)
def test_the_interval_decides(interval, ends_at):
    """0 is what a logout leaves behind for 300 s; a negative one never ends."""
    assert ends_at == read(**{INTERVAL: interval}).ends_at


def test_a_session_of_no_fields_is_none():
    """A hash that is not there has none of its fields."""
    assert read_session(dict.fromkeys(fields_of("jdk")), "jdk", max_bytes=9) is None


@pytest.mark.parametrize(
    "fields",
    [
        {ACCESSED: ...},
        {INTERVAL: None},
        {INTERVAL: "1800"},
        {INTERVAL: True},
        {ACCESSED: 1.5},
        {ACCESSED: b"\xac\xed\x00\x05p"},
        {NAME: b"{"},
        {NAME: b"[" * 100},
        {NAME: b'"' + b"x" * (1 << 20) + b'"'},
    ],
    ids=lambda fields: str(fields)[:60],
)
def test_what_cannot_be_read_is_refused(fields):
    """Half a session, another serializer, a hostile field: refused (S12)."""
    with pytest.raises(BadSession):
        read(**fields)


def java_number(name, uid, letter, raw):
    """Serialize a number as Java does."""
    fields = f"{letter}\x00\x05value".encode()
    number = b"xr\x00\x10java.lang.Number\x86\xac\x95\x1d\x0b\x94\xe0\x8b\x02\x00\x00xp"
    head = b"\xac\xed\x00\x05sr\x00" + bytes((len(name),)) + name.encode()
    return head + bytes.fromhex(uid) + b"\x02\x00\x01" + fields + number + raw


LONG = java_number("java.lang.Long", "3b8be490cc8f23df", "J", (4102444740000).to_bytes(8, "big"))
INTEGER = java_number("java.lang.Integer", "12e2a0a4f7818738", "I", (1800).to_bytes(4, "big"))


def test_java_objects_are_refused():
    """With Java's own serialization texts are read, and no object of another class."""
    times = {ACCESSED: LONG, INTERVAL: INTEGER}
    session = read("jdk", **times, **{NAME: b"\xac\xed\x00\x05t\x00\x05alice"})
    assert ("alice", 4102444740 + 1800) == (session.members["principal"], session.ends_at)

    with pytest.raises(BadSession, match="an object of Java"):
        read("jdk", **times, **{NAME: b"\xac\xed\x00\x05sr\x00\x11java.util.HashMap"})


def test_ids_are_uuids():
    """In base64 or bare, without the route; a `:` would reach `expires:<id>` (S12)."""
    encoded = base64.b64encode(UUID.encode())
    assert UUID == session_id(encoded, is_base64=True)
    assert UUID == session_id(UUID.encode(), is_base64=False)
    assert UUID == session_id(UUID.encode() + b".node1", is_base64=False, route=b".node1")
    for value in (b"", UUID.encode(), b"expires:" + UUID.encode(), encoded[:-4], encoded + b"="):
        assert session_id(value, is_base64=True) is None
    for text in ("expires:" + UUID, UUID.upper(), UUID[:-1], "x" * 36, UUID + "\n"):
        assert session_id(base64.b64encode(text.encode()), is_base64=True) is None
        assert session_id(text.encode(), is_base64=False) is None


def test_only_what_is_needed_is_asked_for():
    """The times, the name, with JSON the context, and what the configuration adds."""
    assert (ACCESSED, INTERVAL, NAME) == fields_of("jdk")
    assert (ACCESSED, INTERVAL, NAME, CONTEXT, "sessionAttr:x") == fields_of("json", ("x",))
