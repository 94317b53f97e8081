"""Signing in and out through the gate: page, form and JSON, on a real store."""

from __future__ import annotations

import asyncio
import json
import re
import time

import pytest

from proxy.adapters.passwords import hash_password
from proxy.adapters.users_file import edit_users
from proxy.cli.credentials import make_token
from proxy.core.formats.native import cookie_digest
from proxy.services.attempts import TRIES
from proxy.services.audit import AuditTrail
from proxy.services.sessions import Login

PASSWORD = "correct horse"
HASH = hash_password(PASSWORD).text
SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate"}
PAGE = {"Accept": "text/html"}

CONFIG = """
store: {{url: "{store}"}}
server: {{trusted_proxies: [127.0.0.1]}}
tokens: {{issuer: https://shop.example.com, audience: shop}}
secrets: {{key: "{key}"}}
upstreams: {{app: {{servers: ["http://127.0.0.1:{port}"]}}}}
schemes:
  web: {{type: session, format: native{scheme}}}
  api: {{type: jwt, keys: {{local: true}}}}
login: {{scheme: web, users: {{file: users.yaml}}{login}}}
routes:
  - {{match: {{path: /public/**}}, auth: none, upstream: app}}
  - {{match: {{path: /own/**}}, auth: web, upstream: app, login_url: "/sign-in?back={{next}}"}}
  - {{match: {{path: /api/**}}, auth: api, upstream: app}}
  - {{match: {{path: /**}}, auth: [web, api], upstream: app}}
  - {{match: {{host: shop.example.com, path: /**}}, auth: web, upstream: app}}
  - {{match: {{host: app.example.com, path: /**}}, auth: web, upstream: app}}
"""


def put(file, user="alice", /, **members):
    def change(users):
        users[user] = {"password": HASH, **users.get(user, {}), **members}
        return True

    edit_users(file, change)


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "users.yaml"
    put(file, roles=["customer"], name="Alice")
    return file


