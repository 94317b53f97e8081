from __future__ import annotations

import json

import pytest

from proxy.adapters.store import StoreAddress, open_store
from proxy.config.completion import complete
from proxy.config.models import Config
from proxy.services.compile import compile_reader
from proxy.services.inspection import Inspection
from proxy.services.schemes.foreign_formats import format_of

NOW = 1_800_000_000.0
ID = "0123456789abcdef0123456789abcdef"
STAR = {"format": "starsessions", "identity": {"subject": "user.id", "roles": "roles"}}


@pytest.fixture
async def inspect(valkey, tmp_path):
    """Return a function that inspects a cookie by a scheme's settings: labels with texts, verdict."""
    store = open_store(StoreAddress(socket_path=str(valkey.socket_path)), timeout_s=5)

    async def run(given, **settings):
        config = complete(Config(schemes={"app": {"type": "session", **settings}}), tmp_path)
        scheme = config.schemes["app"]
        reader = compile_reader(scheme.identity)
        inspection = Inspection("app", scheme, format_of(scheme), reader, store.look)
        steps = [step async for step in inspection.steps(given, NOW)]
        assert steps[-1].label == "verdict"
        return "\n".join(f"{step.label}: {step.text}" for step in steps)

    yield run
    await store.close()


@pytest.fixture
def admin(valkey):
    with valkey.client() as client:
        yield client


@pytest.mark.parametrize("form", ["{id}", "session={id}", "Cookie: a=b; session={id}; c=d"])
async def test_an_accepted_session_says_what_was_seen(inspect, admin, form):
    """A value or a header; every step, whom it names, and what else is in it by name and kind."""
    record = {"user": {"id": 42}, "roles": ["a"], "csrf": "hunter2-hunter2", "ok": True}
    admin.set(f"starsessions.{ID}", json.dumps(record), ex=60)
    told = await inspect(form.format(id=ID).encode(), **STAR)
    for line in (
        "user.id: a whole number",
        "csrf: a text of 15",
        "ok: true or false",
        "identity: subject 42; roles a",
        "verdict: accepted: scheme app, subject 42",
    ):
        assert line in told
    assert "lives 60 s more" in told
    assert ID not in told
    assert "hunter2" not in told


@pytest.mark.parametrize(
    ("given", "lines"),
    [
        (
            b"Cookie: a=1; b=2",
            ["no cookie is called session; there are: a, b", "credential_missing"],
        ),
        (b"session=x; session=y", ["twice with different values", "cookie_duplicate"]),
        (b"s%3A" + b"a" * 32 + b"." + b"b" * 43, ["format: express", "session_unknown"]),
        (b"eyJhbGciOiJI.eyJzdWIi.c2ln", ["scheme of `type: jwt`", "session_unknown"]),
        (
            ID.encode(),
            [
                "there is no such key",
                "is empty: this session and all others have ended",
                "session_unknown",
            ],
        ),
    ],
    ids=["missing", "twice", "express", "jwt", "unknown"],
)
async def test_a_refusal_says_where_it_went_wrong(inspect, given, lines):
    """The first step that fails ends it, with what it looks like instead."""
    told = await inspect(given, **STAR)
    for line in lines:
        assert line in told
    assert "verdict: not accepted: " in told
    assert given.decode()[-20:] not in told or b";" in given


async def test_a_wrong_secret_is_not_taken_for_a_wrong_format(inspect):
    """Where the value looks as the format says, its signature is what does not fit."""
    cookie = b"connect.sid=s%3A" + b"a" * 32 + b"." + b"b" * 43
    express = {"format": "express", "identity": {"subject": "user.id"}, "secrets": ["keyboard dog"]}
    told = await inspect(cookie, **express)
    assert (
        "looks like: express-session: s:<id>.<signature>: the format fits, so look at `secrets`"
        in told
    )
    assert "keyboard" not in told


async def test_a_wrong_prefix_is_told_by_what_is_there(inspect, admin):
    """What keys begin with is shown, and no id of a session."""
    for number in range(3):
        admin.set(f"shop:{number}{ID[1:]}", "x")
    admin.set(f"shop:{ID}:cart", "x")
    told = await inspect(ID.encode(), **STAR)
    assert "no key begins with the prefix; keys begin with: shop: (3), shop:…: (1)" in told
    assert ID[1:] not in told
    admin.set("starsessions.x", "x")
    assert "1 keys begin with the prefix: this session has ended" in await inspect(
        ID.encode(), **STAR
    )


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (b"{}", "nothing that names anybody at identity.subject (user.id)"),
        (b"\x80\x04.", "record cannot be read"),
        (b"x" * (1 << 20) + b"xx", "record of more than"),
        ([b"x"], "the key is a list, and a session is a string"),
    ],
    ids=["anonymous", "other bytes", "huge", "list"],
)
async def test_a_record_that_opens_nothing_says_why(inspect, admin, value, line):
    """What stands in the store is never shown."""
    key = f"starsessions.{ID}"
    admin.rpush(key, *value) if isinstance(value, list) else admin.set(key, value)
    told = await inspect(ID.encode(), **STAR)
    assert line in told
    assert "not accepted: session_unknown" in told


async def test_what_may_not_be_asked_is_told(inspect, admin):
    """A user who may not ask for a key's life, or its type, sees what that means."""
    admin.set(f"starsessions.{ID}", '{"user": {"id": "ada"}}')
    admin.execute_command("ACL", "SETUSER", "default", "-pttl", "-type")
    try:
        told = await inspect(ID.encode(), **STAR)
        admin.execute_command("ACL", "SETUSER", "default", "-getrange")
        refused = await inspect(ID.encode(), **STAR)
    finally:
        admin.execute_command("ACL", "SETUSER", "default", "+@all")
    assert "PTTL is refused (NOPERM)" in told
    assert "accepted: scheme app" in told
    assert "GETRANGE is refused: NOPERM" in refused


async def test_an_ended_session_that_is_still_there_is_over(inspect, admin):
    """The time that the application goes by is shown, and what it means."""
    name = "MDEyMzQ1NjctODlhYi1jZGVmLTAxMjMtNDU2Nzg5YWJjZGVm"
    principal = (
        "org.springframework.session.FindByIndexNameSessionRepository.PRINCIPAL_NAME_INDEX_NAME"
    )
    admin.hset(
        "spring:session:sessions:01234567-89ab-cdef-0123-456789abcdef",
        mapping={
            "lastAccessedTime": "1799990000000",
            "maxInactiveInterval": "1800",
            f"sessionAttr:{principal}": '"ada"',
        },
    )
    told = await inspect(name.encode(), format="spring", serializer="json")
    assert "takes it for over since 2027-01-15T05:43:20+00:00" in told
    assert "not accepted: session_expired" in told
