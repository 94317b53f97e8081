from __future__ import annotations

import base64

import pytest

from proxy.config.secret import Secret
from proxy.config.store_models import decode_key

KEY = bytes(range(32))


def test_the_defaults_are_those_of_the_reference(reading):
    """A file that says nothing about the store gets the embedded one, beside the file."""
    store = reading.config("log: {}\n").store

    assert str(store.url) == f"embedded:{reading.base / 'var/store'}"
    assert ("latchgate:", 0.5, "revoke_all", "refuse") == (
        store.prefix,
        store.timeout,
        store.on_loss,
        store.eviction,
    )


def test_verdicts_have_the_defaults_of_the_reference(reading):
    """Nothing said: two seconds of staleness, nothing on an outage, 100,000 verdicts in 64 MiB."""
    config = reading.config("log: {}\n")

    assert (2.0, "deny", None) == (
        config.store.max_staleness,
        config.store.on_outage,
        config.store.grace_s,
    )
    assert (100_000, 64 * 2**20) == (config.verdicts.entries, config.verdicts.bytes)


def test_an_outage_may_be_bridged(reading):
    """R8: `serve_cached` says for how long."""
    config = reading.config("store: {max_staleness: 500ms, on_outage: {serve_cached: 30s}}\n")

    assert (0.5, 30.0) == (config.store.max_staleness, config.store.grace_s)


def test_a_store_that_may_be_slower_than_the_proof_is_warned_of(reading):
    """R2: with a time-out above max_staleness verdicts are unproven whenever the store is slow."""
    found = reading.warnings("store: {max_staleness: 1s, timeout: 2s}\n")

    assert any("max_staleness: is shorter than timeout" in line for line in found)


@pytest.mark.parametrize(("text", "replicas"), [("all", "all"), ("2", 2)])
def test_replicas_are_all_or_a_number(reading, text, replicas):
    """They have 50 ms where nothing else is written."""
    store = f"{{url: 'redis://r', durability: {{replicas: {text}}}}}"
    durability = reading.config(f"store: {store}\n").store.durability

    assert (durability.replicas, durability.timeout) == (replicas, 0.05)


def test_tokens_have_the_defaults_of_the_reference(reading):
    """Only issuer and audience must be said."""
    tokens = reading.config("tokens: {issuer: 'https://g', audience: shop}\n").tokens

    assert tokens is not None
    assert ("EdDSA", 600.0, 30 * 86_400.0) == (tokens.algorithm, tokens.access, tokens.keys.rotate)


@pytest.mark.parametrize(
    "text",
    [
        KEY.hex(),
        KEY.hex().upper(),
        base64.b64encode(KEY).decode(),
        base64.urlsafe_b64encode(KEY).decode().rstrip("="),
        base64.b64encode(KEY).decode() + "\n",
    ],
)
def test_a_key_is_hex_or_base64(text):
    """What openssl prints is a key, in either form."""
    assert decode_key(Secret(text)) == KEY


@pytest.mark.parametrize(
    "text", ["hunter2", KEY.hex()[:-1], KEY.hex() + "00", "é" * 32, "=" * 44, ""]
)
def test_a_key_that_is_too_short_or_no_key_is_refused(text):
    """S10: AES-256 has 32 bytes; a password is no key. The message has nothing of it."""
    with pytest.raises(ValueError, match="must be 32 random bytes") as caught:
        decode_key(Secret(text))

    assert not text or text not in str(caught.value)


def test_bytes_that_are_no_text_are_no_key():
    """A raw key would lose a final byte that looks like a line end."""
    with pytest.raises(ValueError, match="not text"):
        decode_key(Secret(b"\xff" * 32))


def test_the_first_key_encrypts(reading):
    """One key, or several: the newest first."""
    other = bytes(32).hex()
    config = reading.config(f"secrets: {{key: ['{KEY.hex()}', '{other}']}}\n")

    assert config.secrets is not None
    assert config.secrets.keys() == (KEY, bytes(32))
    assert reading.config(f"secrets: {{key: '{other}'}}\n").secrets.keys() == (bytes(32),)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("store: {url: hunter2}", "store.url: must start with embedded:"),
        ("store: {url: {path: hunter2}}", "store.url: must be text, or {file: path}"),
        ("store: {prefix: '{x}'}", "store.prefix: must be at most 128 visible ASCII"),
        ("store: {prefix: ''}", "store.prefix: must not be empty"),
        ("store: {timeout: 0ms}", "store.timeout: must be longer than nothing"),
        ("store: {on_loss: ignore}", "store.on_loss: must be revoke_all or accept"),
        ("store: {max_staleness: 199ms}", "store.max_staleness: must be between 200ms and 60s"),
        ("store: {max_staleness: 2m}", "store.max_staleness: must be between 200ms and 60s"),
        ("store: {max_staleness: 2}", "store.max_staleness: must be a duration with its unit"),
        ("store: {on_outage: allow}", "store.on_outage: must be deny"),
        ("store: {on_outage: {serve_cached: 2s}}", "store.on_outage.serve_cached: must be longer"),
        ("store: {on_outage: {serve_cached: 2h}}", "store.on_outage.serve_cached: must be at most"),
        ("store: {on_outage: {}}", "store.on_outage.serve_cached: is required"),
        ("verdicts: {entries: 0}", "verdicts.entries: must be between 1"),
        ("verdicts: {bytes: 1KiB}", "verdicts.bytes: must be at least 64KiB"),
        ("store: {durability: {replicas: all}}", "store.durability: an embedded store has no"),
        (
            "store: {url: 'redis://r', durability: {replicas: all, timeout: 500ms}}",
            "store.durability.timeout: must be shorter than store.timeout",
        ),
        (
            "store: {url: 'redis://r', durability: {replicas: some}}",
            "store.durability.replicas: must be all or a whole number",
        ),
        (
            "store: {url: 'redis://r', durability: {replicas: 0}}",
            "store.durability.replicas: must be between 1",
        ),
        ("store: {url: 'redis://r', durability: {}}", "store.durability.replicas: is required"),
        ("store: {durability: some}", "store.durability: must be none"),
        ("store: {url: 'redis+cluster://a,b/1'}", "store.url: must name no database"),
        ("tokens: {issuer: a}", "tokens.audience: is required"),
        ("tokens: {issuer: a, audience: b, algorithm: HS256}", "tokens.algorithm: must be EdDSA,"),
        ("tokens: {issuer: a, audience: b, otp: maybe}", "tokens.otp: must be"),
        ("tokens: {issuer: a, audience: b, otp: always}", "tokens.otp: needs `login`"),
        ("tokens: {issuer: a, audience: b, otp: {}}", "tokens.otp.after: is required"),
        ("tokens: {issuer: a, audience: [b]}", "tokens.audience: must be text"),
        ("secrets: {}", "secrets.key: is required"),
        ("secrets: {key: []}", "secrets.key: must not be empty"),
        ("secrets: {key: hunter2}", "secrets.key: must be 32 random bytes"),
        ("secrets: {key: {hunter2: x}}", "secrets.key: must be text, or {file: path}"),
        ("secrets: {key: {hunter2: }}", "secrets.key.…: the value is missing"),
    ],
)
def test_what_does_not_fit_is_told_without_the_secret(reading, text, expected):
    """One mistake, one sentence, and never the value of a secret."""
    found = reading.mistakes(text + "\n")

    assert len(found) == 1
    assert found[0].split(" ", 1)[1].startswith(expected)
    assert "hunter2" not in found[0]
