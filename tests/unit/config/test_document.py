from __future__ import annotations

import time

import pytest

from proxy.config.document import (
    MAX_BYTES,
    BrokenNode,
    MappingNode,
    ScalarNode,
    SequenceNode,
    child,
    read_document,
)
from proxy.config.values import Expanded


def plain(node):
    """Return what a tree says, without positions."""
    if isinstance(node, MappingNode):
        return {key: plain(value) for key, (_, value) in node.entries.items()}
    if isinstance(node, SequenceNode):
        return [plain(item) for item in node.items]
    return "<broken>" if isinstance(node, BrokenNode) else node.value


def read(text, **environment):
    """Return a document without mistakes as plain values."""
    found = read_document(text.encode(), environment)
    assert found.mistakes == []
    return plain(found.root)


def mistakes(text):
    """Return the mistakes of a document as `line:column path message`."""
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    found = read_document(raw, {})
    return [
        f"{m.position.line}:{m.position.column} {'.'.join(map(str, m.path))} {m.message}"
        for m in found.mistakes
    ]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a", "a"),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("FALSE", False),
        ("tRue", "tRue"),
        ("1", 1),
        ("-1", -1),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        (".", "."),
        ("2027-01-31", "2027-01-31"),
        ("'1'", "1"),
        ('"true"', "true"),
        ("'null'", "null"),
        ("''", ""),
        ("nul", "nul"),
        ("|\n  a\n  b\n", "a\nb\n"),
        (">-\n  a\n  b\n", "a b"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text, value):
    """The core schema of YAML 1.2: no `yes`, no octal by a leading zero, no dates, no sixties."""
    found = read(f"k: {text}\n")["k"]

    assert value == found
    assert type(value) is type(found)


def test_every_key_and_value_has_its_place():
    """Lines and columns count from 1, in characters."""
    root = read_document("a: 1\nb:\n  - é: [x, y]\n".encode(), {}).root
    items = child(root, "b")
    key, value = child(items, 0).entries["é"]

    assert (1, 4) == child(root, "a").position
    assert (3, 5) == key
    assert (3, 8) == value.position
    assert (3, 12) == child(value, 1).position
    assert child(root, "c") is None
    assert child(items, 1) is None
    assert child(items, -1) is None


def test_variables_are_replaced_in_values_only():
    """A plain text with a variable may stand for a number; a quoted one is a text."""
    root = read("a: ${A}\nb: '${A}'\n${A}: c\n", A="7")

    assert root == {"a": "7", "b": "7", "${A}": "c"}
    assert type(root["a"]) is Expanded
    assert type(root["b"]) is str


def test_a_value_of_the_environment_cannot_add_structure():
    """Line ends, colons and braces in a variable stay part of the one value."""
    assert read("a: ${A}\n", A="b\nc: {d: e}") == {"a": "b\nc: {d: e}"}
    assert read("a: ${A}\n", A="null") == {"a": "null"}


def test_what_came_from_the_environment_is_kept_from_messages():
    """The document says which values must be shown as they stand in the file."""
    found = read_document(b"a: x-${A}\n", {"A": "hunter2"})

    assert found.replaced == {"hunter2": "x-${A}", "x-hunter2": "x-${A}"}
    assert "hunter2" not in repr(found)


