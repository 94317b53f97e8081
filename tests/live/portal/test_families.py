"""What programs have in a person's name: seen and ended by their owner, and by administrators."""

from __future__ import annotations

import re
import time

import pytest

from proxy.core.refresh import Holder, Spot, read_token
from proxy.services.issuing import open_family_records
from proxy.services.refresh import Start
from tests.live.portal.conftest import CONFIG
from tests.live.portal.test_sessions import HOSTILE, PAGE, Person, noted

TOKENS = """
secrets: {{key: "{key}"}}
tokens: {{issuer: "http://127.0.0.1", audience: shop}}
clients: {{phone: {{public: true}}}}
"""
LOGIN = "{scheme: web, administrators: {roles: [gate-admin]}}"
PHONE = Spot("digest", "192.0.2.7", "curl/8.5.0")


@pytest.fixture
async def gate(start_gate, valkey):
    text = (CONFIG + TOKENS).format(store=valkey.url, login=LOGIN, key="ab" * 32)
    return await start_gate(text)


@pytest.fixture
def join(gate, client, sign_in):
    async def begin(subject="ada", **said):
        return Person(gate, client, await sign_in(gate, subject, **said))

    return begin


@pytest.fixture
def program(gate):
    """Let a program have a family of somebody; return what it is called, and its refresh token."""

    async def begin(subject="ada", spot=PHONE):
        families = gate.runtime.tokens._families
        now = time.time()
        answer = await families.begin(Holder(subject), "phone", now, since=now, start=Start(spot))
        return read_token(answer.refresh_token).family, answer.refresh_token

    return begin


@pytest.fixture
def refresh(gate, client):
    """Tell whether a refresh token still gets something."""

    async def use(token):
        form = {"grant_type": "refresh_token", "client_id": "phone", "refresh_token": token}
        async with client.post(f"{gate.url}/_auth/token", data=form) as answer:
            return answer.status == 200

    return use


async def test_a_person_sees_their_programs_beside_their_sessions(join, program):
    """Which client, since when, last used and from where; nobody else's, and no credential."""
    here = await join()
    name, token = await program()
    await program("bob")
    told = await here.sessions()
    (shown,) = told["families"]
    page = (await here.ask("GET", "/_auth/sessions?lang=en", headers=PAGE))[2]

    assert (name, "ada", "phone", "192.0.2.7", "curl") == (
        *(shown[key] for key in ("id", "subject", "client", "address")),
        shown["device"]["program"],
    )
    assert shown["created_at"] <= shown["last_seen"]
    assert told["families_next"] is None
    assert [name] == re.findall(r'name="family" value="(\w+)"', page)
    assert "Programs that are signed in as you" in page
    assert token not in str(told) + page
    korean = await here.ask("GET", "/_auth/sessions?lang=ko", headers=PAGE)
    assert "접근 종료" in korean[2]


async def test_one_click_ends_a_program(join, program, refresh, gate):
    """The form leads back to the page; the token gets nothing more, and another program's does."""
    here = await join()
    (ended, its), (_, others) = await program(), await program("bob")
    form = {"family": ended, "lang": "en"}
    status, headers, _ = await here.ask("POST", "/_auth/sessions/end", headers=PAGE, data=form)

    assert (303, "/_auth/sessions?programs=1&lang=en") == (status, headers["Location"])
    assert "Programs ended: 1." in (await here.ask("GET", headers["Location"], headers=PAGE))[2]
    assert (False, True) == (await refresh(its), await refresh(others))
    assert (
        "token_revoked",
        "ada",
        f"refresh family {ended[:8]} of client phone, by its owner",
    ) in await noted(gate)
    assert [] == (await here.sessions())["families"]


async def test_nobody_ends_somebody_elses_program(join, program, refresh):
    """A foreign name is answered as one that is not there, whoever asks."""
    here = await join()
    theirs, token = await program("bob")
    for name in (theirs, "0" * 32, "", "*", "../x"):
        answer = await here.ask("POST", "/_auth/sessions/end", json={"family": name})
        assert (404, "family_not_found") == (answer[0], answer[2]["code"])
    other_site = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
    mine, its = await program()
    crossed = await here.ask(
        "POST", "/_auth/sessions/end", headers=other_site, data={"family": mine}
    )

    assert 403 == crossed[0]
    assert (True, True) == (await refresh(token), await refresh(its))


async def test_everywhere_else_ends_programs_too(join, program, refresh):
    """All but this session, programs among it; the button is there for who has a program alone."""
    here, there = await join(), await join()
    (_, one), (_, two) = await program(), await program()
    _, bobs = await program("bob")
    status, _, told = await here.ask("POST", "/_auth/sessions/end", json={"others": "1"})
    await program()
    page = (await here.ask("GET", "/_auth/sessions?lang=en", headers=PAGE))[2]

    assert (200, {"ended": 1, "families": 2}) == (status, told)
    assert (True, False) == (await here.is_in(), await there.is_in())
    assert (False, False, True) == (await refresh(one), await refresh(two), await refresh(bobs))
    assert "Sign out everywhere else" in page


