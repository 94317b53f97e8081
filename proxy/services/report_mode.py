"""Which routes only report, and until when: for whoever starts a gate, or looks at one (S14).

What never belongs here: what becomes of a request; `Route.reports` says that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from proxy.config.models import Config, RouteConfig
from proxy.services.compile import report_until

SOON_S: Final = 7 * 86_400.0
"""So long before the end it is time to look at what was reported."""


@dataclass(frozen=True, slots=True)
class ReportState:
    """A route with `mode: {report: …}`, at one moment."""

    route: str
    until: str
    """The last day, as the file has it."""
    left_s: float
    """Seconds until it enforces; not above 0 where it does already."""

    @property
    def is_over(self) -> bool:
        """True where the route enforces already."""
        return self.left_s <= 0

    @property
    def is_urgent(self) -> bool:
        """True where the end has come, or is near."""
        return self.left_s <= SOON_S

    def __str__(self) -> str:
        if self.is_over:
            return (
                f"route {self.route}: its report mode ended with {self.until} (UTC): it enforces;"
                " leave its `mode` out"
            )
        days = int(self.left_s // 86_400)
        left = {0: "less than a day left", 1: "1 day left"}.get(days, f"{days} days left")
        return (
            f"route {self.route}: report mode: what it would refuse is let through until the end of"
            f" {self.until} (UTC), {left}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the same for programs."""
        return {
            "route": self.route,
            "until": self.until,
            "state": "over" if self.is_over else "ending" if self.is_urgent else "reporting",
        }


def report_states(config: Config, now: float) -> Iterator[ReportState]:
    """Yield every route with a report mode, as it is at `now` (epoch seconds), in the file's order."""
    for route in config.routes:
        if route.mode != "enforce":
            until = route.mode.report.until.isoformat()
            yield ReportState(route.name, until, report_until(route) - now)


def mode_of(route: RouteConfig) -> str | dict[str, Any]:
    """Return a route's `mode` as the file would have it."""
    if route.mode == "enforce":
        return "enforce"
    return {"report": {"until": route.mode.report.until.isoformat()}}
