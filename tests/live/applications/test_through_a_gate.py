"""Real applications behind a gate that reads their sessions: signed in there, recognised here.

And ended there, refused here. What cannot run here says why.
"""

from __future__ import annotations

import asyncio
import base64
import shutil
import subprocess
import time

import aiohttp
import pytest

from proxy.core.otp import code_at
from proxy.core.session_factors import person_of
from tests import node_provider
from tests.live.applications.test_readers import (
    APPLICATIONS,
    DATABASE,
    HERE,
    SECRET,
    Application,
    php_missing,
    python_application,
    running,
)

pytestmark = pytest.mark.slow


def node_application(name):
    """Return an application in Node. Raises `NotHere`."""
    place = node_provider.installed(node_provider.APPLICATIONS)
    shutil.copy(HERE / "node" / name, place)
    command = ["node", str(place / name)]
    return Application(lambda _port: command, lambda: None, None, None, "", "42")


def django_redis(serializer, compressor, *needs):
    """Return Django with django-redis, and how the gate reads its sessions."""
    return (
        lambda: python_application(
            "app_django.py",
            "django",
            "django_redis",
            *needs,
            arguments=(serializer, compressor),
            **HOW,
        ),
        f"format: django, serializer: {serializer}, compressor: {compressor}",
    )


def laravel(*environment):
    """Return an application of Laravel's own parts."""

    def missing():
        code = "exit(stream_resolve_include_path('Illuminate/Session/autoload.php') ? 0 : 1);"
        if (reason := php_missing()) is not None:
            return reason
        is_there = not subprocess.run(["php", "-r", code], check=False).returncode
        return None if is_there else "Laravel's parts are not installed: .ci/run installs them"

    command = ["env", *environment, "php", "-S", "127.0.0.1:0", str(HERE / "app_laravel.php")]
    return Application(lambda _port: command, missing, None, None, "", "42")


def ruby(kind, *libraries):
    """Return an application on Rack, or on Rails."""

    def missing():
        if shutil.which("ruby") is None:
            return "ruby is not installed: .ci/run installs it"
        wanted = [part for library in libraries for part in ("-r", library)]
        found = subprocess.run(["ruby", *wanted, "-e", ""], capture_output=True, check=False)
        return (
            f"ruby has not all of {', '.join(libraries)}: .ci/run installs them"
            if found.returncode
            else None
        )

    command = ["ruby", str(HERE / "app_ruby.rb"), kind]
    return Application(lambda _port: command, missing, None, None, "", "42")


LARAVEL = (
    'format: laravel, cookie: laravel_session, prefix: "laravel_database_laravel_cache:", '
    f'secrets: ["{"x" * 32}", "{SECRET[:32]}"]'
)
HOW = {"key": None, "members": None, "path": "", "subject": "42"}
BEHIND = {
    "express": (
        lambda: node_application("app_express.mjs"),
        f'format: express, secrets: ["newer", "{SECRET}"], {{}}',
    ),
    "fastify": (
        lambda: node_application("app_fastify.mjs"),
        f'format: express, variant: fastify, secrets: ["newer", "{SECRET}"], identity: {{subject: user.id}}',
    ),
    "django": (lambda: python_application("app_django.py", "django", **HOW), "format: django"),
    "django-redis": django_redis("pickle", "none"),
    "django-redis, zlib": django_redis("json", "zlib"),
    "django-redis, gzip": django_redis("msgpack", "gzip", "msgpack"),
    "django-redis, lzma": django_redis("json", "lzma"),
    "django-redis, zstd": django_redis("pickle", "zstd", "pyzstd"),
    "django-redis, lz4": django_redis("json", "lz4", "lz4"),
    "flask": (
        lambda: python_application("app_flask.py", "flask", "flask_session", **HOW),
        f'format: flask, signer: true, secrets: "{SECRET}"',
    ),
    "php": (
        lambda: APPLICATIONS["php"],
        "format: php, id_length: 26, id_bits: 5, identity: {subject: user.id}",
    ),
    "laravel": (laravel, LARAVEL),
    "laravel, encrypted": (lambda: laravel("SESSION_ENCRYPT=1"), f"{LARAVEL}, encrypted: true"),
    "rack": (
        lambda: ruby("rack", "webrick", "redis-rack"),
        'format: rails, cookie: rack.session, prefix: "rack:session:", id_length: 64, identity: {subject: user_id}',
    ),
    "rails": (
        lambda: ruby(
            "rails", "webrick", "active_support/all", "action_dispatch", "redis-actionpack"
        ),
        'format: rails, cookie: _shop_session, prefix: "session:", identity: {subject: user_id}',
    ),
    "aiohttp-session": (
        lambda: APPLICATIONS["aiohttp-session"],
        "format: aiohttp-session, max_age: 600s",
    ),
    "starsessions": (
        lambda: APPLICATIONS["starsessions"],
        "format: starsessions, identity: {subject: user_id}",
    ),
}
WHO = "identity: {subject: passport.user}"
CONFIG = """\
upstreams: {{app: {{servers: ["{url}"]}}}}
schemes: {{app: {{type: session, store: "redis://127.0.0.1:{port}/{database}", {scheme}}}}}
routes:
  - {{match: {{path: /login}}, auth: none, upstream: app, forward_credentials: true}}
  - {{match: {{path: /**}}, auth: app, upstream: app}}
"""
TIMES = 20