@pytest.fixture
async def app():
    """Run an application that says which cookies it was sent, and may set some."""

    async def answer(reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        sets = "Set-Cookie: sid=planted\r\n" if "plant" in head.split()[1] else ""
        cookies = re.findall(r"(?im)^cookie: (.*?)\r$", head)
        body = json.dumps(cookies)
        writer.write(
            f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n{sets}Connection: close\r\n\r\n{body}".encode()
        )
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
async def begin(start_gate, valkey, file, app):
    async def start(login="", scheme=""):
        return await start_gate(
            CONFIG.format(store=valkey.url, key="ab" * 32, port=app, login=login, scheme=scheme)
        )

    return start


class Browser:
    """Keeps cookies as a browser does: by name, replaced and expired by the gate's own headers."""

    def __init__(self, client, gate, **headers):
        self.client, self.gate = client, gate
        self.headers = {"X-Forwarded-Proto": "http", "User-Agent": "Firefox/120.0", **headers}
        self.cookies = {}
        self.set_cookies = []

    async def ask(self, method, path, *, headers=None, **more):
        sent = {**self.headers, **(headers or {})}
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{n}={v}" for n, v in self.cookies.items())
        async with self.client.request(
            method, self.gate.url + path, headers=sent, allow_redirects=False, **more
        ) as answer:
            text = await answer.text()
            self.set_cookies = answer.headers.getall("Set-Cookie", [])
            for line in self.set_cookies:
                name, _, value = line.partition(";")[0].partition("=")
                self.cookies.pop(name, None)
                if value:
                    self.cookies[name] = value
            return answer, text

    async def page(self, query=""):
        return await self.ask("GET", f"/_auth/login{query}", headers=PAGE)

    async def submit(self, *, password=PASSWORD, username="alice", query="", **fields):
        _, text = await self.page(query)
        hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', text))
        hidden = {name: value.replace("&amp;", "&") for name, value in hidden.items()}
        data = {**hidden, "username": username, "password": password, **fields}
        return await self.ask("POST", "/_auth/login", headers={**PAGE, **SAME_ORIGIN}, data=data)

    async def sign_in(self, username="alice", password=PASSWORD, **more):
        return await self.ask(
            "POST",
            "/_auth/login",
            headers=more.pop("headers", None),
            json={"username": username, "password": password, **more},
        )

    async def me(self):
        answer, text = await self.ask("GET", "/_auth/me")
        return answer.status, json.loads(text)

    async def is_signed_out(self):
        """Wait until the gate no longer knows the session: the store tells it in milliseconds."""
        async with asyncio.timeout(10):
            while True:
                status, _ = await self.me()
                if status == 401:
                    return
                await asyncio.sleep(0.01)


@pytest.fixture
def browse(client):
    return lambda gate, **headers: Browser(client, gate, **headers)


async def test_a_form_signs_in_and_leads_back(begin, browse):
    """From the page through the form to where the person wanted to go."""
    gate = await begin()
    browser = browse(gate)
    answer, text = await browser.page("?next=/orders?page=2%26x=1")
    assert 200 == answer.status
    assert 'name="next" value="/orders?page=2&amp;x=1"' in text
    answer, _ = await browser.submit(query="?next=/orders?page=2%26x=1")

    assert (303, "/orders?page=2&x=1") == (answer.status, answer.headers["Location"])
    status, told = await browser.me()
    assert (200, "alice", ["customer"], ["pwd"]) == (
        status,
        told["subject"],
        told["roles"],
        told["amr"],
    )
    answer, text = await browser.page()
    assert "You are signed in as Alice." in text


async def test_json_signs_in(begin, browse):
    """Programs send and get JSON; the cookie is the browser's own."""
    gate = await begin()
    browser = browse(gate)
    answer, text = await browser.sign_in()
    told = json.loads(text)

    assert (200, "alice", "no-store") == (
        answer.status,
        told["subject"],
        answer.headers["Cache-Control"],
    )
    assert "correct horse" not in text
    assert 200 == (await browser.me())[0]
    assert "alice" == (await gate.next_record()).subject


async def test_s1_login_makes_a_new_id_and_ends_the_old(begin, browse, valkey):
    """S1, fixation: neither a value planted beforehand nor the session before it survives."""
    gate = await begin()
    browser = browse(gate)
    planted = "A" * 43
    browser.cookies["sid"] = planted
    await browser.sign_in()
    first = browser.cookies["sid"]
    assert planted != first
    await browser.sign_in()
    second = browser.cookies["sid"]

    assert first != second
    with valkey.client() as store:
        keys = [key.decode() for key in store.keys("latchgate:session:*")]
    assert [f"latchgate:session:{{{cookie_digest(second)}}}"] == keys
    browser.cookies["sid"] = first
    assert 401 == (await browser.me())[0]


async def test_s1_an_ended_session_of_somebody_else_is_not_taken_over(begin, browse):
    """S1, fixation: whoever made the victim's browser carry a cookie of theirs has lost it."""
    gate = await begin()
    attacker, victim = browse(gate), browse(gate)
    await attacker.sign_in()
    victim.cookies["sid"] = attacker.cookies["sid"]
    await victim.sign_in()

    assert attacker.cookies["sid"] != victim.cookies["sid"]
    assert 401 == (await attacker.me())[0]


@pytest.mark.parametrize(
    ("username", "password"),
    [("alice", "wrong"), ("nobody", "correct horse"), ("bob", "correct horse"), ("", ""),
     ("alice", "x" * 2000), ("alice\n", "wrong"), ("a" * 5000, "wrong")],
)  # fmt: skip
async def test_s8_no_answer_tells_whether_a_name_is_there(begin, browse, file, username, password):
    """Enumeration by text: unknown, disabled, wrong and too long are one answer, in both forms."""
    put(file, "bob", disabled=True)
    gate = await begin()
    answer, text = await browse(gate).sign_in(username, password)

    assert (401, "login_failed") == (answer.status, json.loads(text)["code"])
    assert 'Cookie realm="web"' == answer.headers["WWW-Authenticate"]
    assert not answer.headers.getall("Set-Cookie", [])


async def test_s8_the_page_says_the_same_of_every_name(begin, browse):
    """Enumeration by text: but for the name that was typed the pages are equal."""
    gate = await begin()
    pages = []
    for name in ("alice", "mallory"):
        browser = browse(gate)
        answer, text = await browser.submit(username=name, password="wrong")
        assert 401 == answer.status
        pages.append(re.sub(r'name="csrf" value="\w+"', "", text.replace(name, "NAME")))

    assert pages[0] == pages[1]
    assert "do not go together" in pages[0]


async def test_s8_guesses_through_two_workers_are_counted_together(begin, browse):
    """S8, brute force: the count is in the store; the right password is refused as well."""
    gates = [await begin(), await begin()]
    statuses = []
    for number in range(TRIES + 4):
        answer, _ = await browse(gates[number % 2]).sign_in(password="wrong")
        statuses.append(answer.status)
    answer, text = await browse(gates[0]).sign_in()

    assert [401] * TRIES + [429] * 4 == statuses
    assert (429, "too_many_attempts") == (answer.status, json.loads(text)["code"])
    assert [True] == [800 < int(value) <= 900 for value in answer.headers.getall("Retry-After")]
    answer, text = await browse(gates[1]).submit(password="wrong")
    assert (429, 1) == (answer.status, text.count('class="error"'))
    elsewhere = {"X-Forwarded-For": "203.0.113.5"}
    answer, _ = await browse(gates[1], **elsewhere).sign_in()
    assert 200 == answer.status  # nobody can lock another out


async def test_s8_parallel_guesses_get_no_more_tries(begin, browse):
    """S8: fifty at once have as many as one after the other."""
    gate = await begin()
    answers = await asyncio.gather(*(browse(gate).sign_in(password="wrong") for _ in range(50)))

    assert TRIES == [answer.status for answer, _ in answers].count(401)


async def test_s8_success_clears_the_count(begin, browse):
    """S8: a slip of the pen now and then locks nobody out."""
    gate = await begin()
    for _ in range(3):
        for _ in range(TRIES - 1):
            await browse(gate).sign_in(password="wrong")
        answer, _ = await browse(gate).sign_in()
        assert 200 == answer.status


async def test_s3_another_site_signs_nobody_in_or_out(begin, browse):
    """S3, CSRF: a form or script of another site is refused, whatever it sends."""
    gate = await begin()
    for headers in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ):
        browser = browse(gate)
        answer, text = await browser.sign_in(headers=headers)
        assert (403, "cross_site") == (answer.status, json.loads(text)["code"])
        await browser.sign_in()
        answer, _ = await browser.ask("POST", "/_auth/logout", headers=headers)
        assert 403 == answer.status
        assert 200 == (await browser.me())[0]


