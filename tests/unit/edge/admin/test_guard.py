from __future__ import annotations

import inspect

import pytest

from proxy.config.models import AdminConfig
from proxy.edge.admin.guard import Guard
from proxy.edge.admin.request import AdminRequest
from proxy.edge.portal.reply import Refused

TOKEN = "0123456789abcdef0123456789abcdef"


def verdict(listen="127.0.0.1:9903", token=TOKEN, **headers) -> str:
    """Return the code of the refusal, or `passes`."""
    guard = Guard(
        AdminConfig.model_validate(
            {"listen": listen, "token": token} if token else {"listen": listen}
        )
    )
    given = {b"host": b"127.0.0.1:9903", b"authorization": b"Bearer " + TOKEN.encode()}
    for name, value in headers.items():
        given[name.replace("_", "-").encode()] = value
    request = AdminRequest(
        "GET", "/sessions", b"", {k: v for k, v in given.items() if v is not None}, b""
    )
    try:
        guard.check(request)
    except Refused as refused:
        return refused.code
    return "passes"


def test_a_program_with_the_token_passes():
    """The scheme's name is written in any case (RFC 9110 §11.1)."""
    assert "passes" == verdict()
    assert "passes" == verdict(authorization=b"bearer " + TOKEN.encode())
    assert "passes" == verdict(sec_fetch_site=b"none")


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (None, "credential_missing"),
        (b"", "token_invalid"),
        (b"Bearer", "token_invalid"),
        (b"Bearer ", "token_invalid"),
        (b"Bearer " + TOKEN[:-1].encode(), "token_invalid"),
        (b"Bearer " + TOKEN.encode() + b"x", "token_invalid"),
        (b"Bearer " + TOKEN.upper().encode(), "token_invalid"),
        (b"Basic " + TOKEN.encode(), "token_invalid"),
        (TOKEN.encode(), "token_invalid"),
        (b"Bearer \xff", "token_invalid"),
    ],
)
def test_s11_nobody_passes_without_the_token(value, code):
    """S11: no token, another one, or a part of it."""
    assert code == verdict(authorization=value)


def test_s11_the_token_is_compared_in_constant_time():
    """S11: digests of one length, by the library's comparison, so that no good beginning shows."""
    compared = inspect.getsource(Guard._check_token)

    assert "hmac.compare_digest(_digest(" in compared
    assert "==" not in compared


@pytest.mark.parametrize(
    "host",
    [
        None,
        b"",
        b"evil.example",
        b"localhost.evil.example",
        b"127.0.0.1.evil.example",
        b"a b",
        b"127.0.0.1@evil",
        b"[::1",
        b"0x7f.1",
    ],
)
def test_s11_a_name_that_points_here_is_not_ours(host):
    """S11: a page whose own name was made to point to this machine (DNS rebinding) is refused."""
    assert "host_invalid" == verdict(host=host)


@pytest.mark.parametrize("host", [b"localhost", b"LOCALHOST:1", b"[::1]:9903", b"10.0.0.1"])
def test_an_address_or_localhost_is_nobodys_trick(host):
    """No site has an address as its name in somebody else's browser."""
    assert "passes" == verdict(host=host)


def test_the_listeners_own_name_is_ours():
    """Where the listener is named the name may be used."""
    assert "passes" == verdict(listen="admin.internal:9903", host=b"admin.internal:9903")
    assert "host_invalid" == verdict(listen="admin.internal:9903", host=b"internal:9903")


@pytest.mark.parametrize(
    "origin", [b"null", b"http://127.0.0.1:9903", b"https://evil.example", b""]
)
def test_s11_any_origin_is_refused(origin):
    """S11: only a browser sends Origin, and no page has a word here, not even one of our own."""
    assert "cross_site" == verdict(origin=origin)


@pytest.mark.parametrize("site", [b"cross-site", b"same-site", b"same-origin", b"", b"None"])
def test_s11_what_a_page_makes_its_browser_fetch_is_refused(site):
    """S11: of what browsers say about themselves only `none` passes, an address that was typed."""
    assert "cross_site" == verdict(sec_fetch_site=site)


def test_on_a_unix_socket_the_files_mode_is_the_key():
    """Without a token whoever may open the socket passes; with one it is wanted there too."""
    assert "passes" == verdict(
        listen="unix:/run/a.sock", token=None, authorization=None, host=b"localhost"
    )
    assert "cross_site" == verdict(listen="unix:/run/a.sock", token=None, origin=b"null")
    assert "credential_missing" == verdict(listen="unix:/run/a.sock", authorization=None)
