from __future__ import annotations

import pytest

from proxy.config.document import read_document
from proxy.config.outline import (
    LATER,
    fields_of,
    is_later,
    is_optional,
    known_keys,
    nearest,
    outline,
    places_of,
    sections,
)
from proxy.config.scheme_models import JwtSchemeConfig

ROOT = read_document(
    b"schemes: {a: {type: jwt, keys: {file: x}}, b: {type: session}, c: {}}\n"
    b"routes: [{match: {path: /}, identity: {headers: {X: y}}}]\n"
    b"upstreams: {u: {servers: [a]}}\n",
    {},
).root


def test_the_outline_names_every_key():
    """Keys below chosen names and list items are there, under the file's names."""
    paths = [path for path, _ in outline()]

    for path in (
        "server.limits.body_size",
        "upstreams.*.timeouts.connect",
        "upstreams.*.balance.hash.cookie",
        "schemes.*.from",
        "schemes.*.keys.jwks_url",
        "routes[].require.claims.*.any",
        "routes[].cors.origins",
        "tokens.keys.rotate",
    ):
        assert path in paths
    assert not [path for path in paths if "from_" in path]


def test_every_section_is_found_once():
    """Sections that are used in two places are one model."""
    found = sections()

    assert len(found) == len(set(found))
    assert JwtSchemeConfig in found


def test_fields_have_the_names_of_the_file():
    """`from` cannot be an attribute's name, and is the key's."""
    assert "from" in fields_of(JwtSchemeConfig)


@pytest.mark.parametrize(
    ("path", "included", "excluded"),
    [
        ((), "routes", "listen"),
        (("server",), "listen", "routes"),
        (("server", "limits"), "body_size", "listen"),
        (("schemes", "a"), "issuer", "cookie"),
        (("schemes", "b"), "cookie", "issuer"),
        (("schemes", "c"), "cookie", "x"),
        (("schemes", "a", "keys"), "jwks_url", "rotate"),
        (("routes", 0), "auth", "path"),
        (("routes", 0, "match"), "path", "auth"),
        (("routes", 0, "cors"), "origins", "upstream"),
    ],
)
def test_known_keys_are_those_of_the_place(path, included, excluded):
    """A suggestion is a key that may stand there; of a scheme, one of its own type's."""
    keys = known_keys(ROOT, path)

    assert included in keys
    assert excluded not in keys


def test_where_names_are_free_nothing_is_known():
    """Upstreams, headers and claims are called as their author likes."""
    assert known_keys(ROOT, ("upstreams",)) == frozenset()
    assert known_keys(ROOT, ("routes", 0, "identity", "headers")) == frozenset()
    assert known_keys(ROOT, ("nothing", "here")) == frozenset()


def test_required_keys_are_not_optional():
    """What may be left out is known by the innermost key of a path."""
    assert is_optional(ROOT, ("routes", 0, "strip_prefix"))
    assert is_optional(ROOT, ("routes", 0, "identity", "headers", "X"))
    assert not is_optional(ROOT, ("routes", 0, "auth", 1))
    assert not is_optional(ROOT, ("upstreams", "u", "servers", 0))
    assert not is_optional(ROOT, ("nothing",))


def test_later_keys_are_known_by_their_place():
    """Every key of the product is there; `limits` of routes and of the server are."""
    assert not is_later(("routes", 3, "limits"))
    assert not is_later(("server", "limits"))
    assert not is_later(("upstreams", "login"))
    assert not LATER & {path for path, _ in outline()}


def test_the_nearest_word_is_found():
    """Case and dashes make no difference; what is far from everything has no nearest word."""
    assert nearest("upstrems", {"upstreams", "routes"}) == "upstreams"
    assert nearest("Strip-Prefix", {"strip_prefix"}) == "strip_prefix"
    assert nearest("zzz", {"upstreams", "routes"}) is None
    assert nearest("x" * 100_000, {"routes"}) is None
    assert nearest("a", frozenset()) is None


def test_a_misplaced_key_is_found():
    """Some keys have one place only, wherever they were written."""
    assert places_of("jwks_url") == ("schemes.*.keys.jwks_url",)
    assert len(places_of("listen")) == 5
    assert places_of("nonsense") == ()
