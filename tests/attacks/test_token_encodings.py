"""Tokens in spellings that another reader could take for something else, or choke on (K2)."""

from __future__ import annotations

import json
import time

import pytest

from proxy.core.jose import MAX_TOKEN_BYTES, TokenVerifier
from proxy.core.keyset import KeySet
from proxy.errors import TokenInvalid
from tests.token_workshop import (
    AUDIENCE,
    ISSUER,
    NOW,
    assemble,
    b64,
    claims,
    jwk,
    private_key,
    raw_sign,
    token,
)

KEYS = KeySet.from_jwks({"keys": [jwk("Ed25519", kid="a")]}, algorithms=["EdDSA"])
CHECK = TokenVerifier(issuer=ISSUER, audiences=frozenset({AUDIENCE}), algorithms=["EdDSA"])
ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def good(**changes):
    """Return a token that is accepted."""
    return token("EdDSA", "Ed25519", **changes)


def sign(raw_header, raw_payload):
    """Return a token of exactly these bytes, signed by the issuer."""
    return assemble(raw_header, raw_payload, "EdDSA", private_key("Ed25519"))


def resigned(header_segment, payload_segment):
    """Return a token of exactly these segments, signed by the issuer as they stand."""
    body = header_segment + b"." + payload_segment
    signature = raw_sign("EdDSA", private_key("Ed25519"), body)
    return body + b"." + b64(signature).encode()


def refused(raw):
    """Tell why a token is refused; anything but a refusal is a failure."""
    with pytest.raises(TokenInvalid) as caught:
        CHECK.verify(raw, KEYS, NOW)
    return caught.value.detail


def test_r3_no_segment_has_a_second_spelling():
    """Field.md §3 #41: padding, white space, other alphabets and loose bits, in each segment."""
    raw = good(x="??>>")  # its base64 has both letters in which the alphabets differ
    assert CHECK.verify(raw, KEYS, NOW)
    for place in range(3):
        segments = raw.split(b".")
        own = segments[place]
        spellings = {own + b"=", own + b"==", own + b"===", own + b"\n", b" " + own, own + b" "}
        spellings |= {own + b"\0", own[:4] + b"\r\n" + own[4:], own[:4] + b" " + own[4:]}
        spellings |= {own.replace(b"-", b"+").replace(b"_", b"/"), own + b"!", own + b"A"}
        if len(own) % 4:
            after = ALPHABET[(ALPHABET.index(own[-1]) + 1) % 64]
            spellings |= {own[:-1] + bytes([after])}
        for spelling in spellings - {own}:
            segments[place] = spelling
            assert refused(b".".join(segments))


def test_r3_a_second_spelling_is_refused_even_when_it_is_signed():
    """The issuer's own signature over a loose spelling does not make it canonical."""
    head, body, _ = good().split(b".")
    for looser in (body + b"=", body + b"==", body + b"\n", b" " + body):
        assert refused(resigned(head, looser))
    for looser in (head + b"=", head + b"==", head + b"\n", b" " + head):
        assert refused(resigned(looser, body))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b".",
        b"..",
        b"...",
        b"a.b",
        b"a.b.c",
        b"a.b.c.d.e",
        b"\xff\xfe.\xff.\xff",
        b"e30.e30.",
        b"e30.e30.AA",
        b"." * 1000,
        b"A" * 40000,
    ],
)
def test_what_is_no_compact_token_is_refused(raw):
    """Too few, too many, empty and five (encrypted) segments; garbage."""
    assert refused(raw)


def test_four_segments_with_a_good_beginning_are_refused():
    """Nothing stands behind a token."""
    for extra in (b".", b".AA", b"..", b".e30.e30"):
        assert refused(good() + extra)


@pytest.mark.parametrize(
    "raw_header",
    [
        b'{"alg":"EdDSA","alg":"EdDSA"}',
        b'{"alg":"none","alg":"EdDSA"}',
        b'{"alg":"EdDSA","kid":"b","kid":"a"}',
        b'{"alg":"EdDSA","\\u0061lg":"EdDSA"}',
        b'{"alg":"EdDSA","jwk":{"kty":"OKP","kty":"oct"}}',
        b'{"alg":"EdDSA"}{}',
        b'{"alg":"EdDSA"} x',
        b'\xef\xbb\xbf{"alg":"EdDSA"}',
        b'{"alg":"EdDSA","x":"\xff"}',
        b'{"alg":"EdDSA","x":"\\ud800"}',
        b'{"alg":"EdDSA","x":NaN}',
        b'["EdDSA"]',
        b'"EdDSA"',
        b"null",
        b"",
        '{"alg":"EdDSA"}'.encode("utf-16"),
    ],
)
def test_k2_a_header_has_one_meaning(raw_header):
    """Duplicate members on any level, trailing bytes, marks, and what is no JSON object."""
    assert refused(sign(raw_header, json.dumps(claims()).encode()))


