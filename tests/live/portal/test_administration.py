"""Everybody's sessions in a browser: for administrators who have just signed in, and nobody else."""

from __future__ import annotations

import re
import time
from urllib.parse import urlencode

import pytest

from tests.live.portal.test_sessions import HOSTILE, PAGE, Person, noted

LOGIN = "{scheme: web, administrators: {roles: [gate-admin]}, sessions: {per_user: none}}"
ROOT = {"roles": ["gate-admin"], "amr": ["pwd"]}


@pytest.fixture
async def gate(start):
    return await start(LOGIN)


@pytest.fixture
def join(gate, client, sign_in):
    async def begin(subject="ada", **said):
        return Person(gate, client, await sign_in(gate, subject, **said))

    return begin


@pytest.fixture
async def root(join):
    """Give an administrator who has just signed in."""
    return await join("root", **ROOT)


async def test_an_administrator_lists_searches_and_pages(root, join):
    """Everybody's sessions, by person, address and browser, a page at a time."""
    made = [await join(f"user{number % 7}", agent="Firefox/1") for number in range(60)]
    curl = await join("eve", agent="curl/8", address="192.0.2.9")

    async def ids(**query):
        found, after = [], None
        while True:
            asked = {**query, **({"after": after} if after else {})}
            status, _, told = await root.ask("GET", f"/_auth/admin?{urlencode(asked)}")
            assert 200 == status
            found += [item["id"] for item in told["sessions"]]
            after = told["next"]
            if after is None:
                return found

    assert {person.id for person in (*made, curl, root)} == set(await ids())
    assert {p.id for n, p in enumerate(made) if n % 7 == 3} == set(await ids(subject="user3"))
    assert [curl.id] == await ids(agent="CURL")
    assert [curl.id] == await ids(address="192.0.2.0/24")


async def test_the_page_leads_through_it_without_a_script(root, join):
    """Search form, a button for each session, one for all of a person's, a link to the next page."""
    made = [await join("eve") for _ in range(55)]
    page = (await root.ask("GET", "/_auth/admin?subject=eve&lang=en", headers=PAGE))[2]
    link = re.search(r'href="(/_auth/admin\?subject=eve&amp;after=[^"]+)"', page)
    following = (await root.ask("GET", link[1].replace("&amp;", "&"), headers=PAGE))[2]
    shown = [re.findall(r'name="id" value="(\w+)"', text) for text in (page, following)]

    assert (50, 5) == tuple(map(len, shown))
    assert {person.id for person in made} == {*shown[0], *shown[1]}
    assert "End every session of eve" in page
    assert "script" not in page.lower()
    bad = await root.ask("GET", "/_auth/admin?address=nowhere", headers=PAGE)
    assert (400, True) == (bad[0], "This cannot be searched for" in bad[2])


async def test_an_administrator_ends_one_or_all_of_a_person(root, join, gate):
    """The form leads back to what was looked at; who did it stands in the trail."""
    first, second, third = [await join("eve") for _ in range(3)]
    bob = await join("bob")
    form = {"id": first.id, "back": "eve", "lang": "en"}
    status, headers, _ = await root.fill_in("/_auth/admin/end", **form)
    everybody = await root.ask("POST", "/_auth/admin/end", json={"subject": "eve"})

    assert (303, "/_auth/admin?ended=1&lang=en&subject=eve") == (status, headers["Location"])
    assert (200, {"ended": 2}) == (everybody[0], everybody[2])
    assert [False, False, False, True] == [
        await person.is_in() for person in (first, second, third, bob)
    ]
    assert [
        ("session_ended", "eve", f"{first.id[:8]}, by administrator root"),
        ("session_ended", "eve", "all 2, by administrator root"),
    ] == await noted(gate)
    gone = await root.ask("POST", "/_auth/admin/end", json={"id": first.id})
    assert (404, "session_not_found") == (gone[0], gone[2]["code"])


# Who may not


@pytest.mark.parametrize("roles", [[], ["customer"], ["gate-admin2", "admin"], ["Gate-Admin"]])
async def test_whoever_lacks_the_role_sees_and_ends_nothing(join, roles):
    """A fresh sign-in is no role."""
    eve, bob = await join("eve", roles=roles, amr=["pwd"]), await join("bob")
    for headers in (PAGE, {"Sec-Fetch-Site": "same-origin"}):
        listed = await eve.ask("GET", "/_auth/admin", headers=headers)
        ended = await eve.ask("POST", "/_auth/admin/end", headers=headers, data={"id": bob.id})
        assert (403, 403) == (listed[0], ended[0])
        assert bob.id not in str(listed[2])
    assert await bob.is_in()


async def test_whoever_is_not_signed_in_is_sent_to_sign_in_and_back(gate, client):
    """A page load only: a program gets 401, and so does a form."""
    for method, headers, status in (("GET", PAGE, 303), ("GET", {}, 401), ("POST", PAGE, 401)):
        path = "/_auth/admin" if method == "GET" else "/_auth/admin/end"
        async with client.request(
            method, f"{gate.url}{path}", headers=headers, allow_redirects=False
        ) as answer:
            assert status == answer.status
            if status == 303:
                assert "/_auth/login?next=%2F_auth%2Fadmin" == answer.headers["Location"]


