"""The pure parts of benchmarks/peers.py: what is sent, what is read, what is judged."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

pytest.importorskip("psutil")

from benchmarks import peers
from benchmarks.rig import echo, peers_page, peers_picture, procs, promises, traffic, wrk
from benchmarks.rig.contenders import TEMPLATES, Contender, Latchgate, render
from benchmarks.rig.memory_use import Use
from benchmarks.rig.rounds import Result, Sample
from benchmarks.rig.scenarios import SCENARIOS, SIDES, Side
from benchmarks.rig.stage import wrong_ones

TOLD = """\
Running 1s test @ http://127.0.0.1:1/
told requests=4000 us=2000000 connect=0 read=0 write=0 status=3 timeout=0 p50=1500 p99=7250
"""


def sample(cpu_us, p99_ms=1.0):
    return Sample(
        cpu_us=cpu_us, rate=1000.0, busy=1.0, others=0.0, p50_ms=0.5, p99_ms=p99_ms, errors={}
    )


def result(key, **costs):
    scenario = next(one for one in SCENARIOS if one.key == key)
    samples = {side: [sample(cost) for cost in own] for side, own in costs.items()}
    return Result(scenario, samples)


def test_a_request_is_one_that_http_knows():
    """A request ends its head with an empty line and says how long its body is."""
    head, _, body = traffic.request("post", "token.test", "Authorization: x", 3).partition(
        "\r\n\r\n"
    )

    assert head.splitlines()[:2] == ["POST /post/items/3?page=3 HTTP/1.1", "Host: token.test"]
    assert f"Content-Length: {len(body)}" in head.splitlines()
    assert len(body) == 1024


def test_a_browser_never_sends_the_same_twice():
    """A browser's request has a place for a number of its own; an API client's has none."""
    browser = traffic.request("small", "session.test", "Cookie: sid=x", 0, headers="browser")

    assert browser.count(traffic.NUMBER) == 1
    assert "\r\nCookie: sid=x; " in browser
    assert traffic.NUMBER not in traffic.request("small", "session.test", "Cookie: sid=x", 0)


@pytest.mark.parametrize("credential", ["Authorization: Bearer x", "Cookie: sid=x", ""])
def test_a_credential_is_sent_once(credential):
    """Cookies are one header, whether the credential is one of them or not."""
    lines = traffic.credential_lines(credential, has_cookies=True)

    assert sum(line.startswith("Cookie: ") for line in lines) == 1
    assert not credential or any(line.startswith(credential) for line in lines)


def test_the_files_of_requests_keep_them_apart():
    """Requests stand in a file one behind the other, each with its end."""
    assert b"a\0b\0" == traffic.packed(["a", "b"])


def test_what_wrk_tells_is_read():
    """Counts, times and errors are those of the script's last line."""
    told = wrk.read(TOLD)

    assert (told.requests, told.seconds, told.p50_ms, told.p99_ms) == (4000, 2.0, 1.5, 7.25)
    assert {"status": 3} == told.errors


def test_a_silent_wrk_is_an_error():
    """A load that tells nothing is no load of 0."""
    with pytest.raises(RuntimeError, match="unable to connect"):
        wrk.read("unable to connect to 127.0.0.1:1")


def test_the_cpu_of_a_thread_is_read():
    """What a thread has run comes first, in nanoseconds."""
    assert procs.cpu_of_schedstat("1500000000 42 7\n") == 1.5


def test_the_use_of_a_core_is_read():
    """Idle time and waiting for a disk is nobody's use; time that the machine's lender took is."""
    text = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 10 1 20 500 7 2 3 4 0 0\ncpu1 1 1 1 1 1 1 1 1 0 0\n"

    assert 40 / procs.TICKS == procs.busy_of(text, [0])


def test_a_disturbed_run_says_so():
    """Whoever reads a page learns that other work ran beside the measurement."""
    quiet = result("api", token=[10.0])
    busy = result("api", token=[10.0])
    busy.samples["token"] = [replace(busy.samples["token"][0], others=0.4)]

    assert peers_page.notes(quiet) == []
    assert "40%" in peers_page.notes(busy)[0]


def test_ratios_are_formed_within_a_round():
    """A round in which everything was slow says the same as a fast one."""
    told = result("api", token=[10.0, 20.0], nginx=[8.0, 16.0])

    assert [0.8, 0.8] == told.ratios("nginx", "token")
    assert told.ratios("nginx", "session") == []


@pytest.mark.parametrize(("nginx", "is_kept"), [(7.5, True), (7.4, False)])
def test_a_promise_is_kept_from_its_bound_on(nginx, is_kept):
    """The bound itself is kept, and what lies below it is told as broken."""
    kept = promises.judge({"api": result("api", token=[10.0], nginx=[nginx])}, {})

    assert [is_kept] == [one.is_kept for one in kept]


