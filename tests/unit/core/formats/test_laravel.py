from __future__ import annotations

import base64
import hashlib
import hmac
import json
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from proxy.core.formats.laravel import read_session, session_id
from proxy.core.formats.laravel_crypt import BadPayload
from proxy.core.formats.refusal import BadSession

KEY, OLD = b"k" * 32, b"o" * 32
GCM = "AES-256-GCM"
ID = "GHr3URRh7U7DdsqxNqPZrOiVYABos7SsWUbQO4Hd"
BOUND = 1 << 20


def seal(plain, key=KEY):
    """Encrypt as Laravel does with the cipher AES-256-GCM."""
    iv = b"0" * 12
    sealed = AESGCM(key).encrypt(iv, plain, None)
    parts = {"iv": iv, "value": sealed[:-16], "tag": sealed[-16:]}
    members = {name: base64.b64encode(part).decode() for name, part in parts.items()} | {"mac": ""}
    return base64.b64encode(json.dumps(members).encode())


def cookie(text=ID, name="shop_session", key=KEY, mark_key=None):
    mark = hmac.new(mark_key or key, f"{name}v2".encode(), hashlib.sha1).hexdigest()
    return quote(seal(f"{mark}|{text}".encode(), key)).encode()


def string(raw):
    return b's:%d:"%s";' % (len(raw), raw)


def test_a_cookie_hides_an_id():
    """Of any of the keys; it was made for the cookie of this very name."""
    for key in (KEY, OLD):
        assert ID == session_id(cookie(key=key), "shop_session", (KEY, OLD), GCM)


@pytest.mark.parametrize(
    "value",
    [
        ID.encode(),
        b"junk",
        cookie(key=b"x" * 32),
        cookie(name="XSRF-TOKEN"),
        cookie(mark_key=OLD),
        cookie(ID[:-1]),
        cookie(ID + "x"),
        cookie(ID[:-1] + ":"),
        cookie(ID[:-1] + "\n"),
        quote(seal(ID.encode())).encode(),
        quote(seal(b"")).encode(),
    ],
    ids=lambda value: hashlib.sha256(value).hexdigest()[:8],
)
def test_another_value_is_refused(value):
    """Bare ids, another cookie's value, another key's, what is no id."""
    with pytest.raises(BadPayload):
        session_id(value, "shop_session", (KEY, OLD), GCM)


def test_attributes_are_serialized_twice():
    """As PHP or as JSON inside of a string; encrypted, in a string inside of that."""
    php, text = b'a:1:{s:2:"id";i:42;}', b'{"id": 42}'

    assert {"id": 42} == read_session(string(php), "php", max_bytes=BOUND)
    assert {"id": 42} == read_session(string(text), "json", max_bytes=BOUND)
    for serialization, inner in (("php", php), ("json", text)):
        sealed = string(seal(string(inner), OLD))
        assert {"id": 42} == read_session(
            sealed, serialization, max_bytes=BOUND, keys=(KEY, OLD), cipher=GCM
        )


@pytest.mark.parametrize(
    ("raw", "serialization", "cipher"),
    [
        (b"", "php", None),
        (b"a:0:{}", "php", None),
        (string(b"a:0:{}") + b"x", "php", None),
        (string(b"a:0:{}x"), "php", None),
        (string(b"i:1;"), "php", None),
        (string(b"a:0:{}"), "json", None),
        (string(b"{}"), "php", None),
        (string(b"[]"), "json", None),
        (string(b"a:0:{}"), "php", GCM),
        (string(seal(string(b"a:0:{}"))), "php", None),
        (string(seal(string(b"a:0:{}"), b"x" * 32)), "php", GCM),
        (string(seal(b"a:0:{}")), "php", GCM),
        (b"x" * (BOUND + 1), "php", None),
    ],
    ids=lambda part: str(part)[:30],
)
def test_another_session_is_refused(raw, serialization, cipher):
    """Not what the application's settings make: refused, whatever else it is (S12)."""
    with pytest.raises(BadSession):
        read_session(raw, serialization, max_bytes=BOUND, keys=(KEY, OLD), cipher=cipher)
