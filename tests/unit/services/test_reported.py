from __future__ import annotations

import json

import pytest

from proxy.codes import CODES
from proxy.services.report_mode import ReportState
from proxy.services.reported import MAX_KINDS, Account, advice, template_of

TRIED = ReportState("orders", "2099-12-31", 1e9)


def line(**said):
    """Return a line of the access log."""
    base = {
        "time": "2026-11-26T10:00:00.000Z", "event": "request", "method": "GET",
        "path": "/orders/17", "decision": "forward", "route": "orders",
    }  # fmt: skip
    return json.dumps({**base, **said}).encode() + b"\n"


def test_s14_a_log_is_summed_up_by_route_and_code():
    """How many, which codes, since when, and a few kinds of requests."""
    account = Account()
    for number in range(3):
        account.add(line(reported="role_missing", path=f"/orders/{number}"))
    account.add(line(reported="role_missing", method="POST", time="2026-11-25T00:00:00.000Z"))
    account.add(line(reported="cross_site", decision="allow", caller="nginx"))
    account.add(line())
    account.add(line(decision="deny", code="path_ambiguous"))
    account.add(line(route="other"))
    (found,) = account.sums([TRIED])

    assert ("2026-11-25T00:00:00.000Z", 0) == (account.since, account.unread)
    assert (6, 5, "not_yet") == (
        found["let_through"], found["would_be_refused"], found["readiness"],
    )  # fmt: skip
    first, second = found["codes"]
    assert ("role_missing", 4, "2026-11-25T00:00:00.000Z", "2026-11-26T10:00:00.000Z") == (
        first["code"], first["count"], first["first"], first["last"],
    )  # fmt: skip
    assert ["GET /orders/{}", "POST /orders/{}"] == first["examples"]
    assert ("cross_site", 1) == (second["code"], second["count"])


@pytest.mark.parametrize(
    ("state", "lines", "readiness"),
    [
        (TRIED, [line()], "ready"),
        (TRIED, [], "unseen"),
        (TRIED, [line(reported="cross_site")], "not_yet"),
        (ReportState("orders", "2020-01-01", -5.0), [line(reported="cross_site")], "enforces"),
    ],
    ids=["ready", "unseen", "not_yet", "enforces"],
)
def test_s14_a_route_is_ready_when_nothing_would_be_refused(state, lines, readiness):
    """Nobody came is not the same as nobody was refused."""
    account = Account()
    for each in lines:
        account.add(each)
    assert readiness == account.sums([state])[0]["readiness"]


def test_what_is_no_line_of_the_log_is_counted_and_nothing_more():
    """Other programs write between them, and hostile bytes are only unread."""
    account = Account()
    for each in (b"hello\n", b"[1]\n", b"{}\n", b"\xff\n", b"[" * 60_000 + b"\n", b"\n"):
        account.add(each)
    account.add(line(route=7))
    account.add(line(reported=["x"], time=3, path=None))

    assert 4 == account.unread
    assert {} == account.reported


def test_s14_nothing_secret_is_shown_of_a_path():
    """Numbers, ids and tokens become `{}`, and a query is cut off."""
    assert "/orders/{}/lines/{}" == template_of("/orders/17/lines/0b7a1c9e-6f2d-4b8e-9a51-0c3d2e1f")
    assert "/reset/{}" == template_of("/reset/eyJhbGciOiJIUzI1NiJ9.e30.abc1")
    assert "/api/v1/customer-addresses" == template_of("/api/v1/customer-addresses")
    assert "/a" == template_of("/a?token=secret")


def test_kinds_are_bounded():
    """A client that asks for ever new paths does not fill the memory."""
    account = Account()
    for number in range(MAX_KINDS + 10):
        account.add(line(reported="cross_site", path=f"/x{number}y"))
    counted = account.of("orders", "cross_site")

    assert (MAX_KINDS + 10, MAX_KINDS) == (counted.count, len(counted.kinds))


@pytest.mark.parametrize(
    "code",
    ["credential_missing", "session_unknown", "token_expired", "proof_missing", "cross_site",
     "role_missing", "scope_missing", "claim_mismatch", "step_up_required", "credentials_differ"],
)  # fmt: skip
def test_every_usual_code_has_an_advice(code):
    """What to look at before people are refused with it; others are looked up on their page."""
    assert code in CODES
    assert "docs/codes.md" not in advice(code)
    assert "docs/codes.md" in advice("something_new")


def test_s14_a_running_gates_numbers_are_summed_up_alike():
    """Without times and examples, which no metric has."""
    labels = {"route": "orders", "scheme": "web"}
    account = Account.from_samples(
        [
            ("latchgate_decisions_total", {**labels, "decision": "forward", "code": ""}, 7.0),
            ("latchgate_decisions_total", {**labels, "decision": "allow", "code": ""}, 2.0),
            ("latchgate_decisions_total", {**labels, "decision": "deny", "code": "x"}, 5.0),
            ("latchgate_reported_total", {"route": "orders", "code": "role_missing"}, 3.0),
            ("latchgate_config_loaded_timestamp_seconds", {}, 1_790_000_000.0),
        ]
    )
    (found,) = account.sums([TRIED])

    assert "2026-09-21T14:13:20Z" == account.since
    assert (9, 3, None, []) == (
        found["let_through"],
        found["would_be_refused"],
        found["codes"][0]["first"],
        found["codes"][0]["examples"],
    )
