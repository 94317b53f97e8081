from __future__ import annotations

import pytest

from proxy.config.document import read_document
from proxy.config.messages import describe, did_you_mean, show_path, unknown_key

ROOT = read_document(b"server: {}\nschemes: {a: {type: jwt}}\nroutes: [{}]\n", {}).root


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ((), "(document)"),
        (("server",), "server"),
        (("routes", 3, "match", "host"), "routes[3].match.host"),
        (("routes", 0, "require", "claims", "a.b"), 'routes[0].require.claims."a.b"'),
        (("upstreams", 'a"b'), 'upstreams."a\\"b"'),
        (("upstreams", "a\n\u202eb"), 'upstreams."a\\u000a\\u202eb"'),
        (("upstreams", ""), 'upstreams.""'),
    ],
)
def test_paths_are_shown_as_one_word(path, shown):
    """A key that is no plain word stands in quotes, without anything that cannot be seen."""
    assert shown == show_path(path)


def test_what_stands_in_a_secrets_place_is_not_shown():
    """A secret that slipped into a key's place is not told by the path of the mistake."""
    assert show_path(("schemes", "a", "keys", "secret", "hunter2")) == "schemes.a.keys.secret.…"
    assert show_path(("secrets", "key", "hunter2")) == "secrets.key.…"
    assert show_path(("secrets", "key", 0, "file")) == "secrets.key[0].file"
    assert show_path(("store", "url", "hunter2")) == "store.url.…"
    assert show_path(("schemes", "a", "store", "hunter2")) == "schemes.a.store.…"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (("server", "listn"), "unknown key; did you mean `listen`?"),
        (("schemes", "a", "isuer"), "unknown key; did you mean `issuer`?"),
        (("server", "jwks_url"), "unknown key here; it belongs to `schemes.*.keys`"),
        (("server", "routes"), "unknown key here; it belongs to `the top level`"),
    ],
)
def test_an_unknown_key_is_told_what_was_probably_meant(path, message):
    """The nearest key of the place, the one place where the key belongs, or that it comes later."""
    assert message == unknown_key(path, ROOT)


def test_an_unknown_key_without_a_likeness_is_told_what_is_known():
    """The keys of the place are few enough to be listed."""
    assert unknown_key(("zzzzzz",), ROOT).startswith("unknown key; known here: admin, branding")


def test_pydantics_words_are_not_used():
    """Every kind of mistake that the models can have is told in the words of this product."""
    assert describe({"type": "missing", "msg": "Field required"}) == "is required"
    assert describe({"type": "list_type", "msg": "x"}) == "must be a list"
    error = {"type": "value_error", "msg": "x", "ctx": {"error": ValueError("must be short")}}
    assert describe(error) == "must be short"
    assert describe({"type": "other", "msg": "Is Odd"}) == "is odd"


def test_a_wrong_word_is_told_the_right_ones():
    """The words that are known are listed, and the nearest named; the given one is not repeated."""
    error = {
        "type": "literal_error",
        "msg": "",
        "ctx": {"expected": "'refuse', 'same_site' or 'allow'"},
    }

    assert (
        describe({**error, "input": "refus"})
        == "must be refuse, same_site or allow; did you mean `refuse`?"
    )
    assert describe({**error, "input": "hunter2"}) == "must be refuse, same_site or allow"
    assert describe({**error, "input": 7}) == "must be refuse, same_site or allow"


def test_a_hint_is_given_only_where_there_is_one():
    """Nothing near: nothing said."""
    assert did_you_mean("shp", frozenset({"shop"})) == "; did you mean `shop`?"
    assert did_you_mean("x", frozenset({"shop"})) == ""
