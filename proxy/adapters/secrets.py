"""What must be kept secret in the store: sealed with AES-256-GCM (security.md, S10).

A sealed value opens only under the key of the record that it was made for, so that whoever can
write to the store can neither plant a value nor move one. What never belongs here: what is sealed.
"""

from __future__ import annotations

import base64
import os
import secrets
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from proxy.errors import SecretsError

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
"""Random (NIST SP 800-38D §8.2.2): safe for 2^32 records under one key."""
MAX_FILE_BYTES: Final = 4096

_VERSION: Final = b"\x01"
_TAG_BYTES: Final = 16


class SecretBox:
    """Seals with the first of `keys` (32 bytes each), opens with any: that is how keys rotate."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys:
            raise ValueError("at least one key is needed")
        if any(len(key) != KEY_BYTES for key in keys):
            raise ValueError(f"a key has {KEY_BYTES} bytes")
        self._ciphers = tuple(AESGCM(key) for key in keys)

    def __repr__(self) -> str:
        return f"SecretBox({len(self._ciphers)} keys)"

    def seal(self, plaintext: bytes, record_key: str) -> bytes:
        """Return version, nonce and ciphertext of what belongs under `record_key` in the store."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = self._ciphers[0].encrypt(nonce, plaintext, _bound_to(record_key))
        return _VERSION + nonce + sealed

    def open(self, sealed: bytes, record_key: str) -> bytes:
        """Return what was sealed for `record_key`; raises `SecretsError` for anything else."""
        return self._open(sealed, record_key)[0]

    def is_current(self, sealed: bytes, record_key: str) -> bool:
        """Tell whether the first key opens it: if not, it is due to be sealed again."""
        return self._open(sealed, record_key)[1] == 0

    def _open(self, sealed: bytes, record_key: str) -> tuple[bytes, int]:
        if sealed[:1] != _VERSION or len(sealed) < len(_VERSION) + NONCE_BYTES + _TAG_BYTES:
            raise SecretsError(f"{record_key} is not a sealed record")
        nonce, ciphertext = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
        for position, cipher in enumerate(self._ciphers):
            try:
                return cipher.decrypt(nonce, ciphertext, _bound_to(record_key)), position
            except InvalidTag:
                continue
        raise SecretsError(
            f"{record_key} was sealed with another key, for another record, or not by a gate"
        )


def load_or_create_secret(path: Path) -> bytes:
    """Return the 32 bytes of the key file at `path`, which is made (mode 0600) if there is none.

    It holds base64, as `secrets: {key: {file: …}}` takes it, so that it can be named there when
    the store moves. Processes that start together agree on one. Raises `SecretsError` if the file cannot be made or
    read, is not a plain file of ours, can be used by others, or holds no key.
    """
    try:
        try:
            raw = _read_private(path)
        except FileNotFoundError:
            _create_private(path, base64.b64encode(secrets.token_bytes(KEY_BYTES)) + b"\n")
            raw = _read_private(path)
        key = base64.b64decode(raw.strip(), validate=True)
    except OSError as error:
        raise SecretsError(f"{path}: {error.strerror}") from error
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise SecretsError(f"{path} does not hold {KEY_BYTES} bytes in base64")
    return key


def _read_private(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise SecretsError(f"{path} is not a plain file")
        if status.st_uid != os.geteuid():
            raise SecretsError(f"{path} belongs to somebody else")
        if status.st_mode & 0o077:
            raise SecretsError(f"{path} can be used by others: its mode must be 0600")
        return file.read(MAX_FILE_BYTES)


def _create_private(path: Path, content: bytes) -> None:
    """Make the file whole and at once: nobody ever reads half of it, the first one wins."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        try:
            os.link(draft, path)
        except FileExistsError:
            return
    finally:
        draft.unlink()
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _bound_to(record_key: str) -> bytes:
    return record_key.encode()
