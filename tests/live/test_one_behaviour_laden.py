"""One behaviour of who may send a body, also where the memo knows what was made of the last one.

See test_one_behaviour_verdicts for the gates, and test_one_behaviour_bodies for the bodies themselves.
"""

from __future__ import annotations

import asyncio
import itertools
import time

import pytest

from proxy.core.binding import bind
from tests.live.test_one_behaviour_verdicts import world

__all__ = ["world"]

SAID = {"method": b"POST", "body": b"abc"}
SITES = [
    (),
    (b"Origin: http://gate",),
    (b"Origin: https://evil.test",),
    (b"Origin: null",),
    (b"Sec-Fetch-Site: same-origin",),
    (b"Sec-Fetch-Site: cross-site",),
    (b"sec-fetch-site: none",),
    (b"Sec-Fetch-Site: same-origin", b"Sec-Fetch-Site: cross-site"),
    (b"Sec-Fetch-Site: cross-site", b"Origin: http://gate"),
]


async def test_r1_an_ended_session_sends_nothing(world):
    """However often its posts came through before."""
    them = await world()
    cookie = await them.cookie()
    before = await them.ask(b"/web", cookie, **SAID)
    await them.sessions.end(them.digest, "ann")
    await them.until(401, b"/web", cookie)

    assert ([200] * 4, [401] * 4) == (before, await them.ask(b"/web", cookie, **SAID))


async def test_r3_a_revoked_token_sends_nothing(world):
    """As soon as it opens nothing it posts nothing."""
    them = await world()
    token = them.token(iat=int(time.time()) - 5)
    before = await them.ask(b"/api", token, **SAID)
    await them.revocations.revoke_token("https://id.test", "j1", time.time(), keep_s=3600)
    await them.until(401, b"/api", token)

    assert ([200] * 4, [401] * 4) == (before, await them.ask(b"/api", token, **SAID))


async def test_a_token_sends_nothing_beyond_its_time(world):
    """Nobody tells when that is: it is asked each time."""
    them = await world()
    token = them.token(exp=int(time.time()) + 2)
    before = await them.ask(b"/api", token, **SAID)
    await asyncio.sleep(2.1)

    assert ([200] * 4, [401] * 4) == (before, await them.ask(b"/api", token, **SAID))


async def test_r1_a_bound_session_sends_nothing_elsewhere(world):
    """What is known of its posts is asked with the address of each, and with its browser."""
    them = await world()
    here = bind("127.0.0.1", b"Mine", bits=32, has_agent=True)
    mine, other = b"User-Agent: Mine", b"User-Agent: Other"
    heard = []
    for elsewhere in ({"address": "127.0.0.3"}, {}):
        cookie = await them.cookie(binding=here)
        heard.append(await them.ask(b"/web", cookie, mine, **SAID))
        agent = mine if elsewhere else other
        heard.append(await them.ask(b"/web", cookie, agent, count=1, **SAID, **elsewhere))

    assert [[200] * 4, [401]] * 2 == heard


async def test_r1_a_role_that_was_taken_sends_nothing(world):
    """Its application has written the session anew, and posts are decided by what it says now."""
    them = await world()
    cookie = them.shop("admin")
    before = await them.ask(b"/shop/admin", cookie, **SAID)
    them.shop("customer")
    await them.until(403, b"/shop/admin", cookie)
    after = [await them.ask(path, cookie, **SAID) for path in (b"/shop/admin", b"/shop")]

    assert [[200] * 4, [403] * 4, [200] * 4] == [before, *after]


@pytest.mark.slow
async def test_s3_another_sites_post_is_refused_whatever_was_sent_before_it(world):
    """With the same session, by what the browser says of where it comes from; in every order."""
    them = await world()
    cookie = await them.cookie()
    alone = {site: await them.ask(b"/web", cookie, *site, **SAID) for site in SITES}
    for one, other in itertools.permutations(SITES, 2):
        assert alone[one][:2] == await them.ask(b"/web", cookie, *one, count=2, **SAID), (
            one,
            other,
        )
        assert alone[other][:2] == await them.ask(b"/web", cookie, *other, count=2, **SAID), (
            one,
            other,
        )

    assert [200, 200, 403, 403, 200, 403, 200, 403] == [alone[site][0] for site in SITES[:8]]


@pytest.mark.slow
async def test_s3_what_is_known_of_a_get_lets_no_post_pass(world):
    """A read that another site may lead to, and then a post of it, with the very same lines."""
    them = await world()
    cookie = await them.cookie()
    posted = [await them.ask(b"/web", cookie, method=m, body=b"abc") for m in (b"POST", b"PUT")]
    for evil in (
        (b"Origin: https://evil.test",),
        (b"Sec-Fetch-Site: cross-site",),
        (*SITES[2], *SITES[5]),
    ):
        assert [200] * 4 == await them.ask(b"/web", cookie, *evil)
        for method, body in ((b"POST", b"abc"), (b"POST", b""), (b"DELETE", b""), (b"PUT", b"abc")):
            asked = await them.ask(b"/web", cookie, *evil, method=method, body=body)
            assert [403] * 4 == asked, (evil, method, body)

    assert [[200] * 4] * 2 == posted


@pytest.mark.slow
async def test_r8_a_post_is_never_served_on_an_old_word(world, mortal_valkey):
    """While the store is gone: not even where reads may be served on what is cached."""
    more = ", on_outage: {serve_cached: 30s}"
    them = await world(mortal_valkey, staleness="1s", more=more, modes=("off", "cold", "warm"))
    cookie = await them.cookie()
    before = await them.ask(b"/web", cookie, **SAID), await them.ask(b"/web", cookie)
    mortal_valkey.kill()
    await asyncio.sleep(1.3)

    assert ([200] * 4, [200] * 4) == before
    assert [200] * 2 == await them.ask(b"/web", cookie, count=2)
    assert [503] * 2 == await them.ask(b"/web", cookie, count=2, **SAID)
