from __future__ import annotations

import json
import time
import tracemalloc

import pytest

from proxy.core.strict_json import (
    MAX_DEPTH,
    MAX_VALUES,
    BadJson,
    loads,
    loads_object,
    memory_of,
)

ROOM = 1024 * 1024


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b'{"a": [1, 2.5, true, null, "x"]}', {"a": [1, 2.5, True, None, "x"]}),
        (b' {"a": {"a": 1}} ', {"a": {"a": 1}}),
        ('{"name": "Zoë"}'.encode(), {"name": "Zoë"}),
        (b'{"smile": "\\ud83d\\ude00"}', {"smile": "\U0001f600"}),
        (b"18446744073709551615", (1 << 64) - 1),
        (b"-99999999999999999999", -99999999999999999999),
    ],
)
def test_plain_documents_are_read(raw, value):
    """What every JSON reader understands alike is returned as it says."""
    assert value == loads(raw, max_bytes=ROOM)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b'{"a": 1} x', "not JSON"),
        (b"{'a': 1}", "not JSON"),
        (b'\xef\xbb\xbf{"a": 1}', "not JSON"),
        ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b'{"a": "\xed\xa0\x80"}', "not UTF-8"),
        (b'{"a": "\\ud800"}', "a lone surrogate"),
        (b'{"\\udfff": 1}', "a lone surrogate"),
        (b'[["x", {"y": ["\\udc00\\ud83d"]}]]', "a lone surrogate"),
        (b'{"a": 1, "a": 2}', "a member occurs twice"),
        (b'{"b": {"a": 1, "\\u0061": 1}}', "a member occurs twice"),
        (b'{"a": NaN}', "a number that is not finite"),
        (b'{"a": Infinity}', "a number that is not finite"),
        (b'{"a": -Infinity}', "a number that is not finite"),
        (b'{"a": 1e999}', "a number that is not finite"),
        (b'{"a": 123456789012345678901}', "an integer of more than 64 bits"),
        (b'{"a": ' + b"9" * 5000 + b"}", "an integer of more than 64 bits"),
    ],
)
def test_documents_with_two_meanings_are_refused(raw, why):
    """What two readers could take differently, or could not write again, is refused with a reason."""
    with pytest.raises(BadJson) as refused:
        loads(raw, max_bytes=ROOM)

    assert why == str(refused.value)


def test_size_is_bounded_before_anything_is_read():
    """One byte more than allowed is refused, whatever it says."""
    assert loads(b'"aa"', max_bytes=4) == "aa"
    with pytest.raises(BadJson, match="5 bytes, more than 4"):
        loads(b'"aaa"', max_bytes=4)


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_depth_is_bounded(opening, closing):
    """Nesting passes up to the limit and not one level beyond it."""
    deepest = opening * MAX_DEPTH + b"1" + closing * MAX_DEPTH

    assert loads(deepest, max_bytes=ROOM)
    with pytest.raises(BadJson, match="nested deeper"):
        loads(opening + deepest + closing, max_bytes=ROOM)
    with pytest.raises(BadJson, match="nested deeper"):
        loads(opening * 100_000, max_bytes=ROOM)


def test_brackets_in_strings_are_no_depth():
    """A text full of brackets, quotes and commas is one value."""
    text = '"[{,\\"' * 40_000
    raw = ('["' + text.replace("\\", "\\\\").replace('"', '\\"') + '"]').encode()

    assert [text] == loads(raw, max_bytes=ROOM)


def test_count_of_values_is_bounded():
    """A document of many small values is refused before they fill the memory."""
    many = b"[" + b",".join([b"1"] * MAX_VALUES) + b"]"

    assert MAX_VALUES == len(loads(many, max_bytes=ROOM))
    with pytest.raises(BadJson, match="more than 50000 values"):
        loads(b"[" + b",".join([b"[]"] * MAX_VALUES) + b"]", max_bytes=ROOM)


@pytest.mark.parametrize(
    "raw",
    [
        b'["' + b'\\"' * 400_000,
        b'["' + b"\\" * 800_001,
        b'"' * 800_000,
        b'["a' * 200_000,
        (b"[" * 63 + b"]" * 63 + b",") * 6000,
    ],
)
def test_hostile_shapes_cost_linear_time(raw):
    """Input made to defeat the scanner is refused in a moment."""
    started = time.process_time()  # of this process alone, however busy the machine is
    with pytest.raises(BadJson):
        loads(raw, max_bytes=ROOM)

    assert time.process_time() - started < 5


def test_other_values_are_no_object():
    """Where an object is expected, an array or a text is refused."""
    assert loads_object(b'{"a": 1}', max_bytes=ROOM) == {"a": 1}
    for raw in (b"[]", b'"x"', b"1", b"null"):
        with pytest.raises(BadJson, match="not a JSON object"):
            loads_object(raw, max_bytes=ROOM)


def test_a_refusal_quotes_nothing():
    """The reason never repeats a word of the document, which may be a secret."""
    with pytest.raises(BadJson) as refused:
        loads(b'{"password": "hunter2" oops}', max_bytes=ROOM)

    assert refused.value.__cause__ is None
    assert "hunter2" not in repr(refused.value)


@pytest.mark.parametrize(
    "value",
    [
        [[] for _ in range(2000)],
        [{} for _ in range(2000)],
        [{"a": 1} for _ in range(2000)],
        [{"a": {"b": []}} for _ in range(1000)],
        [1000 + number for number in range(5000)],
        [number + 0.5 for number in range(5000)],
        [f"{number:03x}" for number in range(4000)],
        {f"{number:03x}": f"{number:03x}" for number in range(2800)},
        {f"{number:03x}": number + 1000 for number in range(4000)},
        {f"{number:03x}": {"x": 1000 + number} for number in range(2000)},
        ["x" * 20_000],
    ],
    ids=lambda value: repr(value)[:24],
)
def test_r9_what_a_document_takes_in_memory_is_not_underestimated(value):
    """R9: many small values take many times their text, and a bound in bytes must know."""
    raw = json.dumps(value, separators=(",", ":")).encode()
    del value
    tracemalloc.start()
    try:
        loaded = loads(raw, max_bytes=len(raw))
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert loaded
    assert taken <= memory_of(raw) <= 6 * taken
