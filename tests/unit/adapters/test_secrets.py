"""Sealing for the store, and the key file beside the embedded one (S10)."""

from __future__ import annotations

import base64
import os
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.adapters.secrets import SecretBox, _create_private, load_or_create_secret
from proxy.errors import SecretsError

OLD, NEW = bytes(range(32)), bytes(range(1, 33))
BOX = SecretBox([NEW, OLD])


def test_s10_what_is_sealed_opens_under_its_own_key():
    """The same plaintext is sealed differently each time, and shows nothing of itself."""
    first, second = BOX.seal(b"plain text", "p:a"), BOX.seal(b"plain text", "p:a")

    assert [b"plain text"] * 2 == [BOX.open(first, "p:a"), BOX.open(second, "p:a")]
    assert first != second
    assert b"plain" not in first


def test_s10_the_first_key_seals_and_all_open():
    """Keys rotate: an old record opens, and is due to be sealed again."""
    old = SecretBox([OLD]).seal(b"x", "p:a")

    assert b"x" == BOX.open(old, "p:a")
    assert [False, True] == [BOX.is_current(old, "p:a"), BOX.is_current(BOX.seal(b"", "k"), "k")]
    with pytest.raises(SecretsError):
        SecretBox([OLD]).open(BOX.seal(b"x", "p:a"), "p:a")


def test_s10_a_moved_record_is_not_accepted():
    """The record's key is bound to the value: a copy under another key does not open."""
    sealed = BOX.seal(b"x", "p:signing:assertion")

    for other in ("p:signing:token", "p:signing:assertio", "q:signing:assertion", ""):
        with pytest.raises(SecretsError):
            BOX.open(sealed, other)


@given(st.binary(max_size=100))
def test_s10_a_planted_record_is_not_accepted(planted):
    """No bytes open that were not sealed here; the error quotes none of them."""
    with pytest.raises(SecretsError) as caught:
        BOX.open(planted, "p:a")
    assert "p:a" in caught.value.detail


@given(st.integers(0, 40), st.integers(0, 7))
def test_s10_a_changed_bit_is_noticed(position, bit):
    """Version, nonce, ciphertext and tag are all authenticated."""
    sealed = bytearray(BOX.seal(b"plain text!!", "p:a"))
    sealed[position] ^= 1 << bit

    with pytest.raises(SecretsError):
        BOX.open(bytes(sealed), "p:a")


def test_keys_have_32_bytes_and_are_not_shown():
    """A box without keys, or with a short one, is never made; its repr counts them only."""
    for keys in ([], [OLD[:31]], [OLD, b""], [OLD + b"x"]):
        with pytest.raises(ValueError):
            SecretBox(keys)
    assert "SecretBox(2 keys)" == repr(BOX)


def test_s10_a_secret_file_is_made_once_at_0600(tmp_path):
    """The file is made with 32 random bytes in base64, for us alone, and then stays."""
    path = tmp_path / "secret"
    previous = os.umask(0)
    try:
        first = load_or_create_secret(path)
    finally:
        os.umask(previous)

    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    assert (first, first) == (base64.b64decode(path.read_bytes()), load_or_create_secret(path))
    assert [path] == list(tmp_path.iterdir())
    assert first != load_or_create_secret(tmp_path / "other")


def test_s10_processes_that_start_together_agree(tmp_path):
    """Whoever comes second takes the first one's key, and nobody reads half a file."""
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(load_or_create_secret, [tmp_path / "secret"] * 32))

    assert 1 == len(keys)
    assert 1 == len(list(tmp_path.iterdir()))


def test_s10_the_first_file_wins(tmp_path):
    """Who lost the race to make the file does not replace what the winner may have used."""
    path = tmp_path / "secret"
    key = load_or_create_secret(path)
    _create_private(path, base64.b64encode(bytes(32)))

    assert key == load_or_create_secret(path)
    assert [path] == list(tmp_path.iterdir())


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o606, 0o666])
def test_s10_a_file_that_others_can_use_is_refused(tmp_path, mode):
    """A key that others can read is no secret."""
    path = tmp_path / "secret"
    load_or_create_secret(path)
    path.chmod(mode)

    with pytest.raises(SecretsError, match="0600"):
        load_or_create_secret(path)


def test_s10_somebody_elses_file_is_refused(tmp_path, monkeypatch):
    """Who made the file knows the key."""
    path = tmp_path / "secret"
    load_or_create_secret(path)
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)

    with pytest.raises(SecretsError, match="somebody else"):
        load_or_create_secret(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"short", base64.b64encode(bytes(31)), base64.b64encode(bytes(33)), b"!" * 44],
)
def test_s10_a_file_without_a_key_is_refused(tmp_path, content):
    """A damaged file is told, not replaced: what it sealed would be lost."""
    path = tmp_path / "secret"
    path.touch(0o600)
    path.write_bytes(content)

    with pytest.raises(SecretsError, match="32 bytes"):
        load_or_create_secret(path)
    assert content == path.read_bytes()


def test_s10_links_pipes_and_folders_are_refused(tmp_path):
    """What is no plain file of ours is not read, and not waited for."""
    load_or_create_secret(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "folder").mkdir()

    for name, reason in {
        "link": "symbolic",
        "dangling": "symbolic",
        "pipe": "plain file",
        "folder": "plain file|directory",
        "missing/secret": "No such",
    }.items():
        with pytest.raises(SecretsError, match=rf"{name}.*({reason})"):
            load_or_create_secret(tmp_path / name)
