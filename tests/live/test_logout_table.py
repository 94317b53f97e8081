"""docs/logout.md: each kind of logout is done, and every saved credential is tried again on two gates.

Two gates of one store are what two workers are to each other: they share nothing but the store.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import time
from dataclasses import dataclass, field

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from typer.testing import CliRunner

from proxy.adapters.passwords import hash_password
from proxy.adapters.users_file import edit_users
from proxy.cli.app import app as command_line
from proxy.cli.credentials import begin_family, make_token
from proxy.core.formats.native import cookie_digest
from proxy.core.oauth import SESSION_GRANT
from proxy.core.otp import code_at
from proxy.core.refresh import read_token
from proxy.run.providers import Providers
from proxy.services.factors import open_otp
from proxy.services.runtime import load
from proxy.services.sessions import Login
from tests.reader import ROOT
from tests.small_provider import CLIENT_ID, CLIENT_SECRET, running_provider

PASSWORD = "correct horse"
HASH = hash_password(PASSWORD).text
PAGE = {"Sec-Fetch-Mode": "navigate", "Accept": "text/html"}
CONFIG = """
store: {{url: "{store}", timeout: 10s, max_staleness: 30s}}
secrets: {{key: "{key}"}}
upstreams: {{app: {{servers: ["{app}"]}}}}
tokens: {{issuer: "http://127.0.0.1", audience: shop, refresh: 1d}}
clients:
  phone: {{public: true}}
  tablet: {{public: true}}
schemes:
  web: {{type: session, format: native}}
  api: {{type: jwt, keys: {{local: true}}}}
login:
  scheme: web
  users: {{file: users.yaml}}
  otp: {{at_login: never}}
  providers:
    corp:
      issuer: "{issuer}"
      client_id: "{client_id}"
      client_secret: "{client_secret}"
      identity: {{subject: "{{iss}}|{{sub}}"}}
