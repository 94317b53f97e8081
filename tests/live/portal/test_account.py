"""`/me`: what people are told of their own session."""

from __future__ import annotations


async def test_me_tells_people_who_they_are(start, client, sign_in):
    """A session's owner reads what the gate knows of them, and nobody else may keep it."""
    gate = await start()
    made = await sign_in(gate, email="ada@example.com", roles=["admin"], amr=["pwd"])
    headers = {"Cookie": f"sid={made.cookie}"}
    async with client.get(f"{gate.url}/_auth/me", headers=headers) as answer:
        told = await answer.json()

    assert (200, "no-store") == (answer.status, answer.headers["Cache-Control"])
    assert ("ada", "ada@example.com", ["admin"], ["pwd"]) == (
        told["subject"], told["email"], told["roles"], told["amr"],
    )  # fmt: skip
    assert "ada" == (await gate.next_record()).subject


async def test_without_a_session_me_is_401(start, client):
    """Nobody is told of a missing session otherwise than of one that has ended."""
    gate = await start()
    for headers, code in (
        ({}, "credential_missing"),
        ({"Cookie": "sid=nobody"}, "session_unknown"),
    ):
        async with client.get(f"{gate.url}/_auth/me", headers=headers) as answer:
            assert (401, code) == (answer.status, (await answer.json())["code"])
            assert 'Cookie realm="web"' == answer.headers["WWW-Authenticate"]


async def test_s2_a_cookie_that_is_there_twice_is_400(start, client):
    """Two values of the session cookie mean two people."""
    gate = await start()
    headers = {"Cookie": "sid=one; sid=two"}
    async with client.get(f"{gate.url}/_auth/me", headers=headers) as answer:
        assert (400, "cookie_duplicate") == (answer.status, (await answer.json())["code"])
        assert answer.headers.getall("Set-Cookie")