def test_aliases_repeat_a_value():
    """An anchor may be used again, with the place where it was written."""
    found = read_document(b"a: &x {b: 1}\nc: *x\nd: [*x]\n", {})

    assert plain(found.root) == {"a": {"b": 1}, "c": {"b": 1}, "d": [{"b": 1}]}
    assert child(found.root, "c").position == (1, 4)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3\n", "3:1 a this key stands in line 1 already"),
        ("a: {b: 1, b: 2}\n", "1:11 a.b this key stands in line 1 already"),
        ("a:\nb: 1\n", "1:1 a the value is missing"),
        ("a: ~\n", "1:1 a the value is missing"),
        ("a: [1, null]\n", "1:8 a.1 the value is missing"),
        ("a: {b}\n", "1:5 a.b the value is missing"),
        ("a: *b\n", "1:4 a no such anchor (&)"),
        ("a: &b [*b]\n", "1:8 a.0 this alias contains itself"),
        ("a: !!int 1\n", "1:4 a tags (!…) are not used here; quotes make a text"),
        ("a: ! 1\n", "1:4 a tags (!…) are not used here; quotes make a text"),
        ("a: !x {b: 1}\n", "1:4 a tags (!…) are not used here"),
        ("a: !!python/object/apply:os.system [x]\n", "1:4 a tags (!…) are not used here"),
        ("!!str a: 1\n", "1:1  a key is plain text, without tag or anchor"),
        ("&x a: 1\n", "1:1  a key is plain text, without tag or anchor"),
        ("<<: {b: 1}\n", "1:1  merge keys (<<) are not part of YAML 1.2"),
        ("? [a]\n: 1\n", "1:3  a key is plain text, not a list, mapping or alias"),
        ("? {a: 1}\n: 1\n", "1:3  a key is plain text, not a list, mapping or alias"),
        (": 1\n", "1:1  a key is missing"),
        ("a: ${NO}\n", "1:4 a the environment variable NO is not set"),
        ("a: b ${\n", "1:4 a must be ${NAME} or ${NAME:-default}; write $${ for a plain ${"),
        (
            "a: " + "9" * 19 + "\n",
            "1:4 a the number is too large; put it in quotes if it is a text",
        ),
        (
            "a: " + "9" * 9999 + "\n",
            "1:4 a the number is too large; put it in quotes if it is a text",
        ),
        (
            "a: 0x" + "f" * 99 + "\n",
            "1:4 a the number is too large; put it in quotes if it is a text",
        ),
        ("a: 1e999\n", "1:4 a the number is not finite; put it in quotes if it is a text"),
        ("a: .inf\n", "1:4 a the number is not finite; put it in quotes if it is a text"),
        ("a: -.Inf\n", "1:4 a the number is not finite; put it in quotes if it is a text"),
        ("a: .nan\n", "1:4 a the number is not finite; put it in quotes if it is a text"),
        ('a: "\\ud800"\n', "1:4 a half a character (a surrogate) is no text"),
        ('"\\ud800": 1\n', "1:1  a key is plain text, without tag or anchor"),
    ],
)
def test_a_mistake_does_not_hide_the_next_one(text, expected):
    """What is wrong with a value is told with its place, and the rest is read on."""
    assert [expected, "99:1 z the value is missing"] == [
        mistakes(text + "\n" * (98 - text.count("\n")) + "z:\n")[0],
        mistakes("\n" * 98 + "z:\n")[0],
    ]
    assert len(mistakes(text + "z:\n")) == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "1:1  the file is empty"),
        ("# nothing\n", "1:1  the file is empty"),
        ("a: [1\nb: 2\n", "2:2  not YAML"),
        ("a: b: c\n", "1:5  not YAML"),
        ("a: 'x\n", "2:1  not YAML"),
        ("\ta: 1\n", "1:1  YAML is indented with spaces, not with tabs"),
        ("a:\n\tb: 1\n", "2:1  YAML is indented with spaces, not with tabs"),
        ("a:\n  \tb: 1\n", "2:3  YAML is indented with spaces, not with tabs"),
        ("a: 1\n--- \nb: 2\n", "2:1  a second document begins here"),
        ("a: 1\n...\nb: 2\n", "3:1  "),
        ("%YAML 1.1\n---\na: yes\n", "2:1  directives"),
        ("%YAML 1.3\n---\na: 1\n", "1:1  what follows here is not YAML"),
        ("%TAG ! tag:x,2000:\n---\na: 1\n", "2:1  directives"),
        ("a: {b: ${C}}\n", "1:9  not YAML"),
        ('a: "\\UFFFFFFFF"\n', "1:1  what follows here is not YAML"),
        ('a: "\\q"\n', "1:6  not YAML"),
        (b"a: 1\nb: caf\xe9\n", "2:7  this byte is not UTF-8"),
        (b"a: \xc0\xaf\n", "1:4  this byte is not UTF-8"),
        (b"a: \xed\xa0\x80\n", "1:4  this byte is not UTF-8"),
        ("a: 1".encode("utf-16"), "1:1  the file is not UTF-8 (it begins like UTF-16)"),
        ("a: 1".encode("utf-16-le"), "1:2  the character U+0000"),
        ("a: 1\nb: x\x00y\n", "2:5  the character U+0000"),
        ("a: \x1b[31m\n", "1:4  the character U+001B"),
        ("a: x\x85b: y\n", "1:5  the character U+0085"),
        ("a: x\u2028b: y\n", "1:5  the character U+2028"),
        ("a: x # \u202e\n", "1:8  the character U+202E"),
        ("a: \u2066x\n", "1:4  the character U+2066"),
        ("a: x\rb: y\n", "1:5  the character U+000D"),
        ("a: x\ufeff\n", "1:5  the character U+FEFF"),
    ],
)
def test_what_is_no_plain_yaml_is_told_with_its_place(text, expected):
    """Where a text cannot be read on, that one mistake is told, and what came before it."""
    found = mistakes(text)

    assert 1 == len(found)
    assert found[0].startswith(expected), found


def test_windows_files_are_read():
    """A byte order mark and CRLF line ends are no mistakes."""
    found = read_document(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n", {})

    assert plain(found.root) == {"a": 1, "b": 2}
    assert child(found.root, "b").position == (2, 4)


def test_mistakes_before_a_syntax_error_are_told_too():
    """What was found before the text could not be read on is not lost."""
    assert mistakes("a:\na: 1\nb: [\n")[:2] == [
        "1:1 a the value is missing",
        "2:1 a this key stands in line 1 already",
    ]


BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 10)}]\n" for i in range(9)
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (BOMB, "aliases add more than 20000 values"),
        ("[" * 100_000, "nested deeper than 32 levels"),
        ("{a: " * 100_000, "nested deeper than 32 levels"),
        ("- " * 100_000, "nested deeper than 32 levels"),
        ("? " * 100_000, "nested deeper than 32 levels"),
        (
            "a0: &a0 1\n" + "".join(f"a{i}: &a{i} [[[[*a{i - 1}]]]]\n" for i in range(1, 5_000)),
            "nested deeper than 32 levels, through this alias",
        ),
        ("#" * (MAX_BYTES + 1), "the file is larger than 8 MiB"),
    ],
    ids=["laughs", "lists", "mappings", "dashes", "questions", "chained", "huge"],
)
def test_hostile_files_cost_no_more_than_their_size(text, expected):
    """Depth, size and what aliases add are bounded: no file keeps the gate busy or ends it."""
    begin = time.process_time()
    found = mistakes(text)

    assert [expected] == [message.split(" ", 2)[2] for message in found]
    assert time.process_time() - begin < 5.0


def test_values_do_not_show_in_a_node():
    """A tree may hold secrets, so its nodes show their place alone."""
    assert "hunter2" not in repr(read_document(b"a: hunter2\n", {}))
    assert "hunter2" not in repr(ScalarNode((1, 1), "hunter2"))
