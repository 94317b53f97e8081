from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.formats.php_values import BadPhp, Reader
from proxy.core.strict_json import MAX_DEPTH, MAX_VALUES

BOUND = 1 << 20


def read(raw, max_bytes=BOUND):
    """Read one value and nothing behind it."""
    reader = Reader(raw, max_bytes=max_bytes)
    value = reader.value()
    assert reader.is_done
    return value


def write(value):
    """Serialize as PHP does."""
    match value:
        case None:
            return b"N;"
        case bool():
            return b"b:%d;" % value
        case int():
            return b"i:%d;" % value
        case float():
            return b"d:%s;" % repr(value).upper().encode()
        case str():
            raw = value.encode()
            return b's:%d:"%s";' % (len(raw), raw)
        case list():
            return write_array(list(enumerate(value)))
        case dict():
            return write_array(list(value.items()))
    raise AssertionError


def write_array(pairs):
    inner = b"".join(write(name) + write(value) for name, value in pairs)
    return b"a:%d:{%s}" % (len(pairs), inner)


NAMES = st.text('abcé|;:{}"', min_size=1, max_size=8)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, min_size=1, max_size=4)
    ),
    max_leaves=20,
)


@given(VALUES)
def test_what_php_writes_is_read(value):
    """Every value comes back as it was, strings by their length in bytes."""
    assert value == read(write(value))


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        # Written by PHP 8.2.
        (b"a:3:{i:0;d:1.0E+25;i:1;d:-0;i:2;d:1.0E-7;}", [1e25, -0.0, 1e-7]),
        (b"a:3:{i:0;d:INF;i:1;d:-INF;i:2;d:NAN;}", [None, None, None]),
        (b'a:1:{i:0;s:5:"\xff\x00bin";}', [None]),
        (b'a:2:{i:1;s:1:"a";i:0;s:1:"b";}', {"1": "a", "0": "b"}),
        (b'a:1:{s:2:"01";i:1;}', {"01": 1}),
        (b"a:1:{i:-1;i:5;}", {"-1": 5}),
        (
            b'a:5:{s:1:"x";i:1;s:1:"l";a:2:{i:0;i:1;i:1;i:2;}s:1:"y";R:2;s:1:"m";R:3;s:1:"z";R:2;}',
            {"x": 1, "l": [1, 2], "y": 1, "m": [1, 2], "z": 1},
        ),
        (
            (
                b'a:6:{s:1:"a";O:8:"stdClass":2:{s:2:"id";i:7;s:4:"name";s:2:"\xc3\xa9";}s:1:"b";a:2:'
                b'{s:1:"c";r:2;s:1:"d";r:2;}s:1:"e";E:11:"Suit:Hearts";s:1:"f";r:8;s:1:"g";'
                b'E:11:"Suit:Spades";s:1:"h";r:2;}'
            ),
            {
                "a": {"id": 7, "name": "é"},
                "b": {"c": {"id": 7, "name": "é"}, "d": {"id": 7, "name": "é"}},
                "e": "Hearts",
                "f": "Hearts",
                "g": "Spades",
                "h": {"id": 7, "name": "é"},
            },
        ),
        (
            (
                b'a:2:{s:1:"o";O:1:"C":5:{s:4:"\x00P\x00x";i:1;s:4:"\x00*\x00y";i:2;s:1:"z";i:3;'
                b's:4:"\x00C\x00x";i:10;s:4:"self";r:2;}s:5:"again";r:2;}'
            ),
            {
                "o": {"P::x": 1, "y": 2, "z": 3, "x": 10, "self": None},
                "again": {"P::x": 1, "y": 2, "z": 3, "x": 10, "self": None},
            },
        ),
        (
            (
                b'a:2:{i:0;O:11:"ArrayObject":4:{i:0;i:0;i:1;a:2:{i:0;i:1;i:1;i:2;}i:2;a:0:{}i:3;N;}'
                b"i:1;r:2;}"
            ),
            [{"0": 0, "1": [1, 2], "2": [], "3": None}] * 2,
        ),
        (b'a:2:{i:0;C:3:"Old":9:{s:2:"a}"}}i:1;i:5;}', [None, 5]),
    ],
    ids=[
        "floats",
        "not finite",
        "no text",
        "order",
        "zero",
        "negative",
        "references",
        "shared objects and enums",
        "inheritance and circles",
        "own serialization",
        "opaque",
    ],
)
def test_what_php_has_and_json_has_not(raw, value):
    """Objects are dicts of their properties; what means nothing outside PHP is `None`."""
    assert value == read(raw)


def nested(depth):
    return b"a:1:{i:0;" * depth + b"N;" + b"}" * depth


