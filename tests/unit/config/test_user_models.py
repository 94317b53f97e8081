"""The file of users: strict, bounded, and silent about what it holds."""

from __future__ import annotations

import pytest

from proxy.config.user_models import normal_name, parse_hash, parse_users, read_users
from proxy.errors import ConfigErrors

HASH = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$" + "A" * 43


def mistakes(text):
    """Return what is wrong with a file."""
    with pytest.raises(ConfigErrors) as caught:
        parse_users(text.encode(), "users.yaml")
    return [str(error) for error in caught.value.errors]


def test_a_file_says_who_may_sign_in():
    """Everything but the password may be left out."""
    text = f"""
users:
  alice: {{password: "{HASH}"}}
  밥: {{password: "{HASH}", subject: u2, email: b@example.com, name: Bob, roles: [a], disabled: true}}
"""
    users = parse_users(text.encode(), "users.yaml").users

    assert ["alice", "밥"] == list(users)
    assert (19456, 2, 1) == users["alice"].password.cost
    assert ("u2", ["a"], True) == (users["밥"].subject, users["밥"].roles, users["밥"].disabled)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{}", "users.alice.password: is required"),
        ("{password: secret}", "must be an argon2id hash"),
        (f"{{password: '{HASH}', pasword: x}}", "unknown key; did you mean `password`?"),
        (f"{{password: '{HASH}', disabled: yes}}", "must be true or false"),
        (f"{{password: '{HASH}', roles: [a, a]}}", "repeats"),
        (f"{{password: '{HASH}', roles: ['a b']}}", "one word"),
    ],
)
def test_a_mistake_has_its_place(entry, message):
    """Line, column, path and a sentence, as in the configuration."""
    (found,) = mistakes(f"users:\n  alice: {entry}\n")

    assert message in found
    assert found.startswith("users.yaml:2:")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("users:\n  eve: {{password: {hash}}}\n", "users.eve.…: the value is missing"),
        ("users:\n  eve:\n    {hash}: x\n", "users.eve.…: unknown key"),
        ("users:\n  eve: {{password: {{{hash}}}}}\n", "users.eve.password.…: the value is missing"),
        ("users:\n  eve: {{roles: [{{{hash}}}]}}\n", "users.eve.roles[0].…: the value is missing"),
        ("users:\n  eve: {{{hash}}}\n", "users.eve.…: the value is missing"),
        ("users:\n  eve: {{{hash}: x, {hash}: x}}\n", "users.eve.…: this key stands in line"),
        ("users: {{eve: {hash}}}\n", "users.…: the value is missing"),
        ("users: {{{hash}: {{password: x}}}}\n", "users.…"),
        ("{{users: {{}}, password: {hash}}}\n", "…: the value is missing"),
        ("users: {{}}\n{hash}: x\n", "…: unknown key"),
    ],
)
def test_s15_a_hash_without_quotes_is_in_no_message(text, place):
    """S15: what falls apart at its commas becomes keys, and keys of that kind are not shown."""
    found = "\n".join(mistakes(text.format(hash=HASH)))

    assert place in found
    assert "$" not in found
    assert "AAAA" not in found


@pytest.mark.parametrize("name", ["' a'", "'a\u0308'", "'" + "a" * 257 + "'"])
def test_a_name_has_one_spelling(name):
    """What looks the same is the same: composed, without spaces around it."""
    assert "must be a name" in mistakes(f"users:\n  {name}: {{password: '{HASH}'}}\n")[0]
    assert "\u00e4" == normal_name(" a\u0308 ")


@pytest.mark.parametrize(
    "entry",
    ["client:billing: {{password: '{0}'}}", "eve: {{password: '{0}', subject: 'client:x'}}"],
)
def test_k6_no_person_is_called_like_a_client(entry):
    """K6: tokens of the gate name clients so, and what a session says would be taken for one."""
    text = "users:\n  " + entry.format(HASH) + "\n"

    assert "no person's subject begins with client:" in mistakes(text)[0]


def test_two_names_are_not_one_person():
    """Ending one's sessions would end the other's."""
    text = f"users: {{a: {{password: '{HASH}', subject: b}}, b: {{password: '{HASH}'}}}}"

    assert "another user has this subject already" in mistakes(text)[0]


@pytest.mark.parametrize(
    "text",
    [
        HASH.replace("argon2id", "argon2i"),
        HASH.replace("m=19456", "m=99999999"),
        HASH.replace("t=2", "t=200"),
        HASH.replace("p=1", "p=64"),
        HASH.replace("m=19456", "m=1"),
        "hunter2",
        3,
    ],
)
def test_s8_a_hash_is_argon2id_and_its_cost_has_bounds(text):
    """S8: no file makes the gate spend its memory or an hour on a guess."""
    with pytest.raises(ValueError) as caught:
        parse_hash(text)

    assert "hunter2" not in str(caught.value)


def test_no_message_and_no_repr_tells_a_hash():
    """What is wrong is said without the values."""
    (found,) = mistakes(f"users: {{alice: {{password: '{HASH}x y'}}}}")

    assert "AAAA" not in found
    assert "AAAA" not in repr(parse_hash(HASH))


def test_a_file_that_everybody_may_write_is_refused(tmp_path):
    """Whoever can write it can sign in as anybody."""
    file = tmp_path / "users.yaml"
    file.write_text("users: {}")
    file.chmod(0o666)
    with pytest.raises(ConfigErrors) as caught:
        read_users(file)
    assert "everybody may write" in str(caught.value)

    file.chmod(0o600)
    assert {} == read_users(file).users
    with pytest.raises(ConfigErrors, match="directory"):
        read_users(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_users(tmp_path / "none")


@pytest.mark.parametrize("text", ["", "[]", "users: 3", "users: {a: &x {b: *x}}", "${HOME}: {}"])
def test_what_is_no_such_file_is_refused(text):
    """Nothing is taken from the environment, and nothing is guessed."""
    assert mistakes(text)
