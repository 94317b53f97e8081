from __future__ import annotations

import base64
import hashlib
import hmac
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.formats.express import id_pattern, read_session, session_format, session_id
from proxy.core.formats.refusal import BadSession

SID = b"Mwb0dBP61KPrdeGepm4NkJCdjKN8C8bm"
PATTERN = id_pattern(32)


def cookie(sid=SID, secret=b"old", mark=b"s:"):
    mac = base64.b64encode(hmac.new(secret, sid, hashlib.sha256).digest()).rstrip(b"=")
    return mark + sid + b"." + mac


def test_every_secret_verifies():
    """While one secret replaces another both are good; an unknown one never."""
    assert session_id(cookie(), (b"new", b"old"), PATTERN) == SID.decode()
    assert session_id(cookie(secret=b"new"), (b"new", b"old"), PATTERN) == SID.decode()
    assert session_id(cookie(secret=b"x"), (b"new", b"old"), PATTERN) is None
    assert session_id(cookie(), (), PATTERN) is None


def test_s12_the_last_letter_has_one_spelling():
    """S12: the unused bits of base64 are compared too, and nothing is decoded."""
    good = cookie()
    letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    twins = [good[:-1] + bytes([letter]) for letter in letters if good[-1] != letter]
    twins += [good + b"=", good + b" ", good.replace(b".", b"%2E%2E"), b'"' + good + b'"']
    assert {None} == {session_id(twin, (b"old",), PATTERN) for twin in twins}


@pytest.mark.parametrize(
    "sid", [b"x", SID + b"x", b"../../../../../../../../../../..", b"a:b" + SID[3:]]
)
def test_s12_an_id_of_another_shape_is_refused_although_it_is_signed(sid):
    """S12: letters and length are those of the application's ids, so that no other key is reached."""
    assert session_id(cookie(sid), (b"old",), PATTERN) is None


@given(st.binary(max_size=120))
def test_s12_any_cookie_is_an_id_or_none(value):
    """S12: no exception, and no id that was not signed."""
    assert session_id(value, (b"old",), PATTERN) is None


def test_express_goes_by_the_life_of_its_key():
    """connect-redis touches the key alone: the date in the session is an old one."""
    raw = b'{"cookie": {"expires": "2020-01-01T00:00:00.000Z"}, "passport": {"user": 1}}'
    assert read_session(raw, "express", max_bytes=1000)[1] == inf
    assert read_session(raw, "fastify", max_bytes=1000)[1] == 1577836800.0


@pytest.mark.parametrize(
    ("member", "ends_at"),
    [
        ('"expires": null', inf),
        ('"originalMaxAge": 5', inf),
        (
            '"originalExpires": "2020-01-01T00:00:00Z", "expires": "2030-01-01T00:00:00Z"',
            1577836800.0,
        ),
    ],
)
def test_fastify_goes_by_its_date_too(member, ends_at):
    """The original one where there is one; none is no end."""
    raw = f'{{"cookie": {{{member}}}}}'.encode()
    assert read_session(raw, "fastify", max_bytes=1000)[1] == ends_at


@pytest.mark.parametrize(
    "raw",
    [
        b"{}",
        b'{"cookie": 1}',
        b"[]",
        b"",
        b'{"cookie": {"expires": 7}}',
        b'{"cookie": {"expires": "2020-13-41T00:00:00Z"}}',
        b'{"cookie": {"expires": "soon"}}',
    ],
)
def test_s12_what_is_no_session_is_refused(raw):
    """S12: other values under the prefix are nobody's session."""
    with pytest.raises(BadSession):
        read_session(raw, "fastify", max_bytes=1000)


def test_the_format_is_put_together():
    """Of the parts above; a mark that the application leaves out is left out here."""
    form = session_format("sess:", "fastify", secrets=(b"old",), length=32, mark="")
    assert form.locate(cookie(mark=b"")) == SID.decode()
    assert form.locate(cookie()) is None
    assert form.read(b'{"cookie": {}, "userId": 7}', "").members["userId"] == 7
