from __future__ import annotations

import os
import pickle
from types import SimpleNamespace

import pytest

from proxy.config.models import Config
from proxy.config.secret import MAX_SECRET_FILE, Secret, parse_secret
from proxy.config.values import BASE


@pytest.fixture
def info(tmp_path):
    """Return the validation context of a file in the test's own directory."""
    return SimpleNamespace(context={BASE: tmp_path})


def test_a_secret_never_shows_itself():
    """`repr`, `str`, formatting and a model's `repr` show stars."""
    secret = Secret("hunter2")
    shown = [repr(secret), str(secret), f"{secret}", f"{secret!r:>10}", repr({"a": [secret]})]

    assert not [text for text in shown if "hunter2" in text]
    assert secret.reveal() == "hunter2"
    assert secret.reveal_bytes() == b"hunter2"


def test_a_secret_has_no_dictionary_to_print():
    """`vars`, and whatever prints an object's attributes, finds nothing."""
    assert not hasattr(Secret("hunter2"), "__dict__")


def test_a_dumped_configuration_shows_no_secret(reading):
    """A model's dump holds the secret as an object whose text is stars."""
    config = reading.config(
        reading.good + "secrets: {key: " + "ab" * 32 + "}\nstore: {url: 'redis://u:hunter2@h'}\n"
    )
    assert isinstance(config, Config)

    assert "hunter2" not in str(config.model_dump(warnings=False)) + repr(config) + str(config)
    assert "abab" not in str(config.model_dump(warnings=False)) + repr(config) + str(config)


def test_equal_secrets_are_equal():
    """Two secrets compare by value, and with nothing else."""
    assert Secret("a") == Secret(b"a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1
    assert pickle.loads(pickle.dumps(Secret("a"))) == Secret("a")  # noqa: S301 - our own bytes


def test_a_secret_stands_in_a_file(tmp_path, info):
    """`{file: path}` is read, relative to the configuration, and its final line end is cut."""
    for content in (b"hunter2", b"hunter2\n", b"hunter2\r\n"):
        (tmp_path / "s").write_bytes(content)

        assert parse_secret({"file": "s"}, info) == Secret("hunter2")


def test_only_one_line_end_is_cut(tmp_path, info):
    """What stands before the last line end belongs to the secret."""
    (tmp_path / "s").write_bytes(b" hunter2 \n\n")

    assert parse_secret({"file": "s"}, info).reveal_bytes() == b" hunter2 \n"


def test_bytes_that_are_no_text_are_a_secret_too(tmp_path, info):
    """A shared key may be any bytes; as text it is refused without being shown."""
    (tmp_path / "s").write_bytes(b"\xff\xfe\x00")
    secret = parse_secret({"file": "s"}, info)

    assert secret.reveal_bytes() == b"\xff\xfe\x00"
    with pytest.raises(ValueError, match="not text") as caught:
        secret.reveal()
    assert "xff" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (7, "put a number in quotes"),
        (True, "must be text"),
        (["hunter2"], "must be text"),
        ("", "must not be empty"),
        ("hunter2\n", "control characters"),
        ({}, "{file: path}"),
        ({"path": "hunter2"}, "{file: path}"),
        ({"file": "s", "hunter2": 1}, "{file: path}"),
        ({"file": 7}, "must be text"),
        ({"file": "nowhere"}, "no such file"),
        ({"file": "."}, "Is a directory"),
    ],
)
def test_what_is_no_secret_is_refused_without_a_word_of_it(value, message, info):
    """The error says what to write, and nothing of what was written."""
    with pytest.raises(ValueError, match=r"must|cannot|not a|no such file") as caught:
        parse_secret(value, info)

    assert message in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_odd_files_are_refused_at_once(tmp_path, info):
    """A named pipe does not keep the gate waiting; empty and huge files are no secrets."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").write_bytes(b"\n")
    (tmp_path / "huge").write_bytes(b"x" * (MAX_SECRET_FILE + 1))
    for name, message in (("pipe", "regular"), ("empty", "empty"), ("huge", "64 KiB")):
        with pytest.raises(ValueError, match=message):
            parse_secret({"file": name}, info)
    with pytest.raises(ValueError, match="regular"):
        parse_secret({"file": "/dev/zero"}, info)


def test_a_secret_that_is_one_already_passes(info):
    """Code may build a model with a `Secret`."""
    secret = Secret("a")

    assert parse_secret(secret, info) is secret