@pytest.mark.parametrize("break_it", ["no cookie", "another's cookie", "no token", "bad token"])
async def test_s3_a_form_belongs_to_the_browser_that_asked_for_it(begin, browse, break_it):
    """Login CSRF: nobody's browser is signed in to another's account by a form made elsewhere."""
    gate = await begin()
    browser, other = browse(gate), browse(gate)
    await other.page()
    _, text = await browser.page()
    data = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', text))
    data |= {"username": "alice", "password": "correct horse"}
    if break_it == "no cookie":
        browser.cookies.clear()
    elif break_it == "another's cookie":
        browser.cookies = dict(other.cookies)
    elif break_it == "no token":
        del data["csrf"]
    else:
        data["csrf"] = "0" * 64
    answer, text = await browser.ask("POST", "/_auth/login", headers=PAGE, data=data)

    assert (403, 1) == (answer.status, text.count('class="error"'))
    assert "sid" not in browser.cookies


async def test_s3_json_in_a_forms_clothes_is_no_json(begin, browse):
    """Login CSRF: what another site's form can send without asking first is never read as JSON."""
    gate = await begin()
    body = json.dumps({"username": "alice", "password": "correct horse"})
    for kind in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
    ):
        answer, _ = await browse(gate).ask(
            "POST", "/_auth/login", headers={"Content-Type": kind}, data=body
        )
        assert answer.status in (400, 403)
        assert not answer.headers.getall("Set-Cookie", [None])[0] or "sid=" not in str(
            answer.headers.getall("Set-Cookie", [])
        )


async def test_s2_a_doubled_session_cookie_signs_nobody_in(begin, browse):
    """S2, cookie tossing: two values are refused and expired, at the page and at the form."""
    gate = await begin()
    for cookie in ("sid=a; sid=b", "__Host-sid=a; sid=b", "__Host-sid=a; __Host-sid=b"):
        headers = {"Cookie": cookie, "X-Forwarded-Proto": "http"}
        for method, more in (("GET", {}), ("POST", {"json": {"username": "a", "password": "b"}})):
            async with browse(gate).client.request(
                method, f"{gate.url}/_auth/login", headers=headers, **more
            ) as answer:
                assert (400, "cookie_duplicate") == (answer.status, (await answer.json())["code"])
                names = {line.partition("=")[0] for line in answer.headers.getall("Set-Cookie")}
            assert names == {pair.partition("=")[0] for pair in cookie.split("; ")}


