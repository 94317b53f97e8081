from __future__ import annotations

import pytest

from proxy.core.formats.php import id_pattern, read_session, session_id
from proxy.core.formats.refusal import BadSession

BOUND = 1 << 20
SESSION = {"user_id": 42, "roles": ["admin", "ed|tor"]}


def read(raw, handler="php"):
    return read_session(raw, handler, max_bytes=BOUND)


@pytest.mark.parametrize(
    ("handler", "raw"),
    [
        ("php", b'user_id|i:42;roles|a:2:{i:0;s:5:"admin";i:1;s:6:"ed|tor";}'),
        ("php_serialize", b'a:2:{s:7:"user_id";i:42;s:5:"roles";a:2:{i:0;s:5:"admin";i:1;s:6:"ed|tor";}}'),
        ("php_binary", b'\x07user_idi:42;\x05rolesa:2:{i:0;s:5:"admin";i:1;s:6:"ed|tor";}'),
    ],
)  # fmt: skip
def test_each_handler_says_the_same(handler, raw):
    """The three forms of session.serialize_handler that PHP has by itself."""
    assert SESSION == read(raw, handler)
    assert {} == read(b"", handler)


def test_references_count_over_all_variables():
    """In the form `php` a variable may name what another one holds."""
    raw = b'user|O:1:"U":1:{s:2:"id";i:42;}user_id|i:42;ref|R:3;again|r:1;'

    expected = {"user": {"id": 42}, "user_id": 42, "ref": 42, "again": {"id": 42}}
    assert expected == read(raw)


def test_a_session_is_names_and_values_however_it_is_numbered():
    """An array that is numbered from 0 is no list where it is the session itself."""
    assert {"0": "a", "1": "b"} == read(b'a:2:{i:0;s:1:"a";i:1;s:1:"b";}', "php_serialize")
    assert {} == read(b"a:0:{}", "php_serialize")


@pytest.mark.parametrize(
    ("handler", "raw"),
    [
        ("php", b"user_id"),
        ("php", b"user_id|"),
        ("php", b"user_id|i:42;x"),
        ("php", b"a|i:1;a|i:2;"),
        ("php", b"\xff|i:1;"),
        ("php", b"!a|b|i:1;"),
        ("php", b'a:1:{s:1:"a";i:1;}'),
        ("php_serialize", b"i:1;"),
        ("php_serialize", b"N;"),
        ("php_serialize", b'O:1:"A":0:{}'),
        ("php_serialize", b"a:0:{}x"),
        ("php_serialize", b"a|i:1;"),
        ("php_serialize", b"a:1:{i:0;R:1;"),
        ("php_binary", b"\x07user"),
        ("php_binary", b"\x87user_idi:1;"),
        ("php_binary", b"\x01ai:1;\x01ai:1;"),
        ("php_binary", b"\x01"),
        ("php", b"a|i:1;" * 2),
        ("php", b"x" * (BOUND + 1)),
    ],
    ids=lambda part: str(part)[:40],
)
def test_anything_else_is_refused(handler, raw):
    """Cut, twice the same name, another handler's form, too long (S12)."""
    with pytest.raises(BadSession):
        read(raw, handler)


@pytest.mark.parametrize("handler", ["php", "php_serialize", "php_binary"])
def test_igbinary_is_refused_with_what_to_do(handler):
    """It is named, and so is what to set instead."""
    with pytest.raises(BadSession, match=r"igbinary.*serialize_handler"):
        read(b"\0\0\0\2\x14\x01\x11\x01a\x06\x01", handler)


def test_ids_are_as_php_is_told():
    """Length and letters by session.sid_length and sid_bits_per_character; `_LOCK` is out of reach."""
    usual, debian, large = id_pattern(32, 4), id_pattern(26, 5), id_pattern(22, 6)
    hexadecimal = "224c24ba663b7bba5a96a3e796a0d3b0"
    assert hexadecimal == session_id(hexadecimal.encode(), usual)
    assert hexadecimal == session_id(b"%32" + hexadecimal[1:].encode(), usual)
    assert "a-Z,0" * 4 + "xy" == session_id(b"a-Z%2C0" * 4 + b"xy", large)
    assert "v" * 26 == session_id(b"v" * 26, debian)
    for value in (
        "",
        hexadecimal[1:],
        hexadecimal + "0",
        hexadecimal.upper(),
        f'"{hexadecimal}"',
        hexadecimal[:27] + "_LOCK",
        hexadecimal + "\n",
        hexadecimal[:-1] + "%00",
    ):
        assert session_id(value.encode(), usual) is None