@pytest.mark.parametrize(
    "proved",
    [
        {"amr": ["pwd"], "auth_time": -301},
        {"amr": ["pwd", "otp", "mfa"], "auth_time": -86_400},
        {"amr": []},
        {"amr": ["pwd"], "auth_time": 330},
    ],
)
async def test_s6_administration_needs_a_factor_of_the_last_five_minutes(join, proved):
    """S6: a session that was left open, or was made by a command, opens nothing here."""
    at = time.time() + proved.get("auth_time", 0)
    bob = await join("bob")
    root = await join("root", roles=["gate-admin"], amr=proved["amr"], auth_time=at)
    listed = await root.ask("GET", "/_auth/admin")
    ended = await root.ask("POST", "/_auth/admin/end", json={"id": bob.id})
    form = await root.fill_in("/_auth/admin/end", subject="bob")

    for status, _, told in (listed, ended):
        assert (403, "step_up_required") == (status, told["code"])
    assert 403 == form[0]
    assert await bob.is_in()
    status, headers, _ = await root.ask("GET", "/_auth/admin", headers=PAGE)
    assert (303, "/_auth/step-up?next=%2F_auth%2Fadmin") == (status, headers["Location"])


async def test_s6_a_factor_of_four_minutes_is_enough(join):
    """S6: the bound is five minutes, and not one page."""
    root = await join("root", auth_time=time.time() - 240, **ROOT)

    assert 200 == (await root.ask("GET", "/_auth/admin"))[0]


@pytest.mark.parametrize(
    "headers", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}]
)
async def test_s3_another_site_makes_no_administrator_end_anything(root, join, headers):
    """S3: the administrator's own cookie does not help another site."""
    bob = await join("bob")
    for form in ({"id": bob.id}, {"subject": "bob"}):
        assert 403 == (await root.ask("POST", "/_auth/admin/end", headers=headers, data=form))[0]
    assert await bob.is_in()


@pytest.mark.parametrize(
    "said",
    [
        {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"},
        {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
    ],
)
async def test_s6_a_script_of_the_same_origin_administers_nothing(root, join, said):
    """S6: neither by form nor by JSON does an application of the same host list or end sessions."""
    bob = await join("bob")
    headers = {**PAGE, **said}
    listed = await root.ask("GET", "/_auth/admin", headers=headers)
    ended = [
        await root.ask("POST", "/_auth/admin/end", headers=headers, **body)
        for body in ({"json": {"subject": "bob"}}, {"data": {"subject": "bob"}})
    ]

    assert [403] * 3 == [answer[0] for answer in (listed, *ended)]
    assert bob.id not in str(listed[2])
    assert await bob.is_in()


@pytest.mark.parametrize("token", [{}, {"csrf": ""}, {"csrf": "0" * 64}])
async def test_s6_a_form_that_is_not_of_the_page_ends_nothing(root, join, token):
    """S6: what a script sends in the page's place does not say what the page says, and it is told so."""
    bob = await join("bob")
    status, _, page = await root.ask(
        "POST", "/_auth/admin/end", headers=PAGE, data={"subject": "bob", **token}
    )

    assert (403, True) == (status, "form_stale" in page)
    assert await bob.is_in()
    shown = await root.ask("GET", "/_auth/admin", headers=PAGE)
    assert "same-origin" == shown[1]["Cross-Origin-Opener-Policy"]


@pytest.mark.parametrize(
    "said",
    [{}, {"subject": ""}, {"id": "x", "subject": "bob"}, {"all": "true"}, {"subject": ["bob"]}],
)
async def test_a_mistake_ends_nothing(root, join, said):
    """Neither an empty name nor two wishes at once end anything."""
    bob = await join("bob")

    assert 400 == (await root.ask("POST", "/_auth/admin/end", json=said))[0]
    assert await bob.is_in()


async def test_without_administrators_there_is_no_such_page(start, client, sign_in):
    """A gate that names none has nothing there, for nobody."""
    gate = await start()
    root = Person(gate, client, await sign_in(gate, "root", **ROOT))

    assert 404 == (await root.ask("GET", "/_auth/admin"))[0]
    assert 404 == (await root.ask("POST", "/_auth/admin/end", json={"subject": "a"}))[0]


async def test_what_people_call_themselves_is_shown_as_text(root, join):
    """A subject or User-Agent that is HTML is no part of the page, nor of a link on it."""
    await join(HOSTILE, agent=HOSTILE, address=HOSTILE)
    page = (await root.ask("GET", "/_auth/admin", headers=PAGE))[2]
    found = (
        await root.ask("GET", f"/_auth/admin?{urlencode({'subject': HOSTILE})}", headers=PAGE)
    )[2]

    for text in (page, found):
        assert "<script" not in text
        assert "&lt;script&gt;" in text
    back = await root.fill_in("/_auth/admin/end", subject="x\r\nSet-Cookie: a=b")
    assert "Set-Cookie" not in back[1]


async def test_log_injection_through_a_subject_is_escaped(root, join, gate):
    """S15: what an administrator ends of somebody with an odd name is one entry and one line."""
    odd = "eve\r\nadmin\x1b[2J"
    await join(odd)
    ended = await root.ask("POST", "/_auth/admin/end", json={"subject": odd})

    assert {"ended": 1} == ended[2]
    assert [("session_ended", r"eve\x0d\x0aadmin\x1b[2J", "all 1, by administrator root")] == (
        await noted(gate)
    )
