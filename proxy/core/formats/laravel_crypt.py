"""What Laravel encrypts: its cookies, and sessions with `session.encrypt`.

AES in CBC mode with an HMAC, or in GCM mode; each of several keys (`APP_KEY`, `APP_PREVIOUS_KEYS`)
is tried. What never belongs here: what was encrypted.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher as _Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.padding import PKCS7

from proxy.core.strict_json import BadJson, loads_object

Cipher = Literal["AES-128-CBC", "AES-256-CBC", "AES-128-GCM", "AES-256-GCM"]

KEY_BYTES: Final = {"AES-128-CBC": 16, "AES-256-CBC": 32, "AES-128-GCM": 16, "AES-256-GCM": 32}

_BLOCK: Final = 16
_GCM_IV: Final = 12
_TAG: Final = 16
_MARK: Final = "base64:"


class BadPayload(ValueError):
    """It was not encrypted by any of the keys; the text says why and never quotes it."""


@dataclass(frozen=True, slots=True)
class _Parts:
    iv_text: str
    value_text: str
    iv: bytes
    value: bytes
    mac: str
    tag: bytes


def decode_key(text: str, cipher: Cipher) -> bytes:
    """Return the key that `APP_KEY` says; raises `ValueError` where it does not fit the cipher."""
    try:
        key = (
            base64.b64decode(text.removeprefix(_MARK), validate=True)
            if text.startswith(_MARK)
            else text.encode()
        )
    except binascii.Error:
        raise ValueError("is not base64 behind `base64:`") from None
    if len(key) != KEY_BYTES[cipher]:
        raise ValueError(f"has {len(key)} bytes, and {cipher} takes {KEY_BYTES[cipher]}")
    return key


def decrypt(
    payload: bytes, keys: Sequence[bytes], cipher: Cipher, *, max_bytes: int
) -> tuple[bytes, bytes]:
    """Return what `payload` (base64) hides, and the key that fits. Raises `BadPayload`."""
    parts = _parts(payload, max_bytes)
    open_one = _open_gcm if cipher.endswith("GCM") else _open_cbc
    for key in keys:
        plain = open_one(parts, key)
        if plain is not None:
            return plain, key
    raise BadPayload("none of the keys made it")


def _parts(payload: bytes, max_bytes: int) -> _Parts:
    try:
        members = loads_object(base64.b64decode(payload, validate=True), max_bytes=max_bytes)
    except (binascii.Error, BadJson):
        raise BadPayload("not what Laravel encrypts") from None
    texts = [members.get(name, "") for name in ("iv", "value", "mac", "tag")]
    if not all(isinstance(text, str) and text.isascii() for text in texts):
        raise BadPayload("not what Laravel encrypts")
    iv, value, mac, tag = texts
    try:
        decoded = [base64.b64decode(text, validate=True) for text in (iv, value, tag)]
    except binascii.Error:
        raise BadPayload("not what Laravel encrypts") from None
    return _Parts(iv, value, decoded[0], decoded[1], mac, decoded[2])


def _open_cbc(parts: _Parts, key: bytes) -> bytes | None:
    signed = (parts.iv_text + parts.value_text).encode("ascii")
    expected = hmac.new(key, signed, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected, parts.mac):
        return None
    if len(parts.iv) != _BLOCK or not parts.value or len(parts.value) % _BLOCK:
        return None
    decryptor = _Cipher(AES(key), CBC(parts.iv)).decryptor()
    unpadder = PKCS7(8 * _BLOCK).unpadder()
    try:
        padded = decryptor.update(parts.value) + decryptor.finalize()
        return unpadder.update(padded) + unpadder.finalize()
    except ValueError:
        return None


def _open_gcm(parts: _Parts, key: bytes) -> bytes | None:
    if len(parts.iv) != _GCM_IV or len(parts.tag) != _TAG:
        return None
    try:
        return AESGCM(key).decrypt(parts.iv, parts.value + parts.tag, None)
    except InvalidTag:
        return None
