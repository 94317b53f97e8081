from __future__ import annotations

import base64
import hashlib
import hmac
import json

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.formats.laravel_crypt import BadPayload, decode_key, decrypt

KEY, OLD = b"k" * 32, b"o" * 32
IV = bytes(range(16))
BOUND = 4096


def b64(raw):
    return base64.b64encode(raw).decode()


def padded(plain):
    count = 16 - len(plain) % 16
    return plain + bytes((count,)) * count


def cbc(plain, key=KEY, iv=IV, **changes):
    """Encrypt as Laravel's Encrypter does; `changes` replace members before the MAC is made."""
    encryptor = Cipher(AES(key), CBC(iv[:16].ljust(16, b"0"))).encryptor()
    members = {"iv": b64(iv), "value": b64(encryptor.update(plain)), "tag": ""} | changes
    signed = f"{members['iv']}{members['value']}".encode()
    members.setdefault("mac", hmac.new(key, signed, hashlib.sha256).hexdigest())
    return base64.b64encode(json.dumps(members).encode())


def gcm(plain, key=KEY):
    sealed = AESGCM(key).encrypt(IV[:12], plain, None)
    members = {"iv": b64(IV[:12]), "value": b64(sealed[:-16]), "mac": "", "tag": b64(sealed[-16:])}
    return base64.b64encode(json.dumps(members).encode())


@pytest.mark.parametrize("plain", [b"", b"x" * 16, b"hello"], ids=len)
@pytest.mark.parametrize("key", [KEY, OLD], ids=["new", "old"])
def test_each_key_opens_its_own(plain, key):
    """After a rotation what an older key has made still opens, in both modes."""
    assert (plain, key) == decrypt(
        cbc(padded(plain), key), (KEY, OLD), "AES-256-CBC", max_bytes=BOUND
    )
    assert (plain, key) == decrypt(gcm(plain, key), (KEY, OLD), "AES-256-GCM", max_bytes=BOUND)


def test_short_keys_are_for_short_ciphers():
    """AES-128 works as AES-256 does."""
    key = b"s" * 16
    assert b"hi" == decrypt(cbc(padded(b"hi"), key), (key,), "AES-128-CBC", max_bytes=BOUND)[0]
    assert b"hi" == decrypt(gcm(b"hi", key), (key,), "AES-128-GCM", max_bytes=BOUND)[0]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"junk",
        b"%%%",
        base64.b64encode(b"[]"),
        base64.b64encode(b"{}"),
        base64.b64encode(b'{"iv": 1, "value": null, "mac": [], "tag": ""}'),
        cbc(padded(b"hi"), b"z" * 32),
        cbc(padded(b"hi"), mac=""),
        cbc(padded(b"hi"), mac="é"),
        cbc(padded(b"hi"), mac=None),
        cbc(padded(b"hi"), mac="0" * 64),
        cbc(padded(b"hi"), tag="%"),
        cbc(padded(b"hi"), iv=b"short"),
        cbc(padded(b"hi"), value=""),
        cbc(padded(b"hi"), value=b64(b"x" * 15)),
        cbc(b"\0" * 16),
        cbc(b"x" * 15 + b"\x11"),
        gcm(b"hi"),
        base64.b64encode(b'{"iv":"' + b"A" * 5000 + b'"}'),
    ],
    ids=lambda payload: hashlib.sha256(payload).hexdigest()[:8],
)
def test_what_no_key_has_made_is_refused(payload):
    """Forged, cut or odd: the one exception, also where the MAC is right and the rest is not."""
    with pytest.raises(BadPayload):
        decrypt(payload, (KEY, OLD), "AES-256-CBC", max_bytes=BOUND)
    if payload != gcm(b"hi"):
        with pytest.raises(BadPayload):
            decrypt(payload, (KEY, OLD), "AES-256-GCM", max_bytes=BOUND)


@given(st.data())
def test_a_changed_letter_is_refused(data):
    """No letter of iv, value or MAC can be another."""
    plain = padded(b"0" * 40)
    members = json.loads(base64.b64decode(cbc(plain)))
    name = data.draw(st.sampled_from(["iv", "value", "mac"]))
    place = data.draw(st.integers(0, len(members[name]) - 3))
    letter = data.draw(st.sampled_from("0aA+/"))
    changed = members[name][:place] + letter + members[name][place + 1 :]
    forged = base64.b64encode(json.dumps(members | {name: changed}).encode())
    if changed == members[name]:
        return
    with pytest.raises(BadPayload):
        decrypt(forged, (KEY,), "AES-256-CBC", max_bytes=BOUND)


def test_a_key_is_written_as_laravel_does():
    """`APP_KEY` as it stands in the application's .env: base64 behind its mark, or the text."""
    assert KEY == decode_key("base64:" + b64(KEY), "AES-256-CBC")
    assert KEY == decode_key("k" * 32, "AES-256-GCM")
    for text, cipher in (("base64:" + b64(KEY), "AES-128-CBC"), ("k" * 16, "AES-256-CBC")):
        with pytest.raises(ValueError, match="bytes"):
            decode_key(text, cipher)
    with pytest.raises(ValueError, match="base64"):
        decode_key("base64:!!!", "AES-256-CBC")