async def test_s2_a_tossed_login_state_opens_no_form(begin, browse):
    """Cookie tossing: a second state cookie makes the form nobody's."""
    gate = await begin()
    browser = browse(gate)
    _, text = await browser.page()
    data = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', text))
    state = browser.cookies.pop("latchgate-login")
    browser.headers["Cookie"] = f"latchgate-login={'x' * 43}; latchgate-login={state}"
    data |= {"username": "alice", "password": "correct horse"}
    answer, _ = await browser.ask("POST", "/_auth/login", headers=PAGE, data=data)

    assert 403 == answer.status


async def test_s4_the_form_leads_nowhere_else(begin, browse):
    """S4: a `next` of a stranger's is dropped when the page is made, and when the form comes back."""
    gate = await begin()
    for bad in ("https://evil.example/", "//evil.example", "/_auth/logout", "/\\evil.example"):
        browser = browse(gate)
        _, text = await browser.ask("GET", "/_auth/login", headers=PAGE, params={"next": bad})
        assert "evil" not in text
        assert 'name="next" value="/"' in text
        answer, _ = await browser.submit(next=bad)
        assert (303, "/") == (answer.status, answer.headers["Location"])


@pytest.mark.parametrize(("proto", "status"), [("http", 400), ("https", 200), (None, 400)])
async def test_s5_nobody_signs_in_over_plain_http(begin, browse, proto, status):
    """S5: neither page nor sign-in on an origin that is not encrypted, or not known to be."""
    gate = await begin()
    headers = {"X-Forwarded-Host": "shop.example.com", "X-Forwarded-For": "192.0.2.7"}
    browser = browse(gate, **headers)
    browser.headers["X-Forwarded-Proto"] = proto or "unheard-of"
    answer, text = await browser.page()
    assert status == answer.status
    answer, text = await browser.sign_in()
    assert status == answer.status
    if status == 400:
        assert "insecure_origin" == json.loads(text)["code"]
    else:
        assert ["__Host-sid"] == [name for name in browser.cookies if name.endswith("sid")]
        (line,) = browser.set_cookies
        assert line.endswith("; Path=/; Secure; HttpOnly; SameSite=Lax")


async def test_s5_the_bare_name_counts_on_localhost_only(begin, browse):
    """S5: over https a cookie without its prefix is nobody's session."""
    gate = await begin()
    browser = browse(gate)
    await browser.sign_in()
    assert ["sid"] == list(browser.cookies)
    assert 200 == (await browser.me())[0]
    browser.headers |= {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "shop.example.com"}
    assert 401 == (await browser.me())[0]


async def test_h6_h7_the_bare_cookie_is_the_gates_on_localhost(begin, browse):
    """H6, H7: the application neither sees it nor sets it there, nor ever the state of a sign-in."""
    gate = await begin()
    browser = browse(gate)
    await browser.page()
    await browser.sign_in()
    browser.cookies |= {"theirs": "1"}
    mine = browser.cookies["sid"]
    for path in ("/orders", "/public/x"):
        _, text = await browser.ask("GET", path)
        assert [["theirs=1"]] == [json.loads(text)]
    await browser.ask("GET", "/public/plant")
    assert mine == browser.cookies["sid"]
    browser.headers |= {"X-Forwarded-Proto": "https"}
    _, text = await browser.ask("GET", "/public/plant")
    assert "sid=" in json.loads(text)[0]  # there it is the application's own
    assert "planted" == browser.cookies["sid"]
    assert "latchgate-login" not in text


async def test_remembering_gives_the_cookie_a_life(begin, browse):
    """Asked for, the cookie and the session live 30 days; not asked for, until the browser ends."""
    gate = await begin()
    browser = browse(gate)
    await browser.submit(remember="1")
    (line,) = [line for line in browser.set_cookies if line.startswith("sid=")]
    assert "Max-Age=2592000" in line
    expires_at = (await browser.me())[1]["expires_at"]
    assert 2_591_000 < expires_at - time.time() < 2_593_000
    await browser.sign_in()
    assert "Max-Age" not in browser.set_cookies[0]


