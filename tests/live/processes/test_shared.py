from __future__ import annotations

import signal
import time

import jwt
import pytest

from tests.live.processes.conftest import eventually

pytestmark = pytest.mark.slow


def guarded(public: str, store: str) -> str:
    """Return `public` with a session route at /in beside the public one, on `store`."""
    return public.replace(
        "upstreams:",
        f'store: {{url: "{store}"}}\n'
        "schemes: {web: {type: session, format: native, cookie: sid}}\nupstreams:",
    ).replace("routes: [", 'routes: [{match: {path: "/in"}, auth: web, upstream: app}, ')


async def test_a_store_that_dies_closes_its_routes_and_heals(serve, public, mortal_valkey):
    """503 where a credential needs it, 200 on `auth: none`, unready; and all well when it is back."""
    gate = await serve(guarded(public, mortal_valkey.url))
    await gate.ready()

    async def is_ready() -> bool:
        return (await gate.health("/readyz"))[0] == 200

    async def is_unready() -> bool:
        return not await is_ready()

    await eventually(is_ready)
    assert 401 == (await gate.get("/in", Cookie="sid=x"))[0]
    mortal_valkey.kill()
    assert 503 == (await gate.get("/in", Cookie="sid=x"))[0]
    assert 200 == (await gate.get("/"))[0]
    await eventually(is_unready)
    assert 200 == (await gate.health("/healthz"))[0]
    await gate.said(f"not ready: the store unix:{mortal_valkey.socket_path}: cannot be reached: ")
    mortal_valkey.start()
    await eventually(is_ready)

    async def is_open() -> bool:
        return (await gate.get("/in", Cookie="sid=x"))[0] == 401

    await eventually(is_open)
    gate.send(signal.SIGTERM)
    assert 0 == await gate.exit()


async def test_a_gate_starts_while_its_store_is_away(serve, public, mortal_valkey):
    """An outage at the start is no reason to refuse public routes; the log says it unasked, and why."""
    mortal_valkey.kill()
    gate = await serve(guarded(public, mortal_valkey.url))
    await gate.ready()
    await gate.said(f"not ready: the store unix:{mortal_valkey.socket_path}: cannot be reached: ")
    assert 200 == (await gate.get("/"))[0]
    assert 503 == (await gate.get("/in", Cookie="sid=x"))[0]
    assert 503 == (await gate.health("/readyz"))[0]


async def test_r4_a_loss_of_revocations_is_noticed_once_for_the_gate(serve, public, valkey):
    """R4: the supervisor watches for all workers; the alert is one line, not one per worker."""
    gate = await serve(guarded(public, valkey.url))
    await gate.ready()
    with valkey.client() as client:
        await eventually(lambda: client.exists("latchgate:{revoked}:epoch"))
        client.flushall()
        await gate.said("the store has lost revocations: every token issued until now is refused")
        assert client.exists("latchgate:{revoked}:all")
    alerts = [line for line in gate.lines if line["level"] == "critical"]
    assert ["supervisor"] == [line["process"] for line in alerts]


SECRET = "s" * 64
ISSUER = "https://id.test"


async def test_r4_a_worker_is_told_which_revocations_are_the_gates(serve, public, valkey):
    """R4: emptied and begun anew before its first token, the store opens nothing that was revoked."""
    text = guarded(public, valkey.url).replace(
        "schemes: {",
        f'schemes: {{api: {{type: jwt, issuer: "{ISSUER}", audience: [app], algorithms: [HS256],'
        f' keys: {{secret: "{SECRET}"}}}}, ',
    )
    gate = await serve(text.replace("auth: web", "auth: api"))
    await gate.ready()
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": "app", "sub": "ada", "iat": now, "exp": now + 300}
    bearer = f"Bearer {jwt.encode(claims, SECRET)}"
    with valkey.client() as client:
        await eventually(lambda: client.exists("latchgate:{revoked}:epoch"))
        client.eval(
            "redis.call('FLUSHALL') redis.call('SET', KEYS[1], 'other')",
            1,
            "latchgate:{revoked}:epoch",
        )
        statuses = {(await gate.get("/in", Authorization=bearer))[0]}
        await gate.said(
            "the store has another history of revocations: every token issued until now is refused"
        )

        async def is_refused() -> bool:
            statuses.add((await gate.get("/in", Authorization=bearer))[0])
            return 401 in statuses

        await eventually(is_refused)
    assert {401, 503} >= statuses
