from __future__ import annotations

import re

import pytest


def make(gate, *options: str) -> dict:
    """Make a session and return what is printed."""
    return gate.json("session", "new", "--subject", "alice", *options)


def test_new_prints_the_documented_object(gate):
    """reference.md §3: cookie, id, subject and expires_at, and nothing else."""
    made = make(gate)
    assert {"cookie", "id", "subject", "expires_at"} == set(made)
    assert re.fullmatch(r"__Host-sid=[A-Za-z0-9_-]{43}", made["cookie"])
    assert re.fullmatch(r"[0-9a-f]{64}", made["id"])
    assert "alice" == made["subject"]
    assert isinstance(made["expires_at"], int)


def test_show_says_what_was_given(gate):
    """Roles, scopes, e-mail, name and claims arrive in the record."""
    made = make(
        gate,
        *("--role", "admin", "--role", "user", "--scope", "a:b", "--email", "a@example.com"),
        *("--name", "Alice", "--claim", "tenant=acme", "--claim", "level=3"),
    )
    shown = gate.json("session", "show", made["id"])
    assert ["admin", "user"] == shown["roles"]
    assert ["a:b"] == shown["scopes"]
    assert ("a@example.com", "Alice") == (shown["email"], shown["name"])
    assert {"tenant": "acme", "level": 3} == shown["claims"]
    text = gate.run("session", "show", made["id"]).stdout
    assert "admin, user" in text


def test_s10_no_command_but_new_ever_shows_the_cookie(gate):
    """S10: the store has its digest, and so have lists."""
    value = make(gate)["cookie"].partition("=")[2]
    identifier = gate.json("session", "list")[0]["id"]
    for arguments in (
        ["list"],
        ["list", "--json"],
        ["show", identifier],
        ["show", identifier, "--json"],
    ):
        assert value not in gate.run("session", *arguments).output


def test_list_has_the_documented_members(gate):
    """reference.md §3: an array of id, subject, created_at, last_seen, address and agent."""
    make(gate)
    gate.json("session", "new", "--subject", "bob")
    everybody = gate.json("session", "list")
    assert {"alice", "bob"} == {item["subject"] for item in everybody}
    (alice,) = gate.json("session", "list", "--subject", "alice")
    assert {"id", "subject", "created_at", "last_seen", "address", "agent"} == set(alice)
    assert "bob" in gate.run("session", "list").stdout


def test_a_session_ends_by_id_by_subject_or_with_all(gate):
    """What is ended is gone, and nothing else."""
    first, _, _ = make(gate), make(gate), gate.json("session", "new", "--subject", "bob")
    assert {"revoked": 1} == gate.json("session", "revoke", first["id"])
    assert 1 == gate.run("session", "show", first["id"]).exit_code
    assert {"revoked": 1} == gate.json("session", "revoke", "--subject", "alice")
    assert ["bob"] == [item["subject"] for item in gate.json("session", "list")]
    assert {"revoked": 1} == gate.json("session", "revoke", "--all")
    assert [] == gate.json("session", "list")
    assert {"revoked": 0} == gate.json("session", "revoke", "--all")


@pytest.mark.parametrize(
    "arguments",
    [["show", "0" * 64], ["show", "x"], ["revoke", "0" * 64], ["revoke", "--subject", "nobody"]],
)
def test_what_is_not_there_is_status_1(gate, arguments):
    """A mistyped name must not look like success."""
    result = gate.run("session", *arguments)
    assert (1, "latchgate: there is no such session\n") == (result.exit_code, result.stderr)


@pytest.mark.parametrize(
    "arguments",
    [
        ["revoke"],
        ["revoke", "0" * 64, "--all"],
        ["revoke", "--subject", "a", "--all"],
        ["new", "--subject", ""],
        ["new", "--subject", "a", "--claim", "novalue"],
        ["new", "--subject", "a", "--claim", "a=1", "--claim", "a=2"],
        ["new", "--subject", "a", "--scheme", "other"],
    ],
)
def test_what_makes_no_sense_is_status_2(gate, arguments):
    """Nothing is made and nothing is ended."""
    assert 2 == gate.run("session", *arguments).exit_code
    assert [] == gate.json("session", "list")


def test_a_store_out_of_reach_is_status_3(gate):
    """reference.md §3, and the reason has no password in it."""
    gate.write(gate.file.read_text().replace("unix://", "unix:///nowhere/"))
    result = gate.run("session", "list")
    assert 3 == result.exit_code
    assert result.stderr.startswith("latchgate: the store is out of reach: ")


