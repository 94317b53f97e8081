"""One's own sessions: seen and ended by their owner, and by nobody else."""

from __future__ import annotations

import re

import pytest

from proxy.edge.portal.apart import form_token
from proxy.services.audit import AuditTrail

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
PAGE = {"Accept": "text/html", "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate"}
PROGRAM = {"Sec-Fetch-Site": "same-origin"}
HOSTILE = '<script>alert(1)</script>"\u202e'


class Person:
    """Somebody with a session, and how they ask the gate."""

    def __init__(self, gate, client, made):
        self.gate, self.client, self.made = gate, client, made

    @property
    def id(self):
        return self.made.digest

    async def ask(self, method, path, *, headers=PROGRAM, **more):
        """Return status, headers and text of an answer."""
        sent = {"Cookie": f"sid={self.made.cookie}", **headers}
        async with self.client.request(
            method, f"{self.gate.url}{path}", headers=sent, allow_redirects=False, **more
        ) as answer:
            is_json = answer.content_type.endswith("json")
            return (
                answer.status,
                answer.headers,
                await (answer.json() if is_json else answer.text()),
            )

    async def fill_in(self, path, **fields):
        """Send a form of a page that no script sees, as its browser does."""
        data = {"csrf": form_token(self.made.cookie), **fields}
        return await self.ask("POST", path, headers=PAGE, data=data)

    async def sessions(self, query=""):
        """Return the list as JSON."""
        status, _, told = await self.ask("GET", f"/_auth/sessions{query}")
        assert 200 == status
        return told

    async def is_in(self):
        """Tell whether the session still opens the gate."""
        return (await self.ask("GET", "/_auth/me"))[0] == 200


@pytest.fixture
async def gate(start):
    return await start()


@pytest.fixture
def join(gate, client, sign_in):
    async def begin(subject="ada", **said):
        return Person(gate, client, await sign_in(gate, subject, **said))

    return begin


async def noted(gate):
    """Return what the audit trail says."""
    await gate.runtime.audit.close(10)
    entries = await AuditTrail(gate.runtime.store, prefix="latchgate:").last(99)
    return [(entry.event.kind, entry.event.subject, entry.event.detail) for entry in entries]


async def test_a_person_sees_where_they_are_signed_in(join):
    """Device in plain words, address, first and last use, and which one is this; nobody else's."""
    here = await join(agent=FIREFOX, address="192.0.2.1")
    there = await join(agent="curl/8.5.0")
    await join("bob")
    told = await here.sessions()
    found = {item["id"]: item for item in told["sessions"]}

    assert {here.id, there.id} == set(found)
    assert ({"program": "Firefox", "system": "Linux"}, "192.0.2.1", True) == tuple(
        found[here.id][name] for name in ("device", "address", "is_current")
    )
    assert not found[there.id]["is_current"]
    assert found[here.id]["last_seen"] >= found[here.id]["created_at"]
    assert told["next"] is None


async def test_the_page_shows_the_same_and_needs_no_script(join):
    """One button for each session; the policy of the page allows no script at all."""
    here = await join(agent=FIREFOX)
    there = await join(agent="curl/8.5.0")
    status, headers, page = await here.ask("GET", "/_auth/sessions", headers=PAGE)

    assert 200 == status
    assert "script" not in page.lower()
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert ["Firefox on Linux", "curl"] == sorted(re.findall(r"<strong>(.*?)</strong>", page))
    assert {here.id, there.id} == set(re.findall(r'name="id" value="(\w+)"', page))
    assert 1 == page.count("this device")
    korean = await here.ask("GET", "/_auth/sessions?lang=ko", headers=PAGE)
    assert "현재 기기" in korean[2]


async def test_one_click_ends_another_session(join, gate):
    """The form's answer leads back to the page; the other session is over, this one goes on."""
    here, there = await join(), await join()
    status, headers, _ = await here.ask(
        "POST", "/_auth/sessions/end", headers=PAGE, data={"id": there.id, "lang": "en"}
    )

    assert (303, "/_auth/sessions?ended=1&lang=en") == (status, headers["Location"])
    assert "Sessions ended: 1." in (await here.ask("GET", headers["Location"], headers=PAGE))[2]
    assert (True, False) == (await here.is_in(), await there.is_in())
    assert [("session_ended", "ada", f"{there.id[:8]}, by its owner")] == await noted(gate)


async def test_ending_this_session_signs_out(join):
    """Its cookie is expired with it."""
    here = await join()
    status, headers, _ = await here.ask(
        "POST", "/_auth/sessions/end", headers=PAGE, data={"id": here.id}
    )

    assert 303 == status
    assert headers["Location"].startswith("/_auth/login?signed_out=1")
    assert "Max-Age=0" in headers["Set-Cookie"]
    assert not await here.is_in()


async def test_everywhere_else_ends_all_but_this_one(join):
    """Also for programs, by JSON; nobody else's session is touched."""
    here, there, third, bob = await join(), await join(), await join(), await join("bob")
    status, _, told = await here.ask("POST", "/_auth/sessions/end", json={"others": "1"})

    assert (200, {"ended": 2}) == (status, told)
    assert [True, False, False, True] == [
        await person.is_in() for person in (here, there, third, bob)
    ]