async def test_a_choice_that_is_not_offered_is_not_taken(begin, browse):
    """`remember: none` leaves the box out, and what is sent all the same counts for nothing."""
    gate = await begin(login=", sessions: {remember: none}")
    browser = browse(gate)
    _, text = await browser.page()
    assert 'type="checkbox"' not in text
    await browser.submit(remember="1")
    assert not any("Max-Age=25" in line for line in browser.set_cookies)


async def test_r1_a_session_ends_where_it_is_not_bound_to(begin, browse):
    """R1: another network or browser ends it, for a cached verdict too; a neighbour does not."""
    gate = await begin()
    here = {"X-Forwarded-For": "192.0.2.7", "User-Agent": "Firefox/120.0"}
    browser = browse(gate, **here)
    await browser.sign_in()
    assert 200 == (await browser.ask("GET", "/orders"))[0].status
    browser.headers |= {"X-Forwarded-For": "192.0.2.99", "User-Agent": "Firefox/121.0"}
    assert 200 == (await browser.ask("GET", "/orders"))[0].status
    browser.headers["X-Forwarded-For"] = "198.51.100.1"
    answer, text = await browser.ask("GET", "/orders")
    assert (401, "session_moved") == (answer.status, json.loads(text)["code"])
    browser.headers |= here
    await browser.is_signed_out()
    await browser.ask("GET", "/orders")
    await gate.runtime.audit.close()
    _, moved = await AuditTrail(gate.runtime.store, prefix="latchgate:").last(10)
    event = moved.event
    assert ("session_ended", "alice", "198.51.100.1") == (event.kind, event.subject, event.address)
    assert event.detail.endswith(", used elsewhere: another address block")


async def test_r1_a_session_of_an_unknown_address_is_used_at_no_known_one(begin, browse):
    """R1, fail closed: a hop that names no address gives nobody a session that is good everywhere."""
    gate = await begin()
    browser = browse(gate, **{"X-Forwarded-For": "nonsense"})
    await browser.sign_in()
    assert 200 == (await browser.ask("GET", "/orders"))[0].status
    browser.headers["X-Forwarded-For"] = "192.0.2.7"
    answer, text = await browser.ask("GET", "/orders")

    assert (401, "session_moved") == (answer.status, json.loads(text)["code"])


async def test_logout_ends_this_session_and_no_other(begin, browse):
    """H8: the record is gone, the cookie expires, and the browser's cache is emptied."""
    gate = await begin()
    one, other = browse(gate), browse(gate)
    await one.sign_in()
    await other.sign_in()
    held = one.cookies["sid"]
    answer, text = await one.ask("POST", "/_auth/logout")

    assert (200, {"ended": 1}) == (answer.status, json.loads(text))
    assert '"cache"' == answer.headers["Clear-Site-Data"]
    assert {} == one.cookies
    one.cookies["sid"] = held
    assert 401 == (await one.me())[0]
    assert 200 == (await other.me())[0]
    answer, _ = await one.ask("GET", "/_auth/logout")
    assert 405 == answer.status


async def test_logout_everywhere_ends_sessions_and_tokens(begin, browse):
    """Every session of the person on every worker, and nobody else's."""
    gate, worker = await begin(), await begin()
    put(gate.runtime.config.login.users.file, "bob")
    one, other, bob = browse(gate), browse(worker), browse(worker)
    await bob.sign_in("bob")
    for browser in (one, other):
        await browser.sign_in()
        assert 200 == (await browser.me())[0]
    config = gate.runtime.config
    tokens = {name: (await make_token(config, Login(name))).token for name in ("alice", "bob")}

    async def uses(name):
        headers = {"Authorization": f"Bearer {tokens[name]}"}
        answer, _ = await browse(worker).ask("GET", "/api/x", headers=headers)
        return answer.status

    assert [200, 200] == [await uses(name) for name in tokens]
    answer, text = await one.ask("POST", "/_auth/logout", data={"everywhere": "1"})

    assert (200, {"ended": 2}) == (answer.status, json.loads(text))
    await other.is_signed_out()
    assert 200 == (await bob.me())[0]
    assert [401, 200] == [await uses(name) for name in tokens]


async def test_a_page_signs_out_and_says_so(begin, browse):
    """A person is led to the sign-in page, which tells that it worked, in their language."""
    gate = await begin()
    browser = browse(gate)
    await browser.sign_in()
    headers = {**PAGE, **SAME_ORIGIN, "Accept-Language": "ko"}
    answer, _ = await browser.ask("POST", "/_auth/logout", headers=headers)
    assert (303, "/_auth/login?signed_out=1&lang=ko") == (answer.status, answer.headers["Location"])
    _, text = await browser.page("?signed_out=1&lang=ko")
    assert "로그아웃되었습니다." in text