@pytest.mark.parametrize("name", BEHIND)
async def test_s12_a_session_of_the_application_opens_the_gate_until_it_ends_there(
    name, start_gate, valkey
):
    """S12: whom the application takes for signed in, and for as long, and no longer."""
    make, scheme = BEHIND[name]
    try:
        application = make()
    except node_provider.NotHere as reason:
        pytest.skip(str(reason))
    missing = application.missing()
    if missing is not None:
        pytest.skip(missing)
    async with (
        running(application, valkey) as url,
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http,
    ):
        gate = await start_gate(
            CONFIG.format(
                url=url,
                port=valkey.port,
                database=DATABASE,
                scheme=scheme.replace("{}", WHO),
            )
        )

        async def ask(path, cookie=None, base=gate.url):
            headers = {"Cookie": cookie} if cookie else {}
            async with http.get(base + path, headers=headers) as answer:
                sent = answer.headers.getall("Set-Cookie", [])
                told = await answer.json(content_type=None)
                return answer.status, told, sent

        async def sign_in():
            _, _, sent = await ask("/login")
            return sent[-1].partition(";")[0]

        async def refused(cookie):
            async with asyncio.timeout(5):  # it takes the store's word, which is under way
                while (await ask("/", cookie))[0] != 401:
                    pass

        subject = application.subject
        assert (await ask("/"))[0] == 401
        cookie = await sign_in()
        for _ in range(TIMES):
            status, told, _ = await ask("/touch", cookie)
            assert (200, subject, subject) == (status, str(told["user"]), told["told"])
        counters = gate.runtime.coherence.counters
        assert counters.misses <= TIMES + 1  # one look-up for each time that it was written
        await ask("/leave", cookie, url)  # there, beside the gate
        await refused(cookie)
        again = await sign_in()
        assert (await ask("/", again))[0] == 200
        await ask("/logout", again)
        await refused(again)


STEPPED = (
    CONFIG
    + """\
  - {{match: {{path: /touch}}, auth: app, upstream: app, require: {{mfa_within: 15m}}}}
store: {{url: "redis://127.0.0.1:{port}/0"}}
secrets: {{key: "{key}"}}
"""
)


async def test_s7_a_code_over_a_session_of_express_counts_until_the_person_signs_in_anew(
    start_gate, valkey
):
    """S7, S1: through the application's own writes and touches, and not under its next session's id."""
    try:
        application = node_application("app_express.mjs")
    except node_provider.NotHere as reason:
        pytest.skip(str(reason))
    scheme = BEHIND["express"][1].replace("{}", WHO)
    async with (
        running(application, valkey) as url,
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http,
    ):
        gate = await start_gate(
            STEPPED.format(
                url=url, port=valkey.port, database=DATABASE, scheme=scheme, key="ab" * 32
            )
        )
        otp = gate.runtime.foreign.step_up.otp
        made = await otp.enrol(person_of("app", "42"), time.time())

        async def ask(method, path, *cookies, **sent):
            headers = {"Cookie": "; ".join(cookies)}
            async with http.request(method, gate.url + path, headers=headers, **sent) as answer:
                kept = [one.partition(";")[0] for one in answer.headers.getall("Set-Cookie", [])]
                return answer.status, kept

        _, (session,) = await ask("GET", "/login")
        assert (await ask("GET", "/touch", session))[0] == 403
        code = code_at(base64.b32decode(made.secret), time.time())
        status, (factor,) = await ask("POST", "/_auth/step-up/app", session, json={"code": code})
        assert status == 200
        for _ in range(TIMES):
            assert (await ask("GET", "/touch", session, factor))[0] == 200
        assert (await ask("GET", "/touch", session))[0] == 403
        _, (again,) = await ask("GET", "/login", session, factor)
        assert session != again
        assert (await ask("GET", "/", again, factor))[0] == 200
        assert (await ask("GET", "/touch", again, factor))[0] == 403
