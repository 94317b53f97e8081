"""The image as it is built: what it may do, what it refuses, how it starts and ends."""

from __future__ import annotations

import asyncio
import json
import os

import pytest

from tests.container.test_files import healthcheck

pytestmark = pytest.mark.slow


@pytest.fixture
def guarded(application, free_port):
    """Give a configuration with sessions in the embedded store, and nothing else."""
    return f"""
server: {{listen: "127.0.0.1:0", workers: 1, drain: 20s}}
health: {{listen: "127.0.0.1:{free_port}"}}
upstreams: {{app: {{servers: ["http://127.0.0.1:{application.port}"]}}}}
schemes: {{web: {{type: session, format: native}}}}
routes: [{{match: {{path: /**}}, auth: web, upstream: app}}]
"""


def test_the_image_says_how_it_is_run(image):
    """Not root, by number; exec form; SIGTERM; state in a volume; nothing else is written."""
    config = image.config

    assert config["User"] == "65532:65532"
    assert image.argv == ["latchgate", "serve"]
    assert config["StopSignal"] == "SIGTERM"
    assert list(config["Volumes"]) == ["/var/lib/latchgate"]
    assert list(config["ExposedPorts"]) == ["8080/tcp"]
    assert "LATCHGATE_CONFIG=/etc/latchgate/latchgate.yaml" in config["Env"]
    assert config["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"


def test_the_image_has_no_tools_that_it_does_not_need(root):
    """No pip in its environment, and all bytecode is there, since none can be written."""
    packages = next((root / "opt/latchgate/lib").glob("python*/site-packages"))
    sources = [*(packages / "proxy").rglob("*.py"), *(packages / "aiohttp").rglob("*.py")]
    compiled = {path.name.partition(".")[0] for path in packages.rglob("__pycache__/*.pyc")}

    assert not list(packages.glob("pip*"))
    assert {path.stem for path in sources} <= compiled
    assert (packages / "upstream_example/templates/home.html").exists()


async def test_check_passes(run, guarded):
    """`check` reads the mounted configuration, and says what it makes of it."""
    good = await run(guarded, argv=["latchgate", "check"])
    assert 0 == await good.exit()
    bad = await run(guarded.replace("routes:", "rutes:"), argv=["latchgate", "check"])
    assert 2 == await bad.exit()
    assert "/etc/latchgate/latchgate.yaml:6:1: rutes: " in "".join(bad.raw)


async def test_a_request_is_guarded(run, guarded, engine):
    """401 without, 200 with a session that was made inside; `health` answers; SIGTERM ends it."""
    gate = await run(guarded)
    await gate.ready()
    assert 401 == (await gate.get())[0]

    made = await gate.exec("latchgate", "session", "new", "--subject", "ada", "--json")
    assert 0 == made[0]
    session = json.loads(made[1])
    assert (200, b"hello") == await gate.get(Cookie=session["cookie"])
    assert 0 == (await gate.exec("latchgate", "session", "revoke", session["id"]))[0]
    assert 401 == (await gate.get(Cookie=session["cookie"]))[0]

    assert (0, "ready\n") == await gate.exec(*healthcheck())
    assert any("valkey-server" in line for line in await gate.processes())

    await gate.terminate()
    assert 0 == await gate.exit()
    assert "ended" == gate.messages()[-1]
    assert [engine.state / "store"] == list(engine.state.iterdir())


async def test_sessions_outlive_the_container(run, guarded):
    """The state is in the volume: a new container knows the session of the old one."""
    made = await run(guarded)
    await made.ready()
    output = await made.exec("latchgate", "session", "new", "--subject", "ada", "--json")
    await made.terminate()
    assert 0 == await made.exit()

    gate = await run(guarded)
    await gate.ready()
    assert 200 == (await gate.get(Cookie=json.loads(output[1])["cookie"]))[0]


async def test_the_root_file_system_is_read_only(run, guarded):
    """Nothing but the volume can be written, and no /tmp is needed."""
    gate = await run(guarded)
    await gate.ready()
    program = (
        "import os\n"
        "for place in ('/', '/tmp', '/etc/latchgate', '/opt/latchgate', '/var/lib/latchgate'):\n"
        "    print(place, bool(os.statvfs(place).f_flag & os.ST_RDONLY))\n"
    )
    status, output = await gate.exec("python", "-c", program)

    assert 0 == status
    read_only = dict(line.split() for line in output.splitlines())
    assert ["/var/lib/latchgate"] == [place for place, told in read_only.items() if told != "True"]
    assert 5 == len(read_only)


async def test_root_is_refused(run, guarded):
    """Status 2 and the reason; nothing was started."""
    gate = await run(guarded, user=0)
    assert 2 == await gate.exit()
    assert "".join(gate.raw).startswith("latchgate: refuses to run as root")


async def test_no_store_runs_when_nothing_needs_one(run, guarded, engine):
    """Without sessions, tokens or revocations there is no store, and nothing is written at all."""
    text = guarded.replace("auth: web", "auth: none")
    text = "".join(line for line in text.splitlines(keepends=True) if "schemes" not in line)
    gate = await run(text, has_state=False)
    await gate.ready()
    assert "store: none needed" in gate.messages()
    assert (200, b"hello") == await gate.get()
    assert [line for line in await gate.processes() if "valkey" in line or "guardian" in line] == []
    assert [] == list(engine.state.iterdir())


async def test_state_that_cannot_be_written_is_said(run, guarded, engine):
    """A volume that belongs to somebody else: status 2, and whose it is to be."""
    os.chown(engine.state, 0, 0)
    gate = await run(guarded)
    assert 2 == await gate.exit()
    assert "/var/lib/latchgate/store" in "".join(gate.raw)


async def test_a_missing_volume_is_said(run, guarded):
    """A read-only state directory: status 2, one critical line, and no traceback."""
    gate = await run(guarded, has_state=False)
    assert 2 == await gate.exit()
    (line,) = [line for line in gate.lines if line["level"] in ("error", "critical")]
    assert line["message"].endswith(
        "/var/lib/latchgate/store cannot be used: Read-only file system"
    )
    assert "traceback" not in line


async def test_a_running_request_is_answered_before_the_end(run, guarded, application):
    """SIGTERM drains: what was asked is answered, then the container ends with status 0."""
    gate = await run(guarded.replace("auth: web", "auth: none"))
    await gate.ready()
    application.may_answer.clear()
    asking = asyncio.ensure_future(gate.get())  # noqa: TID251 - awaited below
    await application.asked.wait()
    await gate.terminate()
    await gate.said("draining")
    application.may_answer.set()
    assert (200, b"hello") == await asking
    assert 0 == await gate.exit()


async def test_a_request_that_never_ends_does_not_hold_it_up(run, guarded, application):
    """After the drain time the container ends, with status 0, whatever still runs."""
    text = guarded.replace("auth: web", "auth: none").replace("drain: 20s", "drain: 1s")
    gate = await run(text)
    await gate.ready()
    application.may_answer.clear()
    _, writer = await asyncio.open_connection("127.0.0.1", gate.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    await application.asked.wait()
    await gate.terminate()
    assert 0 == await gate.exit()
    writer.close()
    application.may_answer.set()


async def test_a_missing_configuration_is_said(run):
    """Without a mounted file: status 2, and which file was wanted."""
    gate = await run(None)
    assert 2 == await gate.exit()
    assert "/etc/latchgate/latchgate.yaml:1:1: (document): the file cannot be read" in gate.raw[0]