def laughing(levels):
    """Each level names the one before it twice: 2^levels values in a few hundred bytes."""
    level = b"".join(
        b'i:%d;O:1:"A":2:{s:1:"l";r:%d;s:1:"r";r:%d;}' % (n, max(2, 3 * n - 3), max(2, 3 * n - 3))
        for n in range(1, levels)
    )
    return b'a:%d:{i:0;O:1:"A":0:{}%s}' % (levels, level)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"i",
        b"i:",
        b"i:1",
        b"i:01;",
        b"i:+1;",
        b"i:9223372036854775808;",
        b"i:99999999999999999999;",
        b"i:1\n;",
        b"d:1",
        b"d:0x1p3;",
        b"d:1_000.5;",
        b"d:" + b"9" * 400 + b";",
        b"b:2;",
        b"b:true;",
        b"n;",
        b'S:1:"\\41";',
        b's:2:"a";',
        b's:1:"ab";',
        b's:999999999:"a";',
        b's:-1:"a";',
        b's:9999999999:"";',
        b"a:1:{",
        b"a:1:{}",
        b"a:0:{i:0;N;}",
        b"a:-1:{}",
        b"a:999999999:{i:0;N;}",
        b"a:1:{N;N;}",
        b"a:1:{d:1.5;N;}",
        b"a:2:{i:0;N;i:0;N;}",
        b'a:2:{i:0;N;s:1:"0";N;}',
        b'O:1:"A":2:{s:1:"x";N;s:4:"\x00A\x00x";N;}',
        b'O:2:"A":0:{}',
        b'O:1:"A":1:{',
        b'C:1:"A":5:{abc}',
        b'a:2:{i:0;C:1:"A":3:{abc}i:1;R:1;}',
        b'a:2:{i:0;C:1:"A":3:{abc}i:1;r:2;}',
        b"R:1;",
        b"r:1;",
        b"a:1:{i:0;R:2;}",
        b"a:2:{i:0;i:1;i:1;R:3;}",
        b"a:2:{i:0;i:1;i:1;R:0;}",
        b"a:2:{i:0;i:1;i:1;r:2;}",
        b"a:2:{i:0;a:0:{}i:1;r:2;}",
        nested(MAX_DEPTH + 1),
        nested(100_000),
        b"a:%d:{%s}" % (MAX_VALUES, b"".join(b"i:%d;N;" % n for n in range(MAX_VALUES))),
        laughing(40),
        b"\x80\x05N.",
        b"\x04\x08{\x00",
        b"{}",
    ],
    ids=lambda raw: f"{len(raw)} {raw[:24]!r}",
)
def test_anything_else_is_refused(raw):
    """What PHP would not have written, or would cost too much, ends in one exception (S12)."""
    with pytest.raises(BadPhp):
        read(raw)


def test_a_circle_leads_nowhere():
    """A container that names itself, or one around it, holds nothing there."""
    assert [None] == read(b"a:1:{i:0;R:1;}")
    assert [[None]] == read(b"a:1:{i:0;a:1:{i:0;R:1;}}")


def test_what_is_repeated_is_paid_for_in_bytes():
    """A long text under a thousand names is refused, though it is kept once."""
    array = b"a:1:{i:0;" + b's:5000:"' + b"x" * 5000 + b'";}'
    again = b"".join(b"i:%d;R:2;" % n for n in range(1, 1000))
    raw = b"a:1000:{i:0;" + array + again + b"}"

    with pytest.raises(BadPhp, match="repeat"):
        read(raw)
    with pytest.raises(BadPhp, match="bytes"):
        read(raw, max_bytes=len(raw) - 1)
    assert [["x" * 5000]] * 2 == read(b"a:2:{i:0;" + array + b"i:1;R:2;}")


def test_what_is_repeated_is_paid_for_in_depth():
    """A reference stands as deep as what it names: nobody walks further than the bound."""
    deep = nested(MAX_DEPTH - 2)
    at_two = b"a:2:{i:0;" + deep + b"i:1;a:1:{i:0;R:2;}}"

    assert read(at_two)[1] == [read(deep)]
    with pytest.raises(BadPhp, match="nested"):
        read(b"a:2:{i:0;" + deep + b"i:1;a:1:{i:0;a:1:{i:0;R:2;}}}")


@given(VALUES, st.data())
def test_a_changed_byte_is_read_or_refused(value, data):
    """Whatever the bytes, there is a value or a refusal and nothing else."""
    raw = bytearray(write(value))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(raw) - 1))
        raw[place] = data.draw(st.sampled_from(b'0129:;{}"abdsiNORrCE|-\x00\xff'))
    try:
        read(bytes(raw))
    except (BadPhp, AssertionError):
        return