@pytest.mark.parametrize(("cores", "is_kept"), [(2, []), (4, [True])])
def test_two_workers_are_judged_where_a_core_is_left_for_the_load(cores, is_kept):
    """Workers that share a core bring nothing, which is not theirs to answer for."""
    one, two = result("api", token=[10.0]), result("workers", token=[10.0])
    two.samples["token"] = [replace(two.samples["token"][0], rate=1900.0)]

    kept = promises.judge({"api": one, "workers": two}, {}, cores=cores)

    assert is_kept == [told.is_kept for told in kept]


@pytest.mark.parametrize(("kib", "is_kept"), [(20, True), (20.1, False)])
def test_the_memory_of_a_websocket_is_judged(kib, is_kept):
    """A WebSocket may hold 20 KiB and no more."""
    use = Use(connection=0.0, websocket=kib * 1024, verdict=None)

    assert [is_kept] == [told.is_kept for told in promises.judge({}, {"token": use})]


def test_what_the_machine_lacks_is_left_out():
    """A peer that is missing is named with what it lacks, and the others are measured."""

    class Missing(Contender):
        @classmethod
        def missing(cls):
            return "such program"

    sides = [Side("latchgate", Latchgate, "token", "ours"), Side("other", Missing, "none", "other")]

    assert (sides[:1], {"other": "there is no such program"}) == peers.here(sides)


def test_what_was_not_measured_is_not_judged():
    """A run of some sides says nothing about the others."""
    assert promises.judge({"api": result("api", token=[10.0], caddy=[90.0])}, {}) == []


def test_every_promise_is_about_something_that_is_measured():
    """Promises name sides and scenarios that there are."""
    sides = {side.key for side in SIDES}

    for promise in promises.PROMISES:
        scenario = next(one for one in SCENARIOS if one.key == promise.scenario)
        assert {promise.ours, promise.peer} <= sides
        assert {promise.ours, promise.peer} <= {side.key for side in scenario.sides(SIDES)}


def test_the_page_says_what_is_missing_and_what_is_broken():
    """Nobody has to look at the numbers to see a side that was left out or a promise that was broken."""
    results = {"api": result("api", token=[10.0], nginx=[5.0])}

    text = peers_page.page(
        "peers.py",
        results,
        {},
        promises.judge(results, {}),
        versions={"nginx": "1.22.1"},
        left_out={"Caddy": "there is no caddy"},
    )

    assert "- Caddy: there is no caddy" in text
    assert "| 0.50 | **no** |" in text


def test_the_picture_has_a_bar_for_each_side():
    """The dearest side does not make the others' bars too short to compare, and its own is marked."""
    root = ET.fromstring(  # noqa: S314 - our own picture
        peers_picture.picture({"api": result("api", token=[10.0], nginx=[8.0], naive=[200.0])})
    )

    bars = root.findall(".//{*}rect")
    assert ["theirs", "ours", "theirs"] == [bar.get("class") for bar in bars]
    assert float(bars[1].get("width")) > peers_picture.WIDTH / 2
    assert "200 …" in [text.text for text in root.findall(".//{*}text")]


def test_nothing_measured_is_no_picture():
    """A run of other scenarios leaves the last picture alone."""
    assert peers_picture.picture({"post": result("post", token=[10.0])}) == ""


def test_a_websocket_is_opened_as_rfc_6455_has_it():
    """The echo answers the key of the RFC's own example with the accept value that stands there."""
    answer = echo.welcome(b"GET / HTTP/1.1\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")

    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in answer
    assert (len(echo.CLIENT), len(echo.SERVER)) == (38, 34)


def test_only_what_is_named_is_measured():
    """Names choose sides and scenarios; without one of a kind all of it is measured."""
    sides, scenarios, has_memory = peers.choose("token,nginx,api")

    assert ["token", "nginx"] == [side.key for side in sides]
    assert ["api"] == [one.key for one in scenarios]
    assert not has_memory
    assert (list(SCENARIOS), True) == peers.choose("token")[1:]
    assert ([], True) == peers.choose("token,memory")[1:]


def test_an_unknown_name_is_refused():
    """A misspelt name does not measure everything instead."""
    with pytest.raises(SystemExit, match="ngnix"):
        peers.choose("ngnix")


@pytest.mark.parametrize("name", sorted(path.name for path in TEMPLATES.glob("*.y*ml")))
def test_a_configuration_is_filled_in(name):
    """No place-holder of the values that every contender has is left."""
    values = dict.fromkeys(
        ("first", "second", "echo", "store_port", "jwks", "pem", "port", "workers", "user",
         "log", "access_log"), "1"
    )  # fmt: skip

    assert "@" not in render(name, values).replace('"@type"', "")


def test_wrong_credentials_differ_from_the_good_one():
    """What every peer must refuse is never the good credential itself."""
    token = "Authorization: Bearer " + ".".join(("h" * 40, "p" * 80, "s" * 80))

    for good in (token, "Cookie: sid=" + "0" * 43):
        assert good not in wrong_ones(good).values()
