"""What config/latchgate.service forbids, forbidden for real where the kernel can do it."""

from __future__ import annotations

import configparser
import json
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest
from argon2 import PasswordHasher

UNIT = Path(__file__).parents[3] / "config" / "latchgate.service"
PR_SET_MDWE = 65
FORBID = f"""
import ctypes, os, sys
if ctypes.CDLL(None).prctl({PR_SET_MDWE}, 1, 0, 0, 0):
    sys.exit("this kernel cannot forbid memory that is writable and executable")
if sys.argv[1:]:
    os.execv(sys.argv[1], sys.argv[1:])
"""
PROBE = "import mmap; mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)"


@pytest.fixture
def through():
    """Give a command that runs the rest of its line under the prohibition."""
    command = (sys.executable, "-c", FORBID)
    refused = subprocess.run(
        [*command, sys.executable, "-c", PROBE], capture_output=True, text=True, check=False
    )
    if "cannot forbid" in refused.stderr:
        pytest.skip(refused.stderr.strip())
    assert "PermissionError" in refused.stderr
    return command


@pytest.mark.slow
async def test_nobody_needs_memory_that_is_writable_and_executable(
    serve, application, directory, through
):
    """Workers, passwords and the embedded store do without, so the unit may forbid it."""
    hasher = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1)
    users = {"users": {"ada": {"password": hasher.hash("pw")}}}
    (directory / "users.yaml").write_text(json.dumps(users))
    (directory / "users.yaml").chmod(0o600)

    gate = await serve(
        f"""
server: {{listen: "127.0.0.1:0", workers: 1}}
health: {{listen: "unix:h"}}
log: {{format: json}}
login: {{scheme: web, users: {{file: users.yaml}}}}
upstreams: {{app: {{servers: ["http://127.0.0.1:{application.port}"]}}}}
schemes: {{web: {{type: session, format: native, cookie: sid}}}}
routes: [{{match: {{path: "/**"}}, auth: web, upstream: app}}]
""",
        through=through,
    )
    await gate.ready()
    async with aiohttp.ClientSession(
        f"http://127.0.0.1:{gate.port}", cookie_jar=aiohttp.CookieJar(unsafe=True)
    ) as client:
        async with client.get("/") as answer:
            assert 401 == answer.status
        async with client.post(
            "/_auth/login", json={"username": "ada", "password": "pw"}
        ) as answer:
            assert 200 == answer.status
        async with client.get("/") as answer:
            assert 200 == answer.status


def test_the_unit_forbids_it():
    """The unit has the setting whose consequence is tried here."""
    unit = configparser.RawConfigParser(strict=False)
    unit.read(UNIT)

    assert unit.getboolean("Service", "MemoryDenyWriteExecute")
