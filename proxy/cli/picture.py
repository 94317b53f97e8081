"""What a gate does, from two scrapes of its metrics: rates, shares and lags for people to look at.

Pure. What never belongs here: sockets, clocks, and how it is shown.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

Labels = tuple[tuple[str, str], ...]
"""Names and values, sorted by name."""

_SERVER: Final = ("used", "busy", "connections", "waiting", "ejections_total", "retries_total")


@dataclass(frozen=True, slots=True)
class Scrape:
    """The numbers of one moment."""

    at_s: float
    """Of a monotonic clock."""
    numbers: Mapping[str, Mapping[Labels, float]] = field(default_factory=dict)
    """By metric, then by labels."""

    @classmethod
    def of(cls, at_s: float, text: str) -> Scrape:
        """Read Prometheus' text format. Raises `ValueError` for what is none."""
        from prometheus_client.parser import text_string_to_metric_families  # noqa: PLC0415 - who draws what was read needs no parser

        numbers: dict[str, dict[Labels, float]] = {}
        try:
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    if math.isfinite(sample.value):
                        labels = tuple(sorted(sample.labels.items()))
                        numbers.setdefault(sample.name, {})[labels] = sample.value
        except (
            ValueError,
            KeyError,
            IndexError,
            TypeError,
            AttributeError,
        ):  # as the parser has it
            raise ValueError("these are no metrics") from None
        return cls(at_s, numbers)

    def sum(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples that have these labels."""
        wanted = set(labels.items())
        return sum(n for have, n in self.numbers.get(name, {}).items() if wanted <= set(have))

    def values_of(self, name: str, label: str) -> list[str]:
        """Return what a label of a metric is, each value once."""
        found = (dict(have).get(label, "") for have in self.numbers.get(name, {}))
        return list(dict.fromkeys(found))


@dataclass(frozen=True, slots=True)
class Picture:
    """What happened between two scrapes; where they are of two gates, since the second began."""

    before: Scrape
    now: Scrape

    @property
    def seconds(self) -> float:
        """How long it was, never 0."""
        return max(self.now.at_s - self.before.at_s, 1e-3)

    def rate(self, name: str, **labels: str) -> float:
        """Return how often a counter counted per second."""
        wanted = set(labels.items())
        old = self.before.numbers.get(name, {})
        grown = (
            _grown(old.get(have, 0.0), number)
            for have, number in self.now.numbers.get(name, {}).items()
            if wanted <= set(have)
        )
        return sum(grown) / self.seconds

    def quantile(self, name: str, share: float, **labels: str) -> float | None:
        """Return what `share` of a histogram's times are below, in seconds; `None` without any.

        Of those in the picture, or of all since the gate began where it has none. It is exact to a
        bucket, within which it is interpolated as Prometheus does.
        """
        new, all_ = self._buckets(name, labels)
        return _quantile(new, share) if _total(new) else _quantile(all_, share)

    def _buckets(
        self, name: str, labels: Mapping[str, str]
    ) -> tuple[dict[float, float], dict[float, float]]:
        """Return a histogram's cumulative buckets by upper bound: what is new, and all."""
        wanted = set(labels.items())
        old = self.before.numbers.get(f"{name}_bucket", {})
        new: dict[float, float] = {}
        whole: dict[float, float] = {}
        for have, number in self.now.numbers.get(f"{name}_bucket", {}).items():
            if wanted <= set(have):
                bound = float(dict(have).get("le", "inf"))
                new[bound] = new.get(bound, 0.0) + _grown(old.get(have, 0.0), number)
                whole[bound] = whole.get(bound, 0.0) + number
        return new, whole

    def to_json(self) -> dict[str, Any]:
        """Return all that is shown; times in seconds, rates per second, `None` where unknown."""
        return {
            "seconds": round(self.seconds, 3),
            "gate": self._gate(),
            "verdicts": self._verdicts(),
            "stores": [
                self._store(one) for one in self.now.values_of("latchgate_store_up", "store")
            ],
            "requests": self._requests(),
            "upstreams": self._upstreams(),
        }

    def _gate(self) -> dict[str, Any]:
        duration = "latchgate_request_duration_seconds"
        build = self.now.values_of("latchgate_build_info", "version")
        numbers = {
            word: int(self.now.sum(f"latchgate_{word}"))
            for word in (
                "workers_wanted", "workers_ready", "workers_silent", "worker_restarts_total",
                "client_connections", "tunnels",
            )
        }  # fmt: skip
        return {
            "version": build[0] if build else "",
            "ready": bool(self.now.sum("latchgate_ready")),
            **{word.removesuffix("_total"): number for word, number in numbers.items()},
            "last_reload_taken": all(
                self.now.numbers.get("latchgate_config_last_reload_successful", {}).values()
            ),
            "per_second": _rounded(self.rate("latchgate_decisions_total")),
            "p50_s": self.quantile(duration, 0.5),
            "p99_s": self.quantile(duration, 0.99),
            "received_bytes_per_second": _rounded(self.rate("latchgate_received_bytes_total")),
            "sent_bytes_per_second": _rounded(self.rate("latchgate_sent_bytes_total")),
        }

    def _verdicts(self) -> dict[str, Any]:
        hits, misses = (self.rate(f"latchgate_verdict_{word}_total") for word in ("hits", "misses"))
        return {
            "hits_per_second": _rounded(hits),
            "misses_per_second": _rounded(misses),
            "hit_share": round(hits / (hits + misses), 4) if hits + misses else None,
            "entries": int(self.now.sum("latchgate_verdict_entries")),
            "bytes": int(self.now.sum("latchgate_verdict_bytes")),
        }

    def _store(self, store: str) -> dict[str, Any]:
        lag = "latchgate_store_invalidation_lag_seconds"
        ages = self.now.numbers.get("latchgate_store_proof_age_seconds", {})
        states = {
            state: int(self.now.sum("latchgate_store_tracking", store=store, state=state))
            for state in ("tracking", "waiting", "lost", "untracked")
        }
        return {
            "store": store,
            "up": bool(self.now.sum("latchgate_store_up", store=store)),
            "workers": states,
            "lag_p50_s": self.quantile(lag, 0.5, store=store),
            "lag_p99_s": self.quantile(lag, 0.99, store=store),
            "proof_age_s": ages.get((("store", store),)),
            "lookups_per_second": _rounded(
                self.rate("latchgate_store_lookup_seconds_count", store=store)
            ),
            "failed_per_second": _rounded(
                self.rate("latchgate_store_lookups_failed_total", store=store)
            ),
        }

    def _requests(self) -> list[dict[str, Any]]:
        """Return a row for each route and decision, the most frequent first."""
        rows: dict[tuple[str, str, str], int] = {}
        for have, number in self.now.numbers.get("latchgate_decisions_total", {}).items():
            key = _of(have, "route", "decision", "code")
            rows[key] = rows.get(key, 0) + int(number)
        found: list[dict[str, Any]] = [
            {
                "route": route,
                "decision": decision,
                "code": code,
                "per_second": _rounded(
                    self.rate(
                        "latchgate_decisions_total", route=route, decision=decision, code=code
                    )
                ),
                "total": total,
                "route_p99_s": self.quantile(
                    "latchgate_request_duration_seconds", 0.99, route=route
                ),
            }
            for (route, decision, code), total in rows.items()
        ]
        found.sort(key=lambda row: (-row["per_second"], -row["total"], row["route"]))
        return found

    def _upstreams(self) -> list[dict[str, Any]]:
        """Return a row for each server, with what its upstream does."""
        servers = dict.fromkeys(
            _of(have, "upstream", "server")
            for have in self.now.numbers.get("latchgate_upstream_server_used", {})
        )
        workers = int(self.now.sum("latchgate_workers_ready"))
        found = []
        for upstream, server in servers:
            row: dict[str, Any] = {"upstream": upstream, "server": server, "workers": workers}
            for word in _SERVER:
                name = f"latchgate_upstream_server_{word}"
                number = self.now.sum(name, upstream=upstream, server=server)
                row[word.removesuffix("_total")] = int(number)
            answers, errors = (
                self.rate(f"latchgate_upstream_{word}_total", upstream=upstream)
                for word in ("responses", "errors")
            )
            row["upstream_per_second"] = _rounded(answers)
            row["upstream_errors_per_second"] = _rounded(errors)
            row["upstream_p99_s"] = self.quantile(
                "latchgate_upstream_duration_seconds", 0.99, upstream=upstream
            )
            found.append(row)
        return found


def _of(labels: Labels, *names: str) -> tuple[Any, ...]:
    found = dict(labels)
    return tuple(found.get(name, "") for name in names)


def _grown(old: float, new: float) -> float:
    """Return by how much a total grew; one that is lower belongs to a gate that began anew."""
    return new - old if new >= old else new


def _rounded(number: float) -> float:
    return round(number, 2)


def _total(buckets: Mapping[float, float]) -> float:
    return max(buckets.values(), default=0.0)


def _quantile(buckets: Mapping[float, float], share: float) -> float | None:
    """Interpolate within the bucket in which `share` of all is reached."""
    total = _total(buckets)
    if not total:
        return None
    wanted = total * share
    low, below = 0.0, 0.0
    for bound, number in sorted(buckets.items()):
        if number >= wanted:
            if math.isinf(bound):
                return low  # how much longer is not known
            part = (wanted - below) / (number - below) if number > below else 1.0
            return low + (bound - low) * part
        low, below = bound, number
    return low
