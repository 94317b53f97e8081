"""What a route takes: how often somebody may ask, how many requests at once, how long a body may be.

Asked once it is known who comes and that they may; what is refused here never reaches an
application. Where the store is away a worker counts by itself: an outage opens no gate and shuts
none, and the rate is then kept for each worker.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from proxy.adapters.store.port import Script, Store
from proxy.config.limit_models import parse_rate
from proxy.config.models import Config, RouteConfig
from proxy.core.coherence.attempts import network_of
from proxy.core.rate import Rate, RateTable, rate_headers
from proxy.core.revocation import digest
from proxy.errors import StoreUnavailable, TooManyAtOnce
from proxy.model import Refusal, RequestView
from proxy.services.decision import Decision, Forward, Refuse

CODE: Final = "too_many_requests"
_SAY_EVERY_S: Final = 60.0
_AWAY_S: Final = 1.0
"""So long nobody waits for a store that did not answer; then one request asks it again."""
_log: Final = logging.getLogger("latchgate.limits")

# KEYS: the key's time. ARGV: now, the period, the distance of two. Returns the seconds to wait, as
# text (Lua would cut a number). What it computes is `Rate.wait_s` and `Rate.passed`.
_TAKE: Final = Script(
    """
local now, period, step = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local tat = tonumber(redis.call('GET', KEYS[1]) or '') or now
if tat - now > 2 * period then tat = now end
local wait = tat - now - period + step
if wait > 0 then return string.format('%.6f', wait) end
tat = math.max(tat, now) + step
redis.call('SET', KEYS[1], string.format('%.6f', tat), 'PX', math.ceil((tat - now) * 1000) + 1000)
return '0'
""",
    is_durable=False,  # a count is no revocation: no request waits for the replicas
)

KeyOf = Callable[[Forward, RequestView], str]


class Limiter:
    """The limits of one route in one worker."""

    def __init__(
        self,
        route: str,
        *,
        rate: Rate | None = None,
        key_of: KeyOf | None = None,
        is_shared: bool = False,
        parallel: int | None = None,
    ) -> None:
        """`is_shared`: the rate is counted in the store that `bind` gives."""
        self._route = route
        self._rate = rate
        self._key_of = key_of or by_address
        self._is_shared = is_shared
        self._table = None if rate is None else RateTable(rate)
        self._parallel = parallel
        self._store: Store | None = None
        self._prefix = ""
        self._said_at = 0.0
        self._away_at: float | None = None
        """When the store was asked last that has not answered since, in epoch seconds."""
        self.busy = 0
        """Requests of the route that are under way."""

    def bind(self, store: Store | None, prefix: str) -> None:
        """Count in `store` from now on, under `prefix`, where that is wanted."""
        if self._is_shared:
            self._store, self._prefix = store, prefix

    async def admit(self, decision: Forward, view: RequestView, now: float) -> Decision:
        """Return `decision`, or the refusal of a request beyond the rate."""
        if self._rate is None:
            return decision
        wait_s = await self._take(self._key_of(decision, view), now)
        if not wait_s:
            return decision
        refusal = Refusal(
            CODE, f"over the rate of route {self._route}", rate_headers(self._rate, wait_s)
        )
        return Refuse(
            "deny",
            refusal,
            decision.client,
            decision.request_id,
            decision.route,
            decision.response_headers,
            decision.identity,
        )

    def enter(self) -> None:
        """Count a request as under way until `leave`. Raises TooManyAtOnce."""
        if self._parallel is not None and self.busy >= self._parallel:
            raise TooManyAtOnce(f"{self.busy} requests of route {self._route} are under way")
        self.busy += 1

    def leave(self) -> None:
        """Count it as over."""
        self.busy -= 1

    async def _take(self, key: str, now: float) -> float:
        rate, table = self._rate, self._table
        assert rate is not None  # noqa: S101 - `admit` has looked
        assert table is not None  # noqa: S101 - it goes with the rate
        short = digest(self._route, key)  # a header may have 32 KiB, and there are many keys
        if self._store is not None and not self._is_away(now):
            if self._away_at is not None:
                self._away_at = now  # others do not wait with this one
            try:
                args = (repr(now), repr(rate.period_s), repr(rate.step_s))
                wait_s = await self._store.run(_TAKE, [f"{self._prefix}limit:{short}"], args)
            except StoreUnavailable as down:
                self._away_at = now
                self._say(down, now)
            else:
                self._away_at = None
                return float(wait_s)
        return table.take(short, now)

    def _is_away(self, now: float) -> bool:
        """Tell whether the store did not answer a moment ago; a clock that was set back says nothing."""
        return self._away_at is not None and 0 <= now - self._away_at < _AWAY_S

    def _say(self, down: StoreUnavailable, now: float) -> None:
        if now - self._said_at >= _SAY_EVERY_S:
            self._said_at = now
            _log.warning("rates are counted per worker: %s", down.detail)


def by_subject(decision: Forward, view: RequestView) -> str:
    """Return who asks, as far as that is known; else from where.

    One name of two origins is two people, unless the route says that its schemes share names (K6).
    """
    identity = decision.identity
    if identity is None:
        return by_address(decision, view)
    if decision.route.has_same_subjects:
        return f"name {identity.subject}"
    return f"subject {identity.origin} {identity.subject}"


def by_address(decision: Forward, view: RequestView) -> str:
    """Return from where somebody asks; a /64 of IPv6 is one place."""
    del view
    return f"address {network_of(decision.client.address)}"


def by_header(name: bytes) -> KeyOf:
    """Return what takes a header's value; without one it counts from where somebody asks.

    The last of several: a proxy that adds its own behind a client's has the last word.
    """

    def key_of(decision: Forward, view: RequestView) -> str:
        values = view.values(name)
        if not values:
            return by_address(decision, view)
        return f"header {values[-1].decode('latin-1')}"

    return key_of


class Limiters:
    """The limiters of one configuration, by route."""

    def __init__(self, config: Config, before: Limiters | None = None) -> None:
        """Take those of `before` over whose limits are the same, with what they have counted."""
        self.limits = {route.name: route.limits for route in config.routes}
        self._limiters: dict[str, Limiter | None] = {}
        for route in config.routes:
            is_same = before is not None and before.limits.get(route.name) == route.limits
            found = before.of(route.name) if before is not None and is_same else None
            self._limiters[route.name] = found or _limiter(route)

    def of(self, route: str) -> Limiter | None:
        """Return what counts a route's requests; `None` where nothing is counted."""
        return self._limiters.get(route)

    def bind(self, store: Store | None, prefix: str) -> None:
        """Count in `store` from now on, where that is wanted."""
        for limiter in self._limiters.values():
            if limiter is not None:
                limiter.bind(store, prefix)


def _limiter(route: RouteConfig) -> Limiter | None:
    """Return what counts a route's requests; `None` where nothing is counted."""
    limits = route.limits
    if limits.rate is None and limits.parallel is None:
        return None
    key_of: KeyOf = by_address
    if limits.per == "subject":
        key_of = by_subject
    elif limits.per != "address":
        key_of = by_header(limits.per.header.lower().encode("ascii"))
    return Limiter(
        route.name,
        rate=None if limits.rate is None else Rate(*parse_rate(limits.rate)),
        key_of=key_of,
        is_shared=limits.in_ == "store",
        parallel=limits.parallel,
    )


async def limited(decision: Decision, view: RequestView, now: float) -> Decision:
    """Return `decision`, or the refusal of what is let through otherwise; `now` is epoch seconds."""
    if isinstance(decision, Forward) and decision.route.limiter is not None:
        return await decision.route.limiter.admit(decision, view, now)
    return decision
