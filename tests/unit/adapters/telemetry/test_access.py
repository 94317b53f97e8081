from __future__ import annotations

import json
from dataclasses import replace

from proxy.adapters.telemetry.access import AccessLog
from proxy.adapters.telemetry.clock import Clock
from proxy.model import AccessRecord

RECORD = AccessRecord(
    request_id="r1",
    method="GET",
    host="shop.example.com",
    path="/orders/1",
    status=200,
    decision="forward",
    code=None,
    detail="",
    route="orders",
    scheme="web",
    subject="alice",
    upstream="shop",
    server="http://127.0.0.1:9001",
    client="192.0.2.7",
    started_at=1_790_000_000.25,
    duration_s=0.0123456,
    upstream_s=0.01,
    bytes_in=0,
    bytes_out=512,
)


def line_of(record: AccessRecord, *, is_json: bool = True) -> str:
    """Return the line that the log writes for `record`."""
    lines: list[bytes] = []
    AccessLog(lines.append, Clock(lambda: 0.0), "worker 1", is_json=is_json)(record)
    (line,) = lines
    return line.decode()


def test_a_request_is_one_json_line_with_everything_that_one_asks_for():
    """Id, route, decision, code, scheme, subject, upstream, times and bytes."""
    assert {
        "time": "2026-09-21T14:13:20.250Z",
        "level": "info",
        "event": "request",
        "process": "worker 1",
        "request_id": "r1",
        "method": "GET",
        "host": "shop.example.com",
        "path": "/orders/1",
        "status": 200,
        "decision": "forward",
        "code": None,
        "detail": None,
        "route": "orders",
        "scheme": "web",
        "subject": "alice",
        "client": "192.0.2.7",
        "upstream": "shop",
        "server": "http://127.0.0.1:9001",
        "duration_ms": 12.346,
        "upstream_ms": 10.0,
        "bytes_in": 0,
        "bytes_out": 512,
    } == json.loads(line_of(RECORD))


def test_a_failure_of_the_gates_world_is_a_warning():
    """A 5xx stands out; its missing parts are null."""
    record = replace(RECORD, status=503, code="store_unavailable", upstream_s=None, subject=None)
    shown = json.loads(line_of(record))
    assert ("warning", None, None) == (shown["level"], shown["upstream_ms"], shown["subject"])


def test_s15_no_field_breaks_the_line_or_the_terminal():
    """S15: hostile text in any field stays one line, printable, and valid JSON."""
    hostile = 'x"\n\x1b[2J\u202e\udc80\\'
    record = replace(
        RECORD,
        request_id=hostile,
        method=hostile,
        host=hostile,
        path="/" + hostile,
        detail=hostile,
        route=hostile,
        scheme=hostile,
        subject=hostile,
        upstream=hostile,
        server=hostile,
        client=hostile,
        code=hostile,
    )
    for is_json in (True, False):
        line = line_of(record, is_json=is_json)
        assert 1 == line.count("\n")
        assert line[:-1].isprintable()
    shown = json.loads(line_of(record))
    assert 'x"\\x0a\\x1b[2J\\u202e\\udc80\\\\' == shown["subject"]


def test_s15_a_query_or_a_token_never_reaches_the_line():
    """S15: even a record that carries them by mistake is written without."""
    token = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl"
    record = replace(RECORD, path=f"/a/{token}?access_token=abc", detail=f"bad: {token}")
    for is_json in (True, False):
        line = line_of(record, is_json=is_json)
        assert "eyJ" not in line
        assert "access_token" not in line


def test_an_endless_path_is_cut():
    """A 32 KiB target does not make a 32 KiB line."""
    assert len(line_of(replace(RECORD, path="/" + "a" * 32_000))) < 4096


def test_people_get_a_short_line():
    """The console shows what happened, to whom, where it went and how long it took."""
    line = line_of(RECORD, is_json=False)
    assert (
        "200 GET shop.example.com/orders/1 forward [orders] web:alice -> shop 12.3ms 512B r1\n"
        == line.partition(" ")[2]
    )
    refused = replace(
        RECORD, status=401, decision="challenge", code="token_expired", detail="exp 5 s ago"
    )
    refused = replace(refused, subject=None, upstream=None, route=None)
    assert (
        "401 GET shop.example.com/orders/1 challenge token_expired [-] 12.3ms 512B r1 (exp 5 s ago)\n"
        == line_of(refused, is_json=False).partition(" ")[2]
    )


def test_a_decision_for_another_proxy_names_it():
    """A line of its own kind, so that nobody counts a request twice."""
    asked = replace(RECORD, decision="allow", caller="nginx")

    assert ("allow", "nginx") == tuple(
        json.loads(line_of(asked))[key] for key in ("decision", "caller")
    )
    assert "caller" not in json.loads(line_of(RECORD))
    assert " for nginx" in line_of(asked, is_json=False)


def test_s14_what_was_only_reported_has_a_member_of_its_own():
    """A line says with which code a request would have been refused; others have no such member."""
    reported = replace(RECORD, reported="role_missing")

    assert "role_missing" == json.loads(line_of(reported))["reported"]
    assert "reported" not in json.loads(line_of(RECORD))
    assert " forward reported role_missing [orders]" in line_of(reported, is_json=False)
