from __future__ import annotations

import socket
import time
from datetime import UTC, datetime, timedelta

GOOD = """
store: {url: "redis://user:hunter2@127.0.0.1:1/0", timeout: 200ms}
upstreams: {app: {servers: ["http://127.0.0.1:1"]}}
schemes: {web: {type: session, format: native}}
routes:
  - {name: landing, match: {path: "/"}, auth: none, upstream: app}
  - {match: {path: "/**"}, auth: web, upstream: app}
"""


def test_what_is_public_comes_first_and_the_verdict_last(latchgate):
    """P4: `check` lists what is public first."""
    latchgate.write(GOOD)
    result = latchgate.run("check")
    assert 0 == result.exit_code
    assert [
        "public (auth: none): any method */ -> app (landing)",
        f"{latchgate.file}: good (2 routes, 1 scheme, 1 upstream, 0 warnings)",
    ] == result.stdout.splitlines()


def test_every_mistake_is_a_line_with_its_place(latchgate):
    """All at once, and status 2."""
    latchgate.write(GOOD.replace("auth: web", "auth: wep").replace("servers", "server"))
    result = latchgate.run("check")
    assert 2 == result.exit_code
    lines = result.stderr.splitlines()
    assert lines[0].startswith(f"{latchgate.file}:3:")
    assert any(line.startswith(f"{latchgate.file}:7:") for line in lines)
    assert lines[-1].startswith("latchgate: ")
    found = latchgate.json("check", status=2)
    assert not found["valid"]
    assert {"file", "line", "column", "path", "message"} == set(found["errors"][0])


def test_warnings_are_said_and_are_no_mistakes(latchgate):
    """A weak spot is status 0, and a line that says `warning`."""
    latchgate.write(GOOD.replace("format: native", "format: native, cookie: sid"))
    result = latchgate.run("check")
    assert 0 == result.exit_code
    (warning,) = result.stderr.splitlines()
    assert ": warning: " in warning
    assert "1 warning)" in result.stdout
    found = latchgate.json("check")
    assert (True, ["landing"], 1) == (found["valid"], found["public"], len(found["warnings"]))


def test_connect_tries_what_the_configuration_points_to(latchgate, valkey):
    """Store and upstream are named with what came of it; a failed upstream is status 1."""
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        port = upstream.getsockname()[1]
        text = GOOD.replace("redis://user:hunter2@127.0.0.1:1/0", valkey.url)
        latchgate.write(text.replace("http://127.0.0.1:1", f"http://127.0.0.1:{port}"))
        result = latchgate.run("check", "--connect")
        assert 0 == result.exit_code, result.output
        assert "ok      store unix:" in result.stdout
        assert f"ok      upstream app http://127.0.0.1:{port}: accepts connections" in result.stdout
    latchgate.write(text)
    result = latchgate.run("check", "--connect")
    assert 1 == result.exit_code
    assert "FAILED  upstream app http://127.0.0.1:1: Connection refused" in result.stdout
    assert "good, but 1 connection failed" in result.stdout


def test_a_store_out_of_reach_is_status_3_and_names_no_password(latchgate):
    """The store comes before the upstreams, and its secret stays where it is."""
    latchgate.write(GOOD)
    result = latchgate.run("check", "--connect")
    assert 3 == result.exit_code
    assert "FAILED  store redis://127.0.0.1:1/0: " in result.stdout
    assert "hunter2" not in result.output
    found = latchgate.json("check", "--connect", status=3)
    assert [False, False] == [item["is_good"] for item in found["connections"]]


def test_policy_tests_are_run_and_counted(latchgate):
    """A failing one is a mistake at its place, status 2, and the gate does not start with it."""
    latchgate.write(GOOD + 'tests: [{request: "GET /", expect: forward}]\n')
    result = latchgate.run("check")
    assert 0 == result.exit_code
    assert "0 warnings, 1 test passed)" in result.stdout
    latchgate.write(GOOD + 'tests: [{request: "GET /", expect: 401}]\n')
    for command in ("check", "serve"):
        result = latchgate.run(command)
        assert 2 == result.exit_code
        assert f"{latchgate.file}:8:36: tests[0].expect: expected 401, but " in result.stderr
    found = latchgate.json("check", status=2)
    assert "tests[0].expect" == found["errors"][0]["path"]


def test_without_a_file_people_are_told_how_to_get_one(latchgate):
    """In every command that reads it."""
    for command in ("check", "serve", "routes"):
        result = latchgate.run(command)
        assert 2 == result.exit_code
        assert "No such file or directory; `latchgate init` writes one\n" in result.stderr


def test_s14_routes_in_report_mode_are_told_with_their_last_day(latchgate):
    """Before anything else that is good: until when nothing is refused there, and loudly near the end."""
    days = [
        datetime.fromtimestamp(time.time(), UTC).date() + timedelta(days=days)
        for days in (-2, 2, 60)
    ]
    routes = "".join(
        f'  - {{name: r{number}, match: {{path: "/{number}"}}, auth: web, upstream: app,'
        f" mode: {{report: {{until: {day}}}}}}}\n"
        for number, day in enumerate(days)
    )
    latchgate.write(
        'upstreams: {app: {servers: ["http://127.0.0.1:1"]}}\n'
        f"schemes: {{web: {{type: session, format: native}}}}\nroutes:\n{routes}"
    )
    result = latchgate.run("check")

    assert 0 == result.exit_code, result.output
    assert f"warning: route r0: its report mode ended with {days[0]} (UTC): it enforces" in (
        result.stderr
    )
    assert (
        f"warning: route r1: report mode: what it would refuse is let through until the end of {days[1]} (UTC), 2 days left"
        in result.stderr
    )
    assert (
        f"route r2: report mode: what it would refuse is let through until the end of {days[2]} (UTC), 60 days left"
        in result.stdout
    )
    states = [found["state"] for found in latchgate.json("check")["report"]]
    assert ["over", "ending", "reporting"] == states
    assert "mode: report until" in latchgate.run("routes").stdout
