"""`latchgate top`, on what a listener answers."""

from __future__ import annotations

import io
import socket
import threading
from contextlib import contextmanager

import pytest
from rich.console import Console

from proxy.cli.picture import Picture, Scrape
from proxy.cli.top_view import draw, lines_around, size_of, time_of
from proxy.run.exposition import expose
from proxy.run.metric_table import METRICS
from proxy.run.tally import put


def tally(number, *, route="/shop"):
    """Return what two workers may have counted: `number` of everything."""
    found = {}
    for metric in METRICS.values():
        labels = [
            {
                "route": route, "decision": "forward", "code": "", "scheme": "web", "store": "store",
                "upstream": "app", "server": "http://a:80", "state": "tracking",
            }.get(label, "x")
            for label in metric.labels
        ]  # fmt: skip
        put(found, metric.name, *labels, values=[number] * metric.width)
    put(found, "latchgate_workers_ready", values=[2 - number])
    found["latchgate_upstream_server_used", ("app", "http://a:80")] = [1]
    return found


def page(number, **kwargs) -> str:
    """Return the text of a scrape."""
    return expose(tally(number, **kwargs), "")[1].decode()


@contextmanager
def answering(sock, *bodies):
    """Answer one connection with each of `bodies`."""

    def serve() -> None:
        for body in bodies:
            connection, _ = sock.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + body.encode())

    thread = threading.Thread(target=serve)
    thread.start()
    yield
    thread.join()


@pytest.fixture
def listening(latchgate):
    """Give a socket that the configuration names as the health listener."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        latchgate.write(f'health: {{listen: "127.0.0.1:{sock.getsockname()[1]}"}}\n')
        yield sock


def test_once_prints_one_picture_and_ends(latchgate, listening):
    """Requests by route and decision, hits, the lag of revocations and the servers are in it."""
    with answering(listening, page(1), page(2)):
        result = latchgate.run("top", "--once", "--interval", "0.1")

    assert 0 == result.exit_code, result.output
    for words in ("/shop", "forward", "REVOCATION LAG P50", "from the cache", "http://a:80"):
        assert words in result.stdout, words
    assert "\x1b" not in result.stdout


def test_json_has_the_same_for_programs(latchgate, listening):
    """Each rate is of the time between the two looks."""
    with answering(listening, page(1), page(3)):
        found = latchgate.json("top", "--interval", "0.1")

    assert 0.1 <= found["seconds"] < 5
    assert abs(2 / found["seconds"] - found["requests"][0]["per_second"]) < 0.2
    assert 0.5 == found["verdicts"]["hit_share"]
    assert {"tracking": 3, "waiting": 0, "lost": 0, "untracked": 0} == found["stores"][0]["workers"]
    assert ("app", "http://a:80", 1) == tuple(
        found["upstreams"][0][key] for key in ("upstream", "server", "used")
    )


@pytest.mark.parametrize("body", ["nonsense nonsense", 'a{b="'], ids=["words", "cut"])
def test_what_is_no_gate_is_said_to_be_none(latchgate, listening, body):
    """Status 1 and a line, no traceback."""
    with answering(listening, body):
        result = latchgate.run("top", "--once")

    assert (1, True) == (result.exit_code, "no metrics" in result.stderr)


def test_a_gate_that_does_not_run_tells_nothing(latchgate):
    """Status 1, and the address is said."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    latchgate.write(f'health: {{listen: "127.0.0.1:{port}"}}\n')
    result = latchgate.run("top", "--once")

    assert (1, True) == (result.exit_code, f"127.0.0.1:{port}" in result.stderr)


def drawn(figures, **kwargs) -> str:
    """Return a picture as a terminal of 200 columns has it, without colours."""
    console = Console(file=io.StringIO(), width=200, highlight=False)
    console.print(draw(figures, **kwargs))
    return console.file.getvalue()


def test_s15_nothing_that_was_read_moves_the_cursor():
    """S15: what stands in a name, or answers in the gate's place, is text, and no markup."""
    hostile = "\x1b]0;owned\x07[bold]/\u202eshop"
    scrape = Scrape.of(0, page(1, route=hostile))
    shown = drawn(Picture(scrape, scrape).to_json(), note=hostile)

    assert not {"\x1b", "\x07", "\u202e"} & set(shown)
    assert 2 == shown.count("\\x1b]0;owned\\x07[bold]/\\u202eshop")


def test_a_reload_that_was_not_taken_is_seen():
    """The gate runs what it ran before, and nobody may think otherwise."""
    name = "latchgate_config_last_reload_successful"
    told = []
    for taken in (0, 1):
        counted = {**tally(1), (name, ()): [taken]}
        scrape = Scrape.of(0, expose(counted, "")[1].decode())
        told.append("not taken" in drawn(Picture(scrape, scrape).to_json()))

    assert [True, False] == told


def test_a_picture_fits_the_screen():
    """Of the routes the first are shown, and how many there are beside them."""
    row = {
        "route": "r",
        "decision": "deny",
        "code": "",
        "per_second": 1,
        "total": 1,
        "route_p99_s": 1,
    }
    scrape = Scrape.of(0, page(1))
    figures = {**Picture(scrape, scrape).to_json(), "requests": [row] * 100}
    height = 30
    shown = drawn(figures, rows=height - lines_around(figures), note="no answer").splitlines()

    assert len(shown) <= height
    assert any("more" in line for line in shown)


def test_times_and_sizes_have_the_unit_that_suits_them():
    """Nobody counts zeros."""
    assert ["-", "150 µs", "2.5 ms", "3.0 s"] == [time_of(t) for t in (None, 1.5e-4, 2.5e-3, 3)]
    assert ["10 B", "2 KiB", "3 MiB", "4.0 GiB"] == [
        size_of(n) for n in (10, 2048, 3 * 2**20, 4 * 2**30)
    ]
