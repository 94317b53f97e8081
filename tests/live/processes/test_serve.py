from __future__ import annotations

import signal

import pytest

pytestmark = pytest.mark.slow


async def test_a_configuration_with_mistakes_is_status_2_and_starts_nothing(serve, public):
    """Every mistake is a line of its own, with its place; no port is bound for it."""
    text = public.replace("auth: none", "auth: nobody").replace("listen:", "lisen:", 1)
    gate = await serve(text)
    assert 2 == await gate.exit()
    shown = "".join(gate.raw)
    file = gate.directory / "latchgate.yaml"
    assert f"{file}:2:10: server.lisen: " in shown
    assert f"{file}:6:39: routes[0].auth: " in shown
    assert shown.endswith("latchgate: 2 mistakes\n")
    assert not (gate.directory / "h").exists()


async def test_a_store_that_another_gate_runs_is_status_3(serve, public, directory):
    """The embedded store belongs to one gate; the second says whose it is and ends."""
    text = public.replace("auth: none", "auth: web").replace(
        "upstreams:",
        'store: {url: "embedded:store"}\n'
        "schemes: {web: {type: session, format: native}}\nupstreams:",
    )
    first = await serve(text)
    await first.ready()
    second = await serve(text.replace("unix:h", "unix:h2"))
    assert 3 == await second.exit()
    assert f"is in use by process {first.process.pid} (gate)" in second.messages()[-1]
    assert not any("traceback" in line for line in second.lines)
    first.send(signal.SIGTERM)
    assert 0 == await first.exit()