@pytest.mark.parametrize(("roles", "has_admin"), [((), False), (("boss",), True)])
async def test_whoever_is_signed_in_finds_their_pages(begin, browse, file, roles, has_admin):
    """On the sign-in page, with a button for signing out everywhere; nobody else is shown them."""
    put(file, roles=list(roles))
    gate = await begin(", administrators: {roles: [boss]}")
    phone, desk = browse(gate), browse(gate)
    _, text = await desk.page()
    assert "/_auth/sessions" not in text
    for browser in (phone, desk):
        await browser.sign_in()
    _, text = await desk.page("?lang=ko")
    found = re.findall(r'href="/_auth/(\w+)\?lang=ko"', text)

    assert ["sessions", "otp", *(["admin"] if has_admin else [])] == found
    assert '<button class="quiet" name="everywhere" value="1">' in text
    headers = {**PAGE, **SAME_ORIGIN}
    answer, _ = await desk.ask(
        "POST", "/_auth/logout", headers=headers, data={"lang": "ko", "everywhere": "1"}
    )
    assert "/_auth/login?signed_out=1&lang=ko" == answer.headers["Location"]
    await phone.is_signed_out()


@pytest.mark.parametrize(
    ("method", "path", "headers", "expected"),
    [
        ("GET", "/orders?a=1", PAGE, "/_auth/login?next=%2Forders%3Fa%3D1"),
        ("HEAD", "/orders", PAGE, "/_auth/login?next=%2Forders"),
        ("GET", "/orders", {"Sec-Fetch-Mode": "navigate"}, "/_auth/login?next=%2Forders"),
        ("GET", "/own/x?y", PAGE, "/sign-in?back=%2Fown%2Fx%3Fy"),
        ("GET", "/orders", {"Sec-Fetch-Mode": "cors", "Accept": "text/html"}, None),
        ("GET", "/orders", {}, None),
        ("GET", "/api/x", PAGE, None),
        ("POST", "/orders", PAGE, None),
    ],
)
async def test_page_loads_go_to_sign_in_and_nothing_else_does(
    begin, browse, method, path, headers, expected
):
    """People who open a page are sent to sign in; programs, scripts and forms get 401."""
    gate = await begin()
    answer, _ = await browse(gate).ask(method, path, headers=headers)

    assert (303 if expected else 401, expected) == (answer.status, answer.headers.get("Location"))
    assert "no-store" == answer.headers["Cache-Control"]


async def test_a_form_that_lost_its_session_gets_a_link(begin, browse):
    """A redirect would lose what was typed: the page says what to do, and leads to the sign-in."""
    gate = await begin()
    headers = {**PAGE, **SAME_ORIGIN}
    answer, text = await browse(gate).ask("POST", "/orders", headers=headers, data={"a": "b"})

    assert 401 == answer.status
    assert '<a href="/_auth/login?next=%2F">Sign in</a>' in text
    assert "send the form again" in text


async def test_a_bad_token_is_told_and_not_sent_to_sign_in(begin, browse):
    """What was sent on purpose is refused, also when a browser shows the answer."""
    gate = await begin()
    headers = {**PAGE, "Authorization": "Bearer x.y.z"}
    answer, _ = await browse(gate).ask("GET", "/orders", headers=headers)

    assert 401 == answer.status


async def test_one_login_serves_several_hosts(begin, browse):
    """`cookie_domain`: the cookie is for all hosts below it, and `next` may name one of them."""
    gate = await begin(
        login=", cookie_domain: example.com, hosts: [shop.example.com], sessions: {bind: none}"
    )
    shop = {
        "Host": "shop.example.com",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-For": "192.0.2.7",
    }
    app = {**shop, "Host": "app.example.com"}
    answer, _ = await browse(gate, **app).ask("GET", "/x?y", headers=PAGE)
    assert (
        "https://shop.example.com/_auth/login?next=https%3A%2F%2Fapp.example.com%2Fx%3Fy"
        == answer.headers["Location"]
    )
    browser = browse(gate, **shop)
    answer, _ = await browser.submit(query="?next=https://app.example.com/x")
    assert (303, "https://app.example.com/x") == (answer.status, answer.headers["Location"])
    assert any("__Secure-sid=" in line and "Domain=example.com" in line
               for line in browser.set_cookies)  # fmt: skip
    browser.headers = app
    assert 200 == (await browser.ask("GET", "/x"))[0].status
    answer, _ = await browser.ask("GET", "/_auth/login")
    assert 404 == answer.status