@pytest.mark.parametrize(
    "change",
    [
        (b'"sub": "ann"', b'"sub": "ann", "sub": "root"'),
        (b'"sub": "ann"', b'"sub": "ann", "s\\u0075b": "root"'),
        (b'"sub": "ann"', b'"sub": "ann", "a": {"b": 1, "b": 2}'),
        (b'"sub": "ann"', b'"sub": "ann", "a": [{"b": 1, "b": 2}]'),
        (b'"ann"', b'"\\udc00"'),
        (b'"ann"', b'"\xc0\xaf"'),
        (b'"ann"', b'"a\x00n"'),
        (b'"ann"', b"-Infinity"),
    ],
)
def test_k2_a_payload_has_one_meaning(change):
    """The issuer signed it, and still two readers could understand it differently."""
    payload = json.dumps(claims()).encode().replace(*change)

    assert refused(sign(b'{"alg":"EdDSA"}', payload)).startswith("payload: ")


@pytest.mark.parametrize(
    "header",
    [
        {"crit": ["exp"]},
        {"crit": []},
        {"crit": None},
        {"crit": "b64"},
        {"crit": ["b64"], "b64": True},
        {"crit": ["b64"], "b64": False},
        {"b64": False},
        {"b64": True},
        {"b64": None},
        {"crit": ["x"], "x": 1},
        {"crit": ["alg"]},
    ],
)
def test_k2_what_must_be_understood_is_refused(header):
    """No extension is understood, so `crit` and `b64` end it, field.md §3 #37."""
    assert "extension" in refused(good(header=header))


def test_k2_a_detached_payload_is_refused():
    """RFC 7797: an unencoded payload between the dots is not what was checked."""
    head = json.dumps({"alg": "EdDSA", "b64": False, "crit": ["b64"]}).encode()
    body = json.dumps(claims()).encode()
    message = b64(head).encode() + b"." + body
    signature = b64(raw_sign("EdDSA", private_key("Ed25519"), message)).encode()

    assert refused(b64(head).encode() + b".." + signature)
    assert refused(message + b"." + signature)


@pytest.mark.parametrize("opened", [b"[", b'{"a":', b'[{"a":'])
@pytest.mark.parametrize("depth", [100, 1_000, 3_000])
def test_nested_bombs_are_refused_quickly(opened, depth):
    """Deep nesting in header or payload ends as a refusal, not as a crash of the reader."""
    bomb = (opened * depth)[:20_000]
    started = time.process_time()

    assert refused(sign(b'{"alg":"EdDSA","x":' + bomb, b"{}"))
    assert refused(sign(b'{"alg":"EdDSA"}', bomb))
    closed = b"[" * depth + b"]" * depth
    assert refused(
        sign(b'{"alg":"EdDSA"}', json.dumps(claims(x="@")).encode().replace(b'"@"', closed))
    )
    assert time.process_time() - started < 1.0


def test_huge_tokens_are_refused_unread():
    """A token longer than the bound is refused whatever it says; up to it a good one passes."""
    fits = good(x="y" * (MAX_TOKEN_BYTES * 3 // 4 - 500))
    over = good(x="y" * (MAX_TOKEN_BYTES * 3 // 4))

    assert len(fits) < MAX_TOKEN_BYTES < len(over)
    assert CHECK.verify(fits, KEYS, NOW)
    assert "the token is too long" == refused(over)
    assert "the header is too long" == refused(good(header={"x5c": ["y" * 13_000]}))
    started = time.process_time()
    assert refused(b"." * 10_000_000)
    assert time.process_time() - started < 0.5


def test_huge_numbers_are_refused_quickly():
    """Integers of thousands of digits are no claims."""
    payload = json.dumps(claims(x="@")).encode().replace(b'"@"', b"9" * 20_000)

    assert refused(sign(b'{"alg":"EdDSA"}', payload)).startswith("payload: ")


def test_the_payload_is_not_parsed_before_the_signature_is_proved():
    """An attacker's payload never reaches the JSON reader."""
    body = good().split(b".")[0] + b"." + b64(b"{" * 9000).encode()

    assert "no key verifies the signature" == refused(body + b"." + b64(bytes(64)).encode())
