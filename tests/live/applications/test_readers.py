"""Real applications of other frameworks, as processes of their own: what they write is read.

Each logs somebody in, touches its session, forgets who it is and ends it; after each step the
reader says of the store what the application says of its session. What cannot run here says why.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import redis

from proxy.core.formats import aiohttp_session, better_auth, php, starsessions
from proxy.core.templates import claim_at
from tests import node_provider

HERE = Path(__file__).parent
BOUND = 1 << 20
WAIT_S = 20.0
DATABASE = 1
SECRET = "a secret of the tests of more than 32 letters, 0x5eed"

pytestmark = pytest.mark.slow


def php_missing():
    """Return why no PHP application can run here."""
    if shutil.which("php") is None:
        return "php is not installed: .ci/run installs php-cli and php-redis"
    modules = subprocess.run(["php", "-m"], capture_output=True, text=True, check=False)
    return None if "redis" in modules.stdout.split() else "php has no module redis (php-redis)"


def python_missing(*names):
    """Return why no application of these packages can run here."""
    lacking = [name for name in names if importlib.util.find_spec(name) is None]
    return (
        f"not installed: {', '.join(lacking)} (pip install -e '.[applications]')"
        if lacking
        else None
    )


@dataclass(frozen=True)
class Application:
    """How it is started, and how its sessions are read."""

    command: Any
    """Takes the port of the store."""
    missing: Any
    key: Any
    members: Any
    path: str
    subject: str


def php_application(handler, length=26, bits=5):
    pattern = php.id_pattern(length, bits)
    told = {
        "session.save_handler": "redis",
        "session.serialize_handler": handler,
        "session.sid_length": length,
        "session.sid_bits_per_character": bits,
    }

    def command(port):
        place = f'session.save_path="tcp://127.0.0.1:{port}?database={DATABASE}"'
        settings = [f"{name}={value}" for name, value in told.items()]
        options = [part for setting in (place, *settings) for part in ("-d", setting)]
        return ["php", "-S", "127.0.0.1:0", *options, str(HERE / "app_php.php")]

    return Application(
        command,
        php_missing,
        lambda cookie: "PHPREDIS_SESSION:" + php.session_id(cookie, pattern),
        lambda raw: php.read_session(raw, handler, max_bytes=BOUND),
        "user.id",
        "42",
    )


def python_application(file, *needs, arguments=(), **how):
    return Application(
        lambda _port: [sys.executable, str(HERE / file), *arguments],
        lambda: python_missing(*needs),
        **how,
    )


APPLICATIONS = {
    "php": php_application("php"),
    "php_serialize": php_application("php_serialize", 32, 4),
    "php_binary": php_application("php_binary", 48, 6),
    "aiohttp-session": python_application(
        "app_aiohttp.py",
        "aiohttp_session",
        key=lambda cookie: "AIOHTTP_SESSION_" + aiohttp_session.session_id(cookie),
        members=lambda raw: aiohttp_session.read_session(raw, max_age=600, max_bytes=BOUND)[0],
        path=aiohttp_session.IDENTITY_PATH,
        subject="alice",
    ),
    "starsessions": python_application(
        "app_starsessions.py",
        "starsessions",
        "uvicorn",
        key=lambda cookie: "starsessions." + starsessions.session_id(cookie),
        members=lambda raw: starsessions.read_session(raw, max_bytes=BOUND),
        path="user_id",
        subject="42",
    ),
}


@contextlib.asynccontextmanager
async def running(application, valkey):
    """Start an application; give its URL. It ends with its input, PHP by a signal."""
    store = f"redis://127.0.0.1:{valkey.port}/{DATABASE}"
    process = await asyncio.create_subprocess_exec(
        *application.command(valkey.port),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | {"REDIS_URL": store, "SECRET": SECRET},
    )
    try:
        said = ""
        async with asyncio.timeout(WAIT_S):
            while (port := re.search(r"(?:127\.0\.0\.1:|^)(\d+)\)?(?: started)?$", said)) is None:
                line = await process.stdout.readline()
                assert line, f"it ended: {said}"
                said = line.decode().strip()
        yield f"http://127.0.0.1:{port[1]}"
    finally:
        process.stdin.close()
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


@pytest.mark.parametrize("name", APPLICATIONS)
async def test_what_an_application_writes_is_read(name, valkey):
    """Signed in, touched, nobody, gone: the store is read as the application takes it."""
    application = APPLICATIONS[name]
    missing = application.missing()
    if missing is not None:
        pytest.skip(missing)
    with redis.Redis(port=valkey.port, db=DATABASE) as store:
        async with (
            running(application, valkey) as url,
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http,
        ):

            async def ask(path, cookie=None):
                async with http.get(
                    url + path, headers={"Cookie": cookie} if cookie else {}
                ) as answer:
                    sent = answer.headers.getall("Set-Cookie", [])
                    return (await answer.json())["user"], sent

            def read(cookie):
                raw = store.get(application.key(cookie.partition("=")[2].encode()))
                user = None if raw is None else claim_at(application.members(raw), application.path)
                return None if user is None else str(user)

            user, sent = await ask("/login")
            cookie = sent[-1].partition(";")[0]
            assert (application.subject, application.subject) == (user, read(cookie))
            for path, expected in (("/touch", application.subject), ("/leave", None)):
                assert expected == (await ask(path, cookie))[0]
                assert expected == read(cookie)
            _, sent = await ask("/login")
            again = sent[-1].partition(";")[0]
            assert application.subject == read(again)
            await ask("/logout", again)
            assert read(again) is None


async def test_what_better_auth_writes_is_read(valkey):
    """Signed in, signed out; and a record that is put back after all sessions were ended is dead."""
    try:
        place = node_provider.installed(node_provider.APPLICATIONS)
    except node_provider.NotHere as reason:
        pytest.skip(str(reason))
    shutil.copy(HERE / "node" / "app_better_auth.mjs", place)
    application = Application(
        lambda _port: ["node", str(place / "app_better_auth.mjs")], None, None, None, "", ""
    )
    with redis.Redis(port=valkey.port, db=DATABASE) as store:
        async with (
            running(application, valkey) as url,
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http,
        ):

            async def ask(path, cookie=None):
                async with http.get(
                    url + path, headers={"Cookie": cookie} if cookie else {}
                ) as answer:
                    sent = answer.headers.getall("Set-Cookie", [])
                    return (await answer.json())["user"], sent

            async def sign_in():
                _, sent = await ask("/login")
                cookie = sent[0].partition(";")[0]
                token = better_auth.token(cookie.partition("=")[2].encode(), (SECRET.encode(),))
                raw = store.get(token)
                session = better_auth.read_session(raw, token, max_bytes=BOUND)
                assert (await ask("/", cookie))[0] == session.user_id
                return cookie, token, raw, session

            cookie, token, _, session = await sign_in()
            assert not better_auth.is_revoked(
                session, store.get(better_auth.REVOKED + session.user_id)
            )
            await ask("/logout", cookie)
            assert store.get(token) is None

            cookie, token, raw, session = await sign_in()
            await ask("/revoke", cookie)
            store.set(token, raw)
            assert (await ask("/", cookie))[0] is None
            assert better_auth.is_revoked(session, store.get(better_auth.REVOKED + session.user_id))