async def test_more_sessions_than_a_page_holds_are_paged(start, client, sign_in):
    """The newest first; the link on the page leads on to the rest."""
    gate = await start("{scheme: web, sessions: {per_user: none}}")
    made = [Person(gate, client, await sign_in(gate)) for _ in range(60)]
    first = await made[0].sessions()
    second = await made[0].sessions(f"?after={first['next']}")

    assert (50, 10, None) == (len(first["sessions"]), len(second["sessions"]), second["next"])
    assert {person.id for person in made} == {
        item["id"] for page in (first, second) for item in page["sessions"]
    }
    page = (await made[0].ask("GET", "/_auth/sessions", headers=PAGE))[2]
    assert f"/_auth/sessions?after={first['next'].replace('~', '~')}" in page.replace("%7E", "~")


async def test_a_further_login_ends_the_oldest_session(start, client, sign_in):
    """`login.sessions.per_user` holds for whoever signs in here."""
    gate = await start("{scheme: web, sessions: {per_user: 2}}")
    people = [Person(gate, client, await sign_in(gate)) for _ in range(2)]
    await people[0].sessions()
    people.append(Person(gate, client, await sign_in(gate)))

    assert 2 == sum([await person.is_in() for person in people])
    assert await people[2].is_in()


# What others may not do


async def test_nobody_ends_somebody_elses_session_by_its_id(join, gate):
    """Another person's id answers as one that is not there, and nothing is ended or noted."""
    here, bob = await join(), await join("bob")
    theirs = await here.ask("POST", "/_auth/sessions/end", json={"id": bob.id})
    nobodys = await here.ask("POST", "/_auth/sessions/end", json={"id": "0" * 64})

    assert (404, "session_not_found") == (theirs[0], theirs[2]["code"])
    assert {**theirs[2], "request_id": ""} == {**nobodys[2], "request_id": ""}
    assert await bob.is_in()
    assert [] == await noted(gate)


async def test_a_place_in_somebody_elses_list_shows_nothing_of_theirs(join):
    """A cursor says where, never whose; and what is none is refused."""
    here, bob = await join(), await join("bob")
    theirs = f"9999999999~{bob.id}"
    told = await here.sessions(f"?after={theirs}")

    assert [here.id] == [item["id"] for item in told["sessions"]]
    for after in ("x", f"5~{bob.id}~{bob.id}", f"~{bob.id}", "1e9~" + "a" * 64):
        assert 400 == (await here.ask("GET", f"/_auth/sessions?after={after}"))[0]
    for query in ("?subject=bob", "?id=" + bob.id):
        assert [here.id] == [item["id"] for item in (await here.sessions(query))["sessions"]]


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
async def test_s3_another_site_ends_nothing(join, headers):
    """S3: a form or script of another origin is refused, though the browser added the cookie."""
    here, there = await join(), await join()
    for form in ({"id": there.id}, {"others": "1"}):
        status, _, told = await here.ask("POST", "/_auth/sessions/end", headers=headers, data=form)
        assert (403, "cross_site") == (status, told["code"])
    assert await there.is_in()


async def test_a_link_ends_nothing(join):
    """Only POST ends: no picture, link or prefetch does."""
    here, there = await join(), await join()
    status, headers, _ = await here.ask("GET", f"/_auth/sessions/end?id={there.id}")

    assert (405, "POST") == (status, headers["Allow"])
    assert await there.is_in()


@pytest.mark.parametrize(
    "said",
    [{}, {"others": "0"}, {"id": ["a"]}, {"id": "x", "others": "1"}, {"others": True}, {"id": "*"}],
)
async def test_what_names_no_session_ends_none(join, said):
    """Neither a mistake nor a trick is a wish to end everything."""
    here, there = await join(), await join()

    assert (await here.ask("POST", "/_auth/sessions/end", json=said))[0] in (400, 404)
    assert await there.is_in()


async def test_without_a_session_there_is_nothing_to_see(gate, client):
    """Programs get 401, and nothing says whose sessions there are; a page load is sent to sign in."""
    for method, path in (("GET", "/_auth/sessions"), ("POST", "/_auth/sessions/end")):
        async with client.request(method, f"{gate.url}{path}", json={}) as answer:
            assert (401, "credential_missing") == (answer.status, (await answer.json())["code"])
    for cookie in ({}, {"Cookie": f"sid={'a' * 43}"}):
        headers = {**PAGE, **cookie}
        async with client.get(
            f"{gate.url}/_auth/sessions?after=x", headers=headers, allow_redirects=False
        ) as answer:
            way = "/_auth/login?next=%2F_auth%2Fsessions"
            assert (303, way) == (answer.status, answer.headers["Location"])


async def test_what_a_browser_calls_itself_is_shown_as_text(join):
    """A User-Agent, or a subject, that is HTML is no part of the page."""
    here = await join(HOSTILE, agent=HOSTILE, address=HOSTILE, name=HOSTILE)
    page = (await here.ask("GET", "/_auth/sessions", headers=PAGE))[2]

    assert "<script" not in page
    assert "&lt;script&gt;" in page