routes:
  - {{match: {{path: /**}}, auth: [api, web], upstream: app}}
"""

_TABLE = (ROOT / "docs" / "logout.md").read_text()
COLUMNS, _, *ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in _TABLE.splitlines()
    if line.startswith("|")
]
ENDS = {row[0]: {c for c, cell in zip(COLUMNS, row, strict=True) if cell == "ends"} for row in ROWS}


@dataclass
class Cast:
    """What one person holds, by the columns of the table; sessions as cookies."""

    subject: str
    sessions: dict[str, str] = field(default_factory=dict)
    access: dict[str, str] = field(default_factory=dict)
    refresh: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Client and refresh token; a spent one has its successor here."""
    spent: str = ""


class Stage:
    """Two gates, a provider, people, and somebody at the command line."""

    def __init__(self, gates, http, file, small):
        self.gates, self.http, self.file, self.small = gates, http, file, small

    @property
    def one(self):
        return self.gates[0]

    @property
    def users(self):
        return self.file.parent / "users.yaml"

    async def ask(self, gate, method, path, *, cookie=None, headers=None, **more):
        sent = {**(headers or {})}
        if cookie is not None:
            sent["Cookie"] = f"sid={cookie}"
        async with self.http.request(
            method, gate.url + path, headers=sent, allow_redirects=False, **more
        ) as answer:
            return answer, await answer.read()

    async def command(self, *arguments, text=None):
        """Do what an operator types."""
        done = await asyncio.to_thread(
            CliRunner().invoke, command_line, [*arguments, "-c", str(self.file)], input=text
        )
        assert 0 == done.exit_code, done.output

    async def sign_in(self, gate, name, cookie=None):
        said = {"username": name, "password": PASSWORD}
        answer, body = await self.ask(gate, "POST", "/_auth/login", cookie=cookie, json=said)
        assert 200 == answer.status, body
        return answer.cookies["sid"].value

    async def sign_in_there(self, gate, sid):
        """Sign in at the provider, as the session `sid` there."""
        self.small.id_token["sid"] = sid
        answer, _ = await self.ask(gate, "GET", "/_auth/start/corp", headers=PAGE)
        state = "; ".join(f"{name}={morsel.value}" for name, morsel in answer.cookies.items())
        query = self.small.enter(answer.headers["Location"]).decode()
        answer, _ = await self.ask(
            gate, "GET", f"/_auth/callback/corp?{query}", headers={**PAGE, "Cookie": state}
        )
        return answer.cookies["sid"].value

    async def token_of(self, gate, cookie):
        answer, body = await self.ask(
            gate,
            "POST",
            "/_auth/token",
            cookie=cookie,
            headers={"Origin": gate.url},
            data={"grant_type": SESSION_GRANT},
        )
        assert 200 == answer.status, body
        return json.loads(body)["access_token"]

    async def refresh(self, gate, client, token):
        form = {"grant_type": "refresh_token", "client_id": client, "refresh_token": token}
        answer, body = await self.ask(gate, "POST", "/_auth/token", data=form)
        return answer.status, json.loads(body)

    async def cast(self, subject, first, second):
        """Give somebody with these two sessions everything that the table names."""
        config = self.one.runtime.config
        login = Login(subject)
        phone = (await begin_family(config, login, "phone")).members()
        tablet = (await begin_family(config, login, "tablet")).members()
        _, next_ = await self.refresh(self.one, "phone", phone["refresh_token"])
        # The family's answer is used once more, so that the first token is spent beyond the grace.
        _, last = await self.refresh(self.gates[1], "phone", next_["refresh_token"])
        made = Cast(subject)
        made.sessions = {"this session": first, "other sessions": second}
        made.access = {
            "its tokens": await self.token_of(self.gates[1], first),
            "their tokens": await self.token_of(self.one, second),
            "a program's access token": last["access_token"],
            "other programs' tokens": tablet["access_token"],
            "other tokens": (await make_token(config, login)).token,
        }
        made.refresh = {
            "its refresh token": ("phone", last["refresh_token"]),
            "other programs' tokens (refresh)": ("tablet", tablet["refresh_token"]),
        }
        made.spent = phone["refresh_token"]
        return made

    async def opens(self, gate, cast, name):
        """Tell whether a credential opens a route (a refresh token: gets something) at this gate."""
        if name in cast.refresh:
            status, _ = await self.refresh(gate, *cast.refresh[name])
            assert status in (200, 400)
            return 200 == status
        if name in cast.sessions:
            answer, _ = await self.ask(gate, "GET", "/x", cookie=cast.sessions[name])
        else:
            bearer = {"Authorization": f"Bearer {cast.access[name]}"}
            answer, _ = await self.ask(gate, "GET", "/x", headers=bearer)
        assert answer.status in (200, 401)
        return 200 == answer.status

    async def expect(self, cast, ended):
        """Try everything that somebody holds again, on both gates."""
        names = [*cast.sessions, *cast.access, *cast.refresh]
        end = time.monotonic() + 10
        for name in names:
            for gate in self.gates:
                if column(name) in ended:
                    while await self.opens(gate, cast, name):
                        assert time.monotonic() < end, f"{name} still opens"
                        await asyncio.sleep(0.01)
        for name in names:
            for gate in self.gates:
                is_open = await self.opens(gate, cast, name)
                assert is_open == (column(name) not in ended), name


def column(name):
    return re.sub(r" \(.*", "", name)


@pytest.fixture
async def stage(start_gate, valkey, tmp_path):
    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", _answer)
    file = tmp_path / "latchgate.yaml"
    for name in ("ada", "bo"):
        edit_users(tmp_path / "users.yaml", lambda users, n=name: _put(users, n))
    async with running_provider() as small, TestServer(application) as server:
        text = CONFIG.format(
            store=valkey.url,
            key="ab" * 32,
            app=f"http://127.0.0.1:{server.port}",
            issuer=small.issuer,
            client_id=CLIENT_ID,
            client_secret=CLIENT_SECRET,
        )
        file.write_text(text)
        providers = Providers(load(file).config, lambda *_told: None)
        providers.start()
        await providers.wait(5)
        gates = [await start_gate(text, key_sources=providers.sources()) for _ in range(2)]
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
            yield Stage(gates, http, file, small)
        await providers.close()


async def _answer(_request):
    return web.Response(text="in")


def _put(users, name, **members):
    users[name] = {"password": HASH, **users.get(name, {}), **members}
    return True


# What is done, by the row's first words; `ada` is a user of the file, `ann` one of the provider's.


async def _logout(stage, cast, **said):
    cookie = cast.sessions["this session"]
    answer, _ = await stage.ask(stage.one, "POST", "/_auth/logout", cookie=cookie, json=said)
    assert 200 == answer.status


async def _logout_everywhere(stage, cast):
    await _logout(stage, cast, everywhere="1")


async def _sign_in_again(stage, cast):
    await stage.sign_in(stage.one, "ada", cookie=cast.sessions["this session"])


async def _step_up(stage, cast):
    said = {"password": PASSWORD}
    answer, body = await stage.ask(
        stage.one, "POST", "/_auth/step-up", cookie=cast.sessions["this session"], json=said
    )
    assert 200 == answer.status, body
    new = answer.cookies["sid"].value
    for gate in stage.gates:
        assert 200 == (await stage.ask(gate, "GET", "/x", cookie=new))[0].status


async def _session_revoke(stage, cast):
    await stage.command("session", "revoke", cookie_digest(cast.sessions["this session"].encode()))


async def _session_revoke_subject(stage, cast):
    await stage.command("session", "revoke", "--subject", cast.subject)


async def _family_revoke(stage, cast):
    family = read_token(cast.refresh["its refresh token"][1]).family
    await stage.command("session", "revoke", family)


async def _end_own(stage, cast, **said):
    cookie = cast.sessions["this session"]
    headers = {"Origin": stage.one.url}
    answer, body = await stage.ask(
        stage.one, "POST", "/_auth/sessions/end", cookie=cookie, headers=headers, json=said
    )
    assert 200 == answer.status, body


async def _family_end(stage, cast):
    await _end_own(stage, cast, family=read_token(cast.refresh["its refresh token"][1]).family)


async def _end_others(stage, cast):
    await _end_own(stage, cast, others="1")


async def _revoke(stage, token, client="phone"):
    form = {"client_id": client, "token": token}
    assert 200 == (await stage.ask(stage.one, "POST", "/_auth/revoke", data=form))[0].status


async def _revoke_access(stage, cast):
    await _revoke(stage, cast.access["a program's access token"])


async def _token_revoke(stage, cast):
    await stage.command("token", "revoke", "-", text=cast.access["a program's access token"])


async def _revoke_refresh(stage, cast):
    await _revoke(stage, cast.refresh["its refresh token"][1])


async def _reuse(stage, cast):
    status, told = await stage.refresh(stage.gates[1], "phone", cast.spent)
    assert (400, "invalid_grant") == (status, told["error"])


async def _token_revoke_subject(stage, cast):
    await stage.command("token", "revoke", "--subject", cast.subject)


async def _disable(stage, _cast):
    await stage.command("user", "disable", "ada")


async def _passwd(stage, _cast):
    await stage.command("user", "passwd", "ada", "--password", "-", text="another horse\n")


async def _remove_otp(stage, cast):
    codes = open_otp(stage.one.runtime.config, stage.one.runtime.store)
    now = time.time()
    begun = await codes.begin(cast.subject, "digest", now)
    assert await codes.confirm(
        cast.subject, "digest", code_at(base64.b32decode(begun.secret), now), now
    )
    await stage.command("user", "remove-otp", "ada")


async def _other_roles(stage, _cast):
    edit_users(stage.users, lambda users: _put(users, "ada", roles=["admin"]))


async def _gone(stage, _cast):
    edit_users(stage.users, lambda users: users.pop("ada") is not None)


async def _back_channel(stage, **said):
    form = {"logout_token": stage.small.logout_token(**said)}
    answer, body = await stage.ask(stage.one, "POST", "/_auth/backchannel/corp", data=form)
    assert 200 == answer.status, body


async def _back_channel_sid(stage, _cast):
    await _back_channel(stage, sid="there-1")


async def _back_channel_sub(stage, _cast):
    await _back_channel(stage, sub="ann")


PROVIDER = "at the provider"
DEEDS = {
    "`POST /_auth/logout`": [_logout],
    "`POST /_auth/logout` with `everywhere=1`": [_logout_everywhere],
    "signing in again in the same browser": [_sign_in_again],
    "proving a factor again (`/_auth/step-up`)": [_step_up],
    "`latchgate session revoke ID`": [_session_revoke],
    "`latchgate session revoke ID` of a refresh family": [_family_revoke, _family_end],
    "“sign out everywhere else” on `/_auth/sessions`": [_end_others],
    "`latchgate session revoke --subject S`": [_session_revoke_subject],
    "`POST /_auth/revoke` with the access token, `latchgate token revoke TOKEN` or `--jti`": [
        _revoke_access,
        _token_revoke,
    ],
    "`POST /_auth/revoke` with the refresh token": [_revoke_refresh],
    "a spent refresh token comes again": [_reuse],
    "`latchgate token revoke --subject S`": [_token_revoke_subject],
    "`latchgate user disable`, `passwd` or `remove-otp`": [_disable, _passwd, _remove_otp],
    "other password, roles or scopes in the file of users, or gone from it": [_other_roles, _gone],
    "at the provider, with `sid` (back channel)": [_back_channel_sid],
    "at the provider, with `sub` alone (back channel)": [_back_channel_sub],
}


def test_every_row_of_the_table_is_done():
    """Whoever writes a row adds what it says; no cell says anything but that it ends, or not."""
    assert list(DEEDS) == list(ENDS)
    assert {"ends", "\N{EN DASH}"} == {cell for row in ROWS for cell in row[1:]}


@pytest.mark.parametrize(
    ("row", "deed"),
    [pytest.param(row, deed, id=deed.__name__[1:]) for row, deeds in DEEDS.items() for deed in deeds],
)  # fmt: skip
async def test_a_logout_ends_exactly_what_the_table_says(stage, row, deed):
    """R6: on both gates each credential that it ends is refused, each other opens, and everybody else's."""
    one, two = stage.gates
    if row.startswith(PROVIDER):
        subject = f"{stage.small.issuer}|ann"
        first = await stage.sign_in_there(one, "there-1")
        second = await stage.sign_in_there(two, "there-2")
    else:
        subject = "ada"
        first, second = await stage.sign_in(one, "ada"), await stage.sign_in(two, "ada")
    cast = await stage.cast(subject, first, second)
    other = await stage.cast("bo", await stage.sign_in(one, "bo"), await stage.sign_in(two, "bo"))
    # So that both gates have a verdict of each: what is refused then is refused by the event.
    for holder in (cast, other):
        for name in (*holder.sessions, *holder.access):
            for gate in stage.gates:
                assert await stage.opens(gate, holder, name), name

    await deed(stage, cast)

    await stage.expect(cast, ENDS[row])
    await stage.expect(other, set())


@pytest.mark.parametrize("kind", ["session", "token"])
async def test_all_is_the_row_of_a_subject_for_everybody(stage, kind):
    """R6: `--all` ends of everybody what `--subject` ends of one."""
    one, two = stage.gates
    casts = [
        await stage.cast(name, await stage.sign_in(one, name), await stage.sign_in(two, name))
        for name in ("ada", "bo")
    ]

    await stage.command(kind, "revoke", "--all")

    for cast in casts:
        await stage.expect(cast, ENDS[f"`latchgate {kind} revoke --subject S`"])
