from __future__ import annotations

import pytest

from proxy.config.foreign_formats import COMPRESSOR_MODULES

HEAD = 'upstreams: {shop: {servers: ["http://a"]}}\nroutes: [{auth: none, upstream: shop}]\n'
STORE = "store: 'redis://apps'"
WHO = "identity: {subject: user_id}"


def messages(reading, scheme):
    """Return what is wrong with a session scheme `a`, without line and column."""
    text = f"{HEAD}schemes: {{a: {{type: session, {scheme}}}}}\n"
    return [found.split(" ", 1)[1] for found in reading.mistakes(text)]


@pytest.mark.parametrize(
    ("scheme", "found"),
    [
        (f"format: json, {STORE}", ["cookie: is required", "identity: is required"]),
        (f"format: php, {STORE}", ["identity: is required"]),
        (f"format: express, {STORE}", ["secrets: is required", "identity: is required"]),
        (
            f"format: laravel, {STORE}",
            ["cookie: is required", "prefix: is required", "secrets: is required"],
        ),
        (f"format: better-auth, {STORE}", ["secrets: is required"]),
        (
            f"format: rails, {STORE}",
            ["cookie: is required", "prefix: is required", "identity: is required"],
        ),
    ],
    ids=["json", "php", "express", "laravel", "better-auth", "rails"],
)
def test_what_has_no_default_is_asked_for(reading, scheme, found):
    """S12: a guessed prefix, secret or identity would read somebody else's session."""
    name = scheme.split(",")[0].removeprefix("format: ")
    assert messages(reading, scheme) == [f"schemes.a.{one} with `format: {name}`" for one in found]


@pytest.mark.parametrize(
    "scheme",
    [
        f"format: express, {WHO}, {STORE}",
        f"format: better-auth, {STORE}",
        f'format: laravel, cookie: a, prefix: "b:", {STORE}',
    ],
    ids=["express", "better-auth", "laravel"],
)
def test_no_secret_at_all_is_none(reading, scheme):
    """An empty list would refuse everybody, and nobody would know why."""
    name = scheme.split(",")[0].removeprefix("format: ")
    told = f"schemes.a.secrets: is required with `format: {name}`"
    assert messages(reading, f"{scheme}, secrets: []") == [told]


@pytest.mark.parametrize(
    ("key", "owners"),
    [
        ("secrets: [x]", ["express", "flask", "laravel", "better-auth"]),
        ("serializer: php", ["django", "flask", "php", "laravel", "spring"]),
        ("id_bits: 5", ["php"]),
        ("signer: true", ["flask"]),
        ("variant: fastify", ["express"]),
        ("compressor: zlib", ["django"]),
        ("cipher: AES-128-CBC", ["laravel"]),
        ("encrypted: true", ["laravel"]),
        ("jvm_route: x", ["spring"]),
        ("max_age: 1h", ["aiohttp-session"]),
    ],
)
def test_a_key_of_another_format_is_told(reading, key, owners):
    """A key that means nothing where it stands is a slip, and says where it belongs."""
    found = messages(reading, f"format: starsessions, {WHO}, {STORE}, {key}")
    names = ", ".join(f"`format: {owner}`" for owner in owners)
    assert [f"schemes.a.{key.partition(':')[0]}: is for {names} only"] == found


@pytest.mark.parametrize(
    ("scheme", "message"),
    [
        (f"format: php, {WHO}, serializer: jdk", "must be one of: php, php_serialize, php_binary"),
        (f"format: php, {WHO}, id_length: 8", "must be 22 to 256, as session.sid_length"),
        (
            f"format: rails, cookie: s, prefix: p, {WHO}, id_length: 40",
            "must be 32 (Rails) or 64 (Rack alone)",
        ),
        ("format: starsessions, identity: {email: mail}", "is required"),
        ("format: flask, signer: true", "is required with `signer: true`"),
        ("format: flask, secrets: x", "is for `signer: true` only"),
        ("format: flask, id_length: 7", "must be 22 to 256"),
        (f"format: express, {WHO}, secrets: x, id_length: 7", "must be 8 to 256"),
    ],
    ids=["serializer", "php", "rails", "subject", "signer", "secrets", "flask", "express"],
)
def test_values_that_the_format_cannot_have(reading, scheme, message):
    """Each is told at its own key, before anything is served."""
    (found,) = messages(reading, f"{scheme}, {STORE}")
    assert found.endswith(message)


@pytest.mark.parametrize(
    ("store", "expected"),
    [
        ('store: {url: "redis://127.0.0.1"}', ["routes[0].require.mfa_within: needs `secrets:"]),
        ('store: {url: "redis://127.0.0.1"}\nsecrets: {key: "%s"}' % ("ab" * 32), []),
        ("", []),
    ],
    ids=["others", "sealed", "embedded"],
)
def test_s10_a_factor_beside_a_session_is_kept_sealed(reading, store, expected):
    """S10: with a store of others a key is required; the gate's own store has one."""
    text = f"""
{store}
upstreams: {{app: {{servers: ["http://127.0.0.1:1"]}}}}
schemes: {{app: {{type: session, format: django, {STORE}, identity: {{subject: u}}}}}}
routes: [{{match: {{path: /}}, auth: app, upstream: app, require: {{mfa_within: 15m}}}}]
"""
    found = reading.mistakes(text)
    assert len(expected) == len(found)
    assert all(
        line.startswith(start) or start in line for start, line in zip(expected, found, strict=True)
    )


@pytest.mark.parametrize("compressor", ["zstd", "lz4"])
def test_a_compressor_that_is_not_installed_is_missed_before_the_gate_starts(
    reading, monkeypatch, compressor
):
    """Else the first session that is read would say so, by being refused."""
    scheme = f"format: django, {STORE}, compressor: {compressor}"
    assert messages(reading, scheme) == []
    monkeypatch.setitem(COMPRESSOR_MODULES, compressor, ("a_module.that_is_not_there",))
    (told,) = messages(reading, scheme)
    assert told == (
        f"schemes.a.compressor: `{compressor}` is not installed: pip install 'latchgate[compressors]'"
    )