def test_s15_a_hostile_record_does_not_move_the_cursor(gate):
    """S15: what stands in the store may come from anybody."""
    gate.json("session", "new", "--subject", "a\x1b[2J\u202e\nb")
    shown = gate.run("session", "list").stdout
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "a\\x1b[2J\\u202e\\x0ab" in shown


def test_several_schemes_want_a_name(gate):
    """Which lifetime and cookie is meant is not guessed."""
    text = gate.file.read_text().replace(
        "  api:", "  other: {type: session, format: native, cookie: __Host-other}\n  api:"
    )
    gate.write(text)
    assert 2 == gate.run("session", "new", "--subject", "alice").exit_code
    made = gate.json("session", "new", "--subject", "alice", "--scheme", "other")
    assert made["cookie"].startswith("__Host-other=")


@pytest.fixture
def programs(gate):
    """Give the command line on a gate with a client, and what begins a refresh family of somebody."""
    gate.write(gate.file.read_text() + "clients: {phone: {public: true}}\n")

    def begin(subject):
        return gate.json("token", "mint", "--subject", subject, "--client", "phone")

    return begin


def test_refresh_families_are_seen_and_ended_by_id(gate, programs):
    """`list --families` has what `show` and `revoke` take; nothing of it is a credential."""
    told = programs("alice")
    programs("bob")
    everybody = gate.json("session", "list", "--families")
    (hers,) = gate.json("session", "list", "--families", "--subject", "alice")
    shown = gate.json("session", "show", hers["id"])
    printed = gate.run("session", "show", hers["id"]).stdout + str(everybody)

    assert {"alice", "bob"} == {item["subject"] for item in everybody}
    assert {"id", "subject", "client", "created_at", "last_seen", "address", "agent"} == set(hers)
    assert re.fullmatch(r"[0-9a-f]{32}", hers["id"])
    assert hers.items() <= shown.items()
    assert told["refresh_token"] not in printed
    assert {"revoked": 1} == gate.json("session", "revoke", hers["id"])
    for command in ("show", "revoke"):
        result = gate.run("session", command, hers["id"])
        assert (1, "latchgate: there is no such refresh family\n") == (
            result.exit_code,
            result.stderr,
        )


def test_a_persons_families_end_with_their_sessions(gate, programs):
    """Also of somebody without a session; the count of sessions is what it was before."""
    make(gate)
    for subject in ("alice", "alice", "carol"):
        programs(subject)

    assert {"revoked": 1, "families": 2} == gate.json("session", "revoke", "--subject", "alice")
    assert 1 == gate.run("session", "revoke", "--subject", "alice").exit_code
    ended = gate.run("session", "revoke", "--subject", "carol")
    assert ["0 sessions ended", "1 refresh family ended"] == ended.stdout.splitlines()
    programs("alice")
    assert {"revoked": 0, "families": 1} == gate.json("session", "revoke", "--all")
    assert [] == gate.json("session", "list", "--families")


def test_the_list_of_sessions_is_what_it_was(gate, programs):
    """reference.md §3: an array of sessions for programs; people see a person's families below it."""
    made = make(gate)
    programs("alice")

    assert [made["id"]] == [item["id"] for item in gate.json("session", "list")]
    assert [made["id"]] == [
        item["id"] for item in gate.json("session", "list", "--subject", "alice")
    ]
    shown = gate.run("session", "list", "--subject", "alice").stdout
    assert "phone" in shown
    assert "phone" not in gate.run("session", "list").stdout


def test_families_are_paged(gate, programs):
    """Each page names the place of the next, as with sessions."""
    for _ in range(3):
        programs("alice")
    first = gate.json("session", "list", "--families", "--subject", "alice", "--limit", "2")
    after = ("--limit", "2", "--after", first["next"])
    second = gate.json("session", "list", "--families", "--subject", "alice", *after)

    assert (2, 1, None) == (len(first["families"]), len(second["families"]), second["next"])


def test_a_gate_without_tokens_says_that_it_has_no_families(gate):
    """Nothing is listed as if there were none; a mistyped id is no such family."""
    text = gate.file.read_text()
    gate.write(re.sub(r"(?m)^tokens:.*\n|^  api:.*\n", "", text).replace("[api, web]", "web"))
    result = gate.run("session", "list", "--families")

    assert 2 == result.exit_code
    assert "there are no families" in result.stderr
    assert 1 == gate.run("session", "revoke", "0" * 32).exit_code
