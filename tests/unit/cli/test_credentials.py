from __future__ import annotations

import time

import pytest

from proxy.cli.credentials import make_session, make_token
from proxy.run.loading import load
from proxy.services.sessions import Login


async def test_what_is_made_opens_what_it_should(gate):
    """The session is listed and the token is accepted; neither is shown by a repr."""
    config = load(gate.file).config
    session = await make_session(config, Login("ada", roles=["admin"]))
    token = await make_token(config, Login("ada"), lifetime_s=60)
    value = session.cookie.partition("=")[2]
    assert "__Host-sid" == session.cookie.partition("=")[0]
    assert session.expires_at > time.time()
    assert value not in repr(session)
    assert token.token not in repr(token)
    assert token.expires_at <= time.time() + 61


async def test_a_gate_without_tokens_makes_none(latchgate):
    """The reason names the section that is missing."""
    latchgate.write('upstreams: {app: {servers: ["http://127.0.0.1:1"]}}\n')
    with pytest.raises(ValueError, match="no `tokens:`"):
        await make_token(load(latchgate.file).config, Login("ada"))


def test_quiet_prints_the_credential_alone(gate):
    """For `$(…)`: the cookie's pair, or the token, and a line end."""
    cookie = gate.run("session", "new", "--subject", "ada", "--quiet").stdout
    assert (1, True) == (cookie.count("\n"), cookie.startswith("__Host-sid="))
    token = gate.run("token", "mint", "--subject", "ada", "-q").stdout
    assert (1, 2) == (token.count("\n"), token.count("."))
    checked = gate.json("token", "inspect", "-", stdin=token.encode())
    assert checked["valid"] is True
