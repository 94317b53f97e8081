from __future__ import annotations

import contextlib
import json
import os
import pty
import stat
import subprocess
import sys
import termios
import time

import pytest

from proxy.adapters.hashing import is_right
from proxy.config.user_models import read_users

LOGIN = "login: {scheme: web, users: {file: users.yaml}}\n"


@pytest.fixture
def people(gate):
    """Give the command line on a configuration with a file of users, which is not there yet."""
    gate.write(gate.file.read_text() + LOGIN)
    return gate


def users_of(people):
    return read_users(people.directory / "users.yaml").users


def is_password(people, name, password):
    return is_right(users_of(people)[name].password.text, password.encode())


def add(people, name="alice", *options, password=b"correct horse\n"):
    return people.run("user", "add", name, "--password", "-", *options, stdin=password)


def test_add_makes_the_file_and_keeps_the_password_only_as_a_hash(people):
    """0600, and nothing of the password in it or in the output."""
    result = add(people, "alice", "--role", "admin", "--email", "a@example.com")
    file = people.directory / "users.yaml"

    assert 0 == result.exit_code, result.output
    assert 0o600 == stat.S_IMODE(file.stat().st_mode)
    assert "correct" not in file.read_text() + result.output
    assert ["admin"] == users_of(people)["alice"].roles
    assert is_password(people, "alice", "correct horse")


def test_a_password_comes_from_a_file_with_its_spaces(people):
    """Only the line's end is cut off."""
    (people.directory / "secret").write_bytes(b" spaced \r\n")
    result = people.run("user", "add", "bob", "--password", f"@{people.directory / 'secret'}")

    assert 0 == result.exit_code, result.output
    assert is_password(people, "bob", " spaced ")


@pytest.mark.parametrize(
    ("options", "stdin"),
    [
        (["--password", "secret"], None),
        ([], None),
        (["--password", "-"], b""),
        (["--password", "-"], b"x" * 1025),
        (["--password", "-"], b"\xff\xfe"),
    ],
)
def test_what_is_no_password_is_a_usage_error(people, options, stdin):
    """On the command line, without a terminal, none, too long, no text: status 2, and no file."""
    result = people.run("user", "add", "alice", *options, stdin=stdin)

    assert 2 == result.exit_code, result.output
    assert not (people.directory / "users.yaml").exists()


def test_nobody_is_added_twice_and_who_is_not_there_is_not_found(people):
    """Status 1, and the file as it was."""
    add(people)
    before = (people.directory / "users.yaml").read_bytes()

    assert 1 == add(people).exit_code
    assert 1 == people.run("user", "disable", "bob").exit_code
    assert before == (people.directory / "users.yaml").read_bytes()


def test_list_has_everything_but_the_password(people):
    """JSON for programs, a table for people."""
    add(people, "alice", "--role", "admin")
    (alice,) = people.json("user", "list")

    assert {
        "name": "alice",
        "subject": "alice",
        "email": None,
        "full_name": None,
        "roles": ["admin"],
        "scopes": [],
        "disabled": False,
        "outdated": False,
    } == alice
    assert "argon2" not in people.run("user", "list").output


@pytest.mark.parametrize("command", ["disable", "passwd"])
def test_r6_a_change_ends_sessions_and_tokens(people, command):
    """R6: disabling somebody, or changing the password, reaches what they were given."""
    add(people)
    made = people.json("session", "new", "--subject", "alice")
    token = people.json("token", "mint", "--subject", "alice")["token"].encode()
    options = ["--password", "-"] if command == "passwd" else []
    found = people.json("user", command, "alice", *options, stdin=b"new\n")

    assert {"user": "alice", "ended": 1} == found
    assert 1 == people.run("session", "show", made["id"]).exit_code
    judged = people.json("token", "inspect", "-", stdin=token, status=1)
    assert "token_revoked" == judged["code"]
    assert (command == "disable") == users_of(people)["alice"].disabled
    assert (command == "passwd") == is_password(people, "alice", "new")
    done = "disabled" if command == "disable" else "password changed"
    trail = [json.loads(line) for line in people.run("audit", "--json").stdout.splitlines()]
    assert [
        ("login", "on the command line"),
        ("token_issued", "on the command line"),
        ("user_changed", f"{done}: 1 ended, on the command line"),
    ] == [(event["kind"], event["detail"]) for event in trail]
    assert {"alice"} == {event["subject"] for event in trail}


def test_enable_takes_disable_back(people):
    """A person comes back as they were."""
    add(people, "alice", "--role", "admin")
    people.run("user", "disable", "alice")

    assert 0 == people.run("user", "enable", "alice").exit_code
    assert (False, ["admin"]) == (
        users_of(people)["alice"].disabled,
        users_of(people)["alice"].roles,
    )


def test_without_a_section_for_users_there_are_none(gate):
    """Status 2 with the key that is missing."""
    result = gate.run("user", "list")

    assert 2 == result.exit_code
    assert "users" in result.output


def test_a_name_cannot_move_the_cursor(people):
    """S15: what came from a file is escaped where it is shown."""
    add(people, "alice\u202e")

    assert "\u202e" not in people.run("user", "list").output


def test_the_prompt_does_not_echo(people):
    """Asked for twice on a terminal, and not shown there."""
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "proxy", "user", "add", "alice", "-c", str(people.file)],
        stdin=child,
        stdout=child,
        stderr=child,
        start_new_session=True,
    )
    os.close(child)
    shown = b""
    for prompt in (b"Password:", b"confirmation:"):
        while prompt not in shown:
            shown += os.read(parent, 1024)
        while termios.tcgetattr(parent)[3] & termios.ECHO:  # what is typed before is thrown away
            time.sleep(0.01)
        os.write(parent, b"s3cret-words\n")
    with contextlib.suppress(OSError):  # the terminal is gone with the process
        while data := os.read(parent, 1024):
            shown += data
    os.close(parent)

    assert 0 == process.wait(20), shown
    assert b"Password:" in shown
    assert b"s3cret" not in shown
    assert is_password(people, "alice", "s3cret-words")