@pytest.mark.parametrize(
    "asked",
    [{}, {"family": "0" * 32, "others": "1"}, {"family": "0" * 32, "id": "0" * 64}],
    ids=str,
)
async def test_what_is_to_end_is_named_once(join, program, refresh, asked):
    """A request that could mean two things ends neither."""
    here = await join()
    _, token = await program()

    assert 400 == (await here.ask("POST", "/_auth/sessions/end", json=asked))[0]
    assert await refresh(token)


async def test_more_programs_than_a_page_holds_are_paged(join, program):
    """The newest first; the link on the page leads on to the rest."""
    here = await join()
    made = {(await program())[0] for _ in range(51)}
    first = await here.sessions()
    page = (await here.ask("GET", "/_auth/sessions?lang=en", headers=PAGE))[2]
    link = re.search(r'href="(/_auth/sessions\?families_after=[^"]+)"', page)[1]
    second = await here.ask("GET", link.replace("&amp;", "&"))

    assert (50, 1) == (len(first["families"]), len(second[2]["families"]))
    assert made == {item["id"] for told in (first, second[2]) for item in told["families"]}
    assert 400 == (await here.ask("GET", "/_auth/sessions?families_after=x"))[0]


async def test_an_administrator_sees_and_ends_programs(join, program, refresh):
    """A person's beside their sessions; everybody's where they are asked for; one, or all of one's."""
    root = await join("root", roles=["gate-admin"], amr=["pwd"])
    await join("eve")
    (one, first), (_, second) = await program("eve"), await program("eve")
    other, _ = await program("bob")
    page = (await root.ask("GET", "/_auth/admin?subject=eve&lang=en", headers=PAGE))[2]
    hers = (await root.ask("GET", "/_auth/admin?subject=eve"))[2]
    plain = (await root.ask("GET", "/_auth/admin"))[2]
    link = re.search(
        r'href="(/_auth/admin\?families=1[^"]*)"',
        (await root.ask("GET", "/_auth/admin?lang=en", headers=PAGE))[2],
    )[1].replace("&amp;", "&")
    everybody = (await root.ask("GET", link))[2]
    form = {"family": one, "back": "eve", "lang": "en"}
    status, headers, _ = await root.fill_in("/_auth/admin/end", **form)

    assert "End every session and program of eve" in page
    assert 2 == page.count('name="family"') == len(hers["families"])
    assert "families" not in plain
    assert {"eve", "bob"} == {item["subject"] for item in everybody["families"]}
    assert (303, "/_auth/admin?programs=1&lang=en&subject=eve") == (status, headers["Location"])
    assert (False, True) == (await refresh(first), await refresh(second))
    ended = await root.ask("POST", "/_auth/admin/end", json={"subject": "eve"})
    assert {"ended": 1, "families": 1} == ended[2]
    gone = await root.ask("POST", "/_auth/admin/end", json={"family": one})
    assert (404, "family_not_found") == (gone[0], gone[2]["code"])
    back = await root.fill_in("/_auth/admin/end", family=other)
    assert back[1]["Location"].endswith("&families=1")


async def test_s6_programs_are_administered_with_a_fresh_factor_and_a_role_only(
    join, program, refresh
):
    """S6: neither a stale administrator nor somebody without the role ends anything."""
    stale = await join("root", roles=["gate-admin"], amr=["pwd"], auth_time=time.time() - 301)
    eve = await join("eve", amr=["pwd"])
    name, token = await program()
    for person in (stale, eve):
        answer = await person.ask("POST", "/_auth/admin/end", json={"family": name})
        assert 403 == answer[0]
        assert 403 == (await person.ask("GET", "/_auth/admin?families=1"))[0]
    assert await refresh(token)


async def test_what_a_program_says_of_itself_stays_text(join, program):
    """A hostile User-Agent is neither markup nor an instruction for the cursor."""
    here = await join()
    await program(spot=Spot("digest", HOSTILE, HOSTILE))
    page = (await here.ask("GET", "/_auth/sessions", headers=PAGE))[2]

    assert "<script>" not in page


async def test_without_tokens_nothing_is_said_of_programs(start, client, sign_in):
    """The answers of a gate that issues no tokens are what they were."""
    gate = await start()
    here = Person(gate, client, await sign_in(gate))

    assert {"sessions", "next"} == set(await here.sessions())
    assert "rograms" not in (await here.ask("GET", "/_auth/sessions?lang=en", headers=PAGE))[2]
    assert open_family_records(gate.runtime.config, gate.runtime.store) is None
    answer = await here.ask("POST", "/_auth/sessions/end", json={"family": "0" * 32})
    assert 404 == answer[0]
