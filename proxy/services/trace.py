"""What the gate can be asked to note while it decides one request: for `explain`, never for serving.

The gate and `authenticate` take an optional `Trace` and write down what they have found out anyway.
Nothing is decided here, and nothing that is noted changes a decision.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from proxy.model import Header, Outcome, Refusal
from proxy.services.route import Route
from proxy.services.schemes.port import Found, Place, Scheme

Checked = Refusal | Literal["passed", "not_asked"]
"""What became of a check: refused, passed, or never asked."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one scheme was given, and what it said."""

    scheme: Scheme
    place: Place | None
    """Where its credential stands; `None` where the request carries none for it."""
    outcome: Outcome | None
    """`None`: its store or its keys are out of reach, and `code` and `detail` say which and why."""
    code: str = ""
    detail: str = ""


@dataclass(slots=True)
class Trace:
    """The way of one request through the gate, as far as it came."""

    host: str | None = None
    """The name that routes were chosen by; `None` where the request has none."""
    path: bytes | None = None
    """The path that the router was asked about; `None` where the request never came so far."""
    method: str = ""
    """The method that the router was asked about; of a preflight the one that it asks for."""
    is_preflight: bool = False
    route: Route | None = None
    verdicts: list[Verdict] = field(default_factory=list)
    """Of the schemes that were asked, in their order."""
    cross_site: Checked = "not_asked"
    require: Checked = "not_asked"
    opened_by: Verdict | None = None
    """The verdict that counted."""
    kept: Place | None = None
    """The place whose credential travels on."""
    cleaned: list[Header] = field(default_factory=list, repr=False)
    """The client's headers after the header rules, with the credentials still in them."""

    def asked(self, host: str | None, path: bytes, method: str) -> None:
        """Note what the router is asked."""
        self.host, self.path, self.method = host, path, method

    def chose(self, route: Route, *, is_preflight: bool) -> None:
        """Note the route."""
        self.route, self.is_preflight = route, is_preflight

    def judged(self, verdict: Verdict) -> None:
        """Note what a scheme said."""
        self.verdicts.append(verdict)

    def opened(self, scheme: Scheme, found: Found) -> None:
        """Note which scheme's word counts."""
        self.opened_by = next(
            verdict
            for verdict in self.verdicts
            if verdict.scheme is scheme and verdict.place == found.place
        )
