"""What report mode has let through, summed up by route and code: from access logs, or from metrics (S14).

What never belongs here: files, sockets, and a query, a credential or a name of anybody.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from proxy.services.report_mode import ReportState

EXAMPLES: Final = 3
"""How many kinds of requests are shown of each code."""
MAX_KINDS: Final = 1000
"""How many are told apart; what comes later counts without one."""
MAX_PATH: Final = 512
"""Characters of a path that are looked at."""
MAX_LINE: Final = 64 * 1024
"""Bytes of a line; no line of the access log is longer."""

PASSED: Final = frozenset({"forward", "allow"})
"""Decisions of requests that were let through, by the gate or by a proxy that asked it."""

Readiness = Literal["ready", "not_yet", "unseen", "enforces"]
_ID: Final = re.compile(r"[0-9]+|(?=.*[0-9])[A-Za-z0-9_.~=-]{16,}|(?:[A-Za-z]{32,})")


def template_of(path: str) -> str:
    """Return a path without its numbers and keys: `/orders/{}` for `/orders/17`.

    Requests to one page come together so, and what may be a secret in a path is not shown.
    """
    segments = path.partition("?")[0][:MAX_PATH].split("/")
    return "/".join("{}" if _ID.fullmatch(one) or "eyJ" in one else one for one in segments)


@dataclass(slots=True)
class Reported:
    """What one route would have refused with one code."""

    count: int = 0
    first_at: str | None = None
    """Of the first such request, as its log line has it; `None` where only a number is known."""
    last_at: str | None = None
    kinds: Counter[str] = field(default_factory=Counter)
    """`GET /orders/{}`, and how often."""

    def add(self, line: Mapping[str, Any]) -> None:
        """Count a request by its log line."""
        self.count += 1
        at = line.get("time")
        if isinstance(at, str) and _is_time(at):
            self.first_at = at if self.first_at is None else min(self.first_at, at)
            self.last_at = at if self.last_at is None else max(self.last_at, at)
        kind = f"{_text(line.get('method'))} {template_of(_text(line.get('path')))}"
        if kind in self.kinds or len(self.kinds) < MAX_KINDS:
            self.kinds[kind] += 1


@dataclass(slots=True)
class Account:
    """What was let through, and what of it only because its route reports."""

    since: str | None = None
    """When counting began, in UTC; `None`: unknown."""
    passed: Counter[str] = field(default_factory=Counter)
    """Requests that were let through, by route."""
    reported: dict[str, dict[str, Reported]] = field(default_factory=dict)
    """By route, then by code."""
    unread: int = 0
    """Lines that are no JSON."""

    def add(self, line: bytes) -> None:
        """Count a line of an access log (`log.format: json`); what is none of a log in JSON is counted as unread."""
        try:
            said = json.loads(line[:MAX_LINE])
        except (ValueError, RecursionError):
            said = None
        if not isinstance(said, dict):
            self.unread += bool(line.strip())
            return
        if said.get("event") != "request":
            return  # of another kind of line that the gate writes
        at = said.get("time")
        if isinstance(at, str) and _is_time(at):
            self.since = at if self.since is None else min(self.since, at)
        route, code = said.get("route"), said.get("reported")
        if not isinstance(route, str) or said.get("decision") not in PASSED:
            return
        self.passed[route] += 1
        if isinstance(code, str):
            self.of(route, code).add(said)

    def of(self, route: str, code: str) -> Reported:
        """Return where one code of one route is counted."""
        return self.reported.setdefault(route, {}).setdefault(code, Reported())

    @classmethod
    def from_samples(cls, samples: Iterable[tuple[str, Mapping[str, str], float]]) -> Account:
        """Return the account of a running gate: name, labels and number of each metric."""
        account = cls()
        for name, labels, value in samples:
            match name:
                case "latchgate_decisions_total" if labels.get("decision") in PASSED:
                    account.passed[labels.get("route", "")] += int(value)
                case "latchgate_reported_total":
                    counted = account.of(labels.get("route", ""), labels.get("code", ""))
                    counted.count += int(value)
                case "latchgate_config_loaded_timestamp_seconds":
                    began = dt.datetime.fromtimestamp(value, dt.UTC)
                    account.since = began.isoformat(timespec="seconds").replace("+00:00", "Z")
        return account

    def sums(self, states: Iterable[ReportState]) -> list[dict[str, Any]]:
        """Return, for each route with a report mode, what docs/guides/running-service.md shows."""
        return [self._sum(state) for state in states]

    def _sum(self, state: ReportState) -> dict[str, Any]:
        codes = self.reported.get(state.route, {})
        refused = sum(one.count for one in codes.values())
        passed = self.passed[state.route]
        return {
            **state.to_json(),
            "let_through": passed,
            "would_be_refused": refused,
            "readiness": _readiness(state, passed, refused),
            "codes": [
                {
                    "code": code,
                    "count": one.count,
                    "first": one.first_at,
                    "last": one.last_at,
                    "examples": [kind for kind, _ in one.kinds.most_common(EXAMPLES)],
                    "advice": advice(code),
                }
                for code, one in sorted(codes.items(), key=lambda item: -item[1].count)
            ],
        }


def _readiness(state: ReportState, passed: int, refused: int) -> Readiness:
    if state.is_over:
        return "enforces"
    if refused:
        return "not_yet"
    return "ready" if passed else "unseen"


def advice(code: str) -> str:
    """Return what to look at before a route refuses with `code`."""
    return next((words for begin, words in _ADVICE if code.startswith(begin)), _LOOK)


_LOOK: Final = "see docs/codes.md"
_ADVICE: Final = (
    (
        "credential_missing",
        "they bring no credential: pages for everybody (`auth: none`)? clients with another scheme?",
    ),
    (
        "session_",
        "their cookie is no live session: look at one of them with `latchgate inspect-session`",
    ),
    ("token_", "look at such a token with `latchgate token inspect`: issuer, audience, time, key"),
    ("proof_", "their tokens come without a good proof (DPoP)"),
    ("cross_site", "pages of another site send this: is its origin to be named in `cross_site`?"),
    ("role_missing", "they are known and lack the role: is `require.roles` what it should be?"),
    ("scope_missing", "they are known and lack a scope: is `require.scopes` what it should be?"),
    ("claim_mismatch", "they are known and lack a claim: is `require.claims` what it should be?"),
    ("step_up_required", "they proved who they are too long ago, or with one factor alone"),
    ("credentials_differ", "they bring credentials that do not go together: see `both`"),
)


def _is_time(text: str) -> bool:
    return re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,15}Z", text) is not None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
