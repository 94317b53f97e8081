"""Access tokens that their clients cannot read (RFC 7516)."""

from __future__ import annotations

import json

import pytest
from joserfc import jwe
from joserfc.jwk import OctKey

from proxy.adapters.jwe import TokenCipher, _derive, is_encrypted
from proxy.errors import TokenInvalid
from tests.token_workshop import ISSUER, b64, unb64

OLD, NEW = b"o" * 32, b"n" * 32
SIGNED = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJhbm4ifQ.c2ln"
CIPHER = TokenCipher([OLD], ISSUER)


def header_of(token):
    return json.loads(unb64(token.split(".")[0]))


def forged(**changes):
    """Return a token under the right key whose header is another one."""
    key = _derive(OLD)
    header = header_of(CIPHER.encrypt(SIGNED)) | changes
    registry = jwe.JWERegistry(
        algorithms=["A256KW", "A128KW", "dir", "A256GCM", "A128GCM", "DEF"],
        strict_check_header=False,
    )
    return jwe.encrypt_compact(header, SIGNED.encode(), key, registry=registry).encode()


def test_a_token_comes_back_as_it_was_signed():
    """What is decrypted is the signed token, to the byte."""
    encrypted = CIPHER.encrypt(SIGNED)

    assert is_encrypted(encrypted.encode())
    assert not is_encrypted(SIGNED.encode())
    assert CIPHER.decrypt(encrypted.encode()) == SIGNED.encode()


def test_nothing_of_the_claims_shows():
    """The header says issuer and kind (RFC 7519 §5.3), which every client knows; no two look alike."""
    first, second = CIPHER.encrypt(SIGNED), CIPHER.encrypt(SIGNED)
    header = header_of(first)
    kid = header.pop("kid")

    assert {
        "alg": "A256KW",
        "enc": "A256GCM",
        "typ": "at+jwt",
        "cty": "JWT",
        "iss": ISSUER,
    } == header
    assert SIGNED.split(".")[1] not in first
    assert set(first.split(".")[1:]).isdisjoint(second.split(".")[1:])
    assert kid not in (OLD.hex(), b64(OLD))
    assert "o" * 8 not in repr(CIPHER)


def test_secrets_rotate_without_a_gap():
    """The first key encrypts, all decrypt; one that is gone opens nothing."""
    before = CIPHER.encrypt(SIGNED).encode()
    after = TokenCipher([NEW, OLD], ISSUER)

    assert after.decrypt(before) == SIGNED.encode()
    with pytest.raises(TokenInvalid):
        CIPHER.decrypt(after.encrypt(SIGNED).encode())


def test_the_key_is_not_the_one_that_seals_records():
    """What encrypts tokens is derived: neither use tells anything of the other."""
    assert _derive(OLD).raw_value != OLD


@pytest.mark.parametrize(
    "change",
    [{"zip": "DEF"}, {"enc": "A128GCM"}, {"typ": "JWT"}, {"iss": "https://other/"}, {"kid": "x"}],
)
def test_a_header_that_the_gate_does_not_write_is_refused(change):
    """No compression, no other algorithm, nothing to choose: even under the right key."""
    if "enc" in change or "zip" in change:
        forged()  # the forger's tools work
    with pytest.raises(TokenInvalid, match="not encrypted by this gate"):
        CIPHER.decrypt(forged(**change))


@pytest.mark.parametrize("segment", range(5))
def test_every_part_is_authenticated(segment):
    """A changed byte anywhere is a refusal."""
    parts = CIPHER.encrypt(SIGNED).split(".")
    parts[segment] = ("A" if parts[segment][0] != "A" else "B") + parts[segment][1:]

    with pytest.raises(TokenInvalid):
        CIPHER.decrypt(".".join(parts).encode())


@pytest.mark.parametrize(
    "token", [b"", b"....", b"a.b.c.d.e", b"\xff....", b"." * 4 + b"a" * 40_000]
)
def test_what_is_no_token_is_refused(token):
    """Whatever the bytes are, it is a refusal and no error."""
    with pytest.raises(TokenInvalid):
        CIPHER.decrypt(token)


def test_a_key_is_needed():
    """A cipher without keys is a mistake of its maker."""
    with pytest.raises(ValueError, match="key"):
        TokenCipher([], ISSUER)


def test_the_library_refuses_compression_by_itself():
    """Were the header not compared, joserfc would still take the listed algorithms alone."""
    from joserfc.errors import JoseError  # noqa: PLC0415 - of this test alone

    from proxy.adapters.jwe import _REGISTRY  # noqa: PLC0415 - as above

    with pytest.raises(JoseError):
        jwe.decrypt_compact(
            forged(zip="DEF"), OctKey.import_key(_derive(OLD).raw_value), registry=_REGISTRY
        )