async def test_r6_a_change_of_the_file_reaches_live_sessions(begin, browse, file):
    """R6: roles that are taken away by hand end the session within a second or so."""
    gate = await begin()
    browser = browse(gate)
    await browser.sign_in()
    assert 200 == (await browser.me())[0]
    put(file, roles=[])
    await browser.is_signed_out()
    await browser.sign_in()
    assert [] == (await browser.me())[1]["roles"]
    await gate.runtime.audit.close()
    entries = await AuditTrail(gate.runtime.store, prefix="latchgate:").last(10)
    assert [("login", ""), ("user_changed", "in the file of users: 1 ended"), ("login", "")] == [
        (entry.event.kind, entry.event.detail) for entry in entries
    ]


async def test_an_outage_signs_nobody_in(begin, browse, valkey):
    """S8: what cannot be counted is not checked: 503 as JSON, and on the page in words."""
    gate = await begin()
    browser = browse(gate)
    _, text = await browser.page()
    valkey.kill()
    try:
        answer, text = await browser.sign_in()
        assert (503, "store_unavailable") == (answer.status, json.loads(text)["code"])
        answer, text = await browser.page()
        assert 200 == answer.status
        answer, text = await browser.submit()
        assert (503, 1) == (answer.status, text.count('class="error"'))
    finally:
        valkey.start()


async def test_the_audit_trail_says_who_signed_in_failed_and_signed_out(begin, browse):
    """With address, agent and request id; of an unknown name nothing: it may be a password."""
    gate = await begin()
    browser = browse(gate, **{"X-Forwarded-For": "192.0.2.7"})
    await browser.sign_in(password="wrong")
    await browser.sign_in("p4ssw0rd-typed-as-a-name", "x")
    await browser.sign_in(remember=True)
    request_id = (await gate.next_record()).request_id
    await browser.ask("POST", "/_auth/logout", data={"everywhere": "1"})
    await gate.runtime.audit.close()
    entries = await AuditTrail(gate.runtime.store, prefix="latchgate:").last(10)
    events = [entry.event for entry in entries]

    assert [
        ("login_failed", "alice", ""),
        ("login_failed", None, ""),
        ("login", "alice", "remembered"),
        ("logout", "alice", "everywhere: 1"),
    ] == [(event.kind, event.subject, event.detail) for event in events]
    assert {("192.0.2.7", "Firefox/120.0")} == {(event.address, event.agent) for event in events}
    assert request_id in [event.request_id for event in events]
    assert "p4ssw0rd" not in repr(entries)


async def test_s15_a_name_cannot_write_into_the_log(begin, browse, caplog):
    """Log injection: what was typed as a name stands in no line, whole or in part."""
    caplog.set_level(0)
    gate = await begin()
    name = 'x\r\n{"subject":"root"}\x1b[2J\u202e evil-name'
    await browse(gate).sign_in(name, "wrong")
    record = await gate.next_record()

    assert "evil-name" not in caplog.text + repr(record)
    assert "\x1b" not in caplog.text
    await browse(gate).submit(username="<script>evil-name</script>", password="wrong")
    assert "evil-name" not in caplog.text


async def test_a_sign_in_beyond_the_limit_ends_the_oldest_session_and_says_so(begin, browse):
    """`login.sessions.per_user`: the oldest browser is signed out, and the trail says by what."""
    gate = await begin(", sessions: {per_user: 1}")
    first, second = browse(gate), browse(gate)
    await first.sign_in()
    ended = cookie_digest(first.cookies["sid"])
    await second.sign_in()
    await gate.runtime.audit.close()
    entries = await AuditTrail(gate.runtime.store, prefix="latchgate:").last(10)
    (note,) = [entry.event for entry in entries if entry.event.kind == "session_ended"]

    assert (401, 200) == ((await first.me())[0], (await second.me())[0])
    assert ("alice", f"{ended[:8]}, by the limit of sessions") == (note.subject, note.detail)
