"""`latchgate report`, with logs, and with numbers that a health listener gives on a real socket."""

from __future__ import annotations

import json
import socket

from proxy.cli.reported import MAX_LINE
from proxy.run.exposition import expose
from tests.unit.cli.test_health import answering

GATE = """
upstreams: {app: {servers: ["http://127.0.0.1:1"]}}
schemes: {web: {type: session, format: native}}
health: {listen: "127.0.0.1:9902"}
routes:
  - {name: orders, match: {path: /orders/**}, auth: web, upstream: app, mode: {report: {until: 2099-12-31}}}
  - {name: admin, match: {path: /admin}, auth: web, upstream: app, mode: {report: {until: 2020-12-31}}}
  - {name: rest, match: {path: /**}, auth: web, upstream: app}
"""
LINE = {
    "time": "2026-11-26T10:00:00.000Z", "level": "info", "event": "request", "method": "GET",
    "path": "/orders/17", "decision": "forward", "route": "orders", "reported": "role_missing",
}  # fmt: skip


def test_s14_logs_are_summed_up(latchgate):
    """From files and standard input; what is no line of the access log is said to be none."""
    latchgate.write(GATE)
    log = latchgate.directory / "access.log"
    log.write_text(json.dumps(LINE) + "\nnonsense\n" + "x" * (2 * MAX_LINE) + "\n")
    result = latchgate.run("report", str(log), "-", stdin=json.dumps(LINE).encode())

    assert 0 == result.exit_code, result.output
    assert "2 lines are no JSON" in result.stderr
    assert "let through since 2026-11-26T10:00:00.000Z:" in result.stdout
    assert "2 (100.0 %)" in result.stdout
    assert "not yet" in result.stdout
    assert "enforces already" in result.stdout
    assert "orders: 2 role_missing, 2026-11-26T10:00:00.000Z to 2026-11-26T10:00:00.000Z" in (
        result.stdout
    )
    assert "  GET /orders/{}\n" in result.stdout
    assert "rest" not in result.stdout
    found = latchgate.json("report", str(log))
    assert ("logs", 2) == (found["from"], found["unread_lines"])
    assert ["not_yet", "enforces"] == [route["readiness"] for route in found["routes"]]


def test_s14_a_running_gate_is_asked_without_logs(latchgate):
    """Its counters, since it began."""
    tally = {
        ("latchgate_decisions_total", ("orders", "web", "forward", "")): [40],
        ("latchgate_config_loaded_timestamp_seconds", ()): [1_790_000_000_000_000_000],
    }
    _, body = expose(tally, "")
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with socket.create_server(("127.0.0.1", 0)) as sock:
        latchgate.write(GATE.replace("9902", str(sock.getsockname()[1])))
        with answering(sock, head + body):
            result = latchgate.run("report")

    assert 0 == result.exit_code, result.output
    assert "let through since 2026-09-21T14:13:20Z:" in result.stdout
    assert "ready: nothing would be refused" in result.stdout


def test_without_a_gate_or_a_log_the_way_is_said(latchgate):
    """Status 1 where nobody answers, 2 where nobody can or a file is not there."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    latchgate.write(GATE.replace("9902", str(port)))
    result = latchgate.run("report")
    assert (1, True) == (result.exit_code, "is the gate running?" in result.stderr)
    assert 2 == latchgate.run("report", "nowhere.log").exit_code
    latchgate.write(GATE.replace('{listen: "127.0.0.1:9902"}', "none"))
    result = latchgate.run("report")
    assert (2, True) == (result.exit_code, "give access logs" in result.stderr)


def test_a_file_without_report_mode_has_nothing_to_sum_up(latchgate):
    """It is said, and is no mistake."""
    latchgate.write(
        GATE.replace(", mode: {report: {until: 2099-12-31}}", "").replace(
            ", mode: {report: {until: 2020-12-31}}", ""
        )
    )
    log = latchgate.directory / "access.log"
    log.write_text(json.dumps(LINE))
    assert "no route is in report mode\n" == latchgate.run("report", str(log)).stdout
