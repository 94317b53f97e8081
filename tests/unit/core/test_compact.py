"""Base64url with exactly one spelling for each value."""

from __future__ import annotations

from types import MappingProxyType

import pytest

from proxy.core.compact import decode_segment, encode_segment, sign_compact, to_json


@pytest.mark.parametrize(
    ("raw", "text"),
    [(b"", b""), (b"\x00", b"AA"), (b"f", b"Zg"), (b"\xfb\xff", b"-_8"), (b"abc", b"YWJj")],
)
def test_both_directions_agree(raw, text):
    """What is encoded is decoded to the same bytes, in the alphabet of RFC 4648 §5."""
    assert (text, raw) == (encode_segment(raw), decode_segment(text))


@pytest.mark.parametrize(
    "segment",
    [
        b"Zg==",
        b"Zg=",
        b"Zh",  # trailing bits
        b"YWK",
        b"A",
        b"AAAAA",
        b"+/8",
        b"-_8 ",
        b" -_8",
        b"-_\n8",
        b"-_8\n",
        b"YW.Jj",
        b"YW\x00Jj",
        "YWJj\u00e9".encode(),
        b"====",
        b"!!!!",
    ],
)
def test_k2_every_other_spelling_is_refused(segment):
    """Padding, white space, plain base64 and bits that are not zero do not decode."""
    with pytest.raises(ValueError, match="base64url"):
        decode_segment(segment)


def test_json_is_written_compact_and_finite():
    """Claims are written without spaces; numbers that are no JSON are refused."""
    assert '{"a":["ü",1]}'.encode() == to_json({"a": ("ü", 1)})
    with pytest.raises(ValueError, match="Out of range"):
        to_json({"a": float("inf")})
    with pytest.raises(TypeError):
        to_json({"a": object()})


def test_a_read_only_mapping_is_written_as_an_object():
    """Claims may hold mappings that are no dict."""
    assert b'{"a":{"b":1}}' == to_json({"a": MappingProxyType({"b": 1})})


def test_a_token_is_header_payload_and_signature():
    """The signer sees header and payload as they stand in the token."""
    seen = []

    def signer(signing_input):
        seen.append(signing_input)
        return b"abc"

    assert b"aGVhZA.e30.YWJj" == sign_compact(encode_segment(b"head"), b"{}", signer)
    assert [b"aGVhZA.e30"] == seen
