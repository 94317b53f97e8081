from __future__ import annotations

import pytest

from proxy.config.document import read_document
from proxy.config.tree import SourceMap, Tree

TEXT = b"""\
a:
  b: [x, y, z]
  c: 1
d:
  - e: 1
    f:
      g: 2
  - e: 3
h: |
  text
"""


@pytest.fixture
def tree():
    """Return the tree of a small document."""
    return Tree(read_document(TEXT, {}).root)


@pytest.mark.parametrize(
    ("path", "position"),
    [
        ((), (1, 1)),
        (("a",), (1, 1)),
        (("a", "b"), (2, 6)),
        (("a", "b", 1), (2, 10)),
        (("a", "nothing"), (1, 1)),
        (("a", "nothing", "below"), (1, 1)),
        (("d", 0), (5, 5)),
        (("d", 0, "f"), (6, 5)),
        (("d", 0, "f", "g"), (7, 10)),
        (("d", 0, "f", "x"), (6, 5)),
        (("d", 1, "x"), (8, 5)),
        (("d", 9), (4, 1)),
        (("h",), (9, 4)),
        (("x",), (1, 1)),
    ],
)
def test_every_path_has_a_place(tree, path, position):
    """A value's own place, its key's where it begins in a later line, else the nearest around it."""
    assert position == tree.source_map.position(path)


def test_a_key_has_its_own_place(tree):
    """A mistake may be the key itself."""
    assert tree.source_map.position(("a", "b"), is_key=True) == (2, 3)


def test_a_source_map_shows_no_value(tree):
    """It is kept beside the configuration, secrets and all."""
    assert repr(SourceMap(tree.root)) == "<SourceMap>"


def test_cuts_take_parts_out(tree):
    """What is cut is as if it were not in the file."""
    tree.cut(("a", "b", 1))
    tree.cut(("d", 0))

    assert tree.plain() == {"a": {"b": ["x", "z"], "c": 1}, "d": [{"e": 3}], "h": "text\n"}
    tree.cut(())
    assert tree.plain() is None


def test_broken_values_are_cut_from_the_beginning():
    """A value that could not be read takes part in nothing, not even below an alias."""
    tree = Tree(read_document(b"a: &x [1, ~]\nb: *x\nc: ~\n", {}).root)

    assert tree.plain() == {"a": [1], "b": [1]}
    assert not tree.is_whole(("b",))


def test_paths_are_told_in_terms_of_the_file(tree):
    """An index counts what is left; the file counts what stands there."""
    tree.cut(("a", "b", 0))
    tree.cut(("d", 0))

    assert tree.original(("a", "b", 0)) == ("a", "b", 1)
    assert tree.original(("a", "b", 1)) == ("a", "b", 2)
    assert tree.original(("d", 0, "e")) == ("d", 1, "e")
    assert tree.original(("d", 5, "e")) == ("d",)
    tree.cut(("a", "b", 1))
    assert tree.original(("a", "b", 0)) == ("a", "b", 2)


def test_pydantic_adds_nothing_to_a_path(tree):
    """The tags of unions are no keys; a missing key is one."""
    assert tree.original(("a", "<other>", "b", "<word>")) == ("a", "b")
    assert tree.original(("a", "<other>", "missing")) == ("a", "missing")
    assert tree.original(("a", "b", "any", 1)) == ("a", "b", 1)
    assert tree.original(("a", "c", "any", 0)) == ("a", "c")
    assert tree.original(("a", "from_")) == ("a", "from")


def test_what_was_touched_is_not_whole(tree):
    """A cut touches everything around it and below it, and nothing beside it."""
    tree.cut(("a", "b", 1))

    assert tree.is_cut(("a", "b", 1, "below"))
    assert not tree.is_cut(("a", "b"))
    assert not tree.is_whole(("a",))
    assert not tree.is_whole(("a", "b", 1))
    assert tree.is_whole(("a", "c"))
    assert tree.is_whole(("a", "b", 0))


def test_an_unknown_key_touches_what_it_should_have_been(tree):
    """A misspelt key casts doubt on the key that was meant, and on nothing else."""
    tree.drop(("a", "c"), ("a", "see"))
    tree.drop(("h",), None)

    assert tree.plain() == {"a": {"b": ["x", "y", "z"]}, "d": [{"e": 1, "f": {"g": 2}}, {"e": 3}]}
    assert not tree.is_whole(("a", "see"))
    assert tree.is_whole(("a", "b"))
    assert tree.is_whole(("d",))


def test_names_are_told_even_when_cut(tree):
    """A reference to a definition that is wrong is no mistake of its own."""
    tree.cut(("a", "b"))

    assert tree.names("a") == {"b", "c"}
    assert tree.names("d") == frozenset()
    assert tree.names("x") == frozenset()
