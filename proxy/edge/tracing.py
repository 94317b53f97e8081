"""Traces: which requests have one, what the upstream is told of it, and which spans it is made of.

A request that is not traced costs a look at its headers, and nothing of OpenTelemetry is imported
here. No span has a credential, a query, an address or a name of anybody (security.md, S15).
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Sequence
from typing import Final, Literal

from proxy.adapters.telemetry.spans import Export, Kind, Span, Value
from proxy.adapters.telemetry.text import clean_path
from proxy.core.forwarding import ForwardingPolicy
from proxy.core.trace_context import (
    Parent,
    context_headers,
    has_context,
    read_parent,
    without_context,
)
from proxy.edge.forward import Passage
from proxy.edge.logged import logged_host, logged_path
from proxy.model import Header, Peer, RequestView
from proxy.services.decision import Decision, Forward, Refuse
from proxy.services.lookups import LookUps, watching

_METHODS: Final = frozenset(
    {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"}
)
"""Others are a client's words, and shown as `_OTHER` (OpenTelemetry's HTTP conventions)."""
_REDACTED: Final = "REDACTED"

Believed = Literal["trusted", "everyone", "nobody"]


class Tracer:
    """Decides about traces for one server."""

    def __init__(
        self, export: Export, *, sample: float, parents: Believed, forwarding: ForwardingPolicy
    ) -> None:
        """Make spans of `sample` (0 to 1) of the requests without a parent that is followed."""
        self._export = export
        self._sample = sample
        self._parents = parents
        self._forwarding = forwarding

    def draw(self) -> bool:
        """Let chance decide about a request without a parent."""
        return random.random() < self._sample  # noqa: S311 - nobody gains anything by guessing it

    def follows(self, peer: Peer) -> bool:
        """Tell whether the parent that a peer names is believed."""
        if self._parents == "trusted":
            return self._forwarding.known_peer(peer)[1]
        return self._parents == "everyone"

    def begin(self, view: RequestView, *, lot: bool | None) -> Traced | None:
        """Return what is to be done about a request; `None`: it is as if there were no traces.

        `lot`: what was drawn for it already.
        """
        says = has_context(view.headers)
        parent = read_parent(view.headers) if says and self.follows(view.peer) else None
        if parent is not None and not parent.is_sampled:
            return None if parent.is_verbatim else Untraced(parent)
        if parent is None and not (self.draw() if lot is None else lot):
            return Untraced(None) if says else None
        return RequestTrace(self._export, parent)

    def leaves_alone(self, view: RequestView, *, lot: bool) -> bool:
        """Tell whether a request may take a way on which nothing is done about traces."""
        if not has_context(view.headers):
            return not lot
        parent = read_parent(view.headers) if self.follows(view.peer) else None
        return parent is not None and parent.is_verbatim and not parent.is_sampled


class Untraced:
    """A request without spans, whose own word about traces does not go on as it came."""

    __slots__ = ("_told",)

    def __init__(self, parent: Parent | None) -> None:
        self._told: list[Header] = []
        if parent is not None:
            self._told = context_headers(
                parent.trace_id, parent.span_id, is_sampled=False, state=parent.state
            )

    def outgoing(self, headers: Sequence[Header]) -> list[Header]:
        """Return what the upstream is sent."""
        return [*without_context(headers), *self._told]

    def decided(self) -> None:
        """Nothing is noted."""

    def upstream_over(self) -> None:
        """Nothing is noted."""

    def finish(
        self, view: RequestView, decision: Decision | None, name: str, passage: Passage
    ) -> None:
        """Nothing is told."""


class RequestTrace:
    """The spans of one request: the request, its verdict, look-ups in stores, the upstream."""

    __slots__ = (
        "_began_ns", "_decided_ns", "_export", "_lookups", "_parent", "_started_ns", "_trace_id",
        "_upstream_from_ns", "_upstream_id", "_upstream_until_ns", "span_id",
    )  # fmt: skip

    def __init__(self, export: Export, parent: Parent | None) -> None:
        self._export = export
        self._parent = parent
        self._trace_id = os.urandom(16).hex() if parent is None else parent.trace_id
        self.span_id = os.urandom(8).hex()
        self._started_ns = time.time_ns()
        self._began_ns = time.perf_counter_ns()  # of which everything else is measured
        self._decided_ns = 0
        self._upstream_id = ""
        self._upstream_from_ns = 0
        self._upstream_until_ns = 0
        self._lookups = LookUps()
        watching.set(self._lookups)

    def outgoing(self, headers: Sequence[Header]) -> list[Header]:
        """Return what the upstream is sent: it is asked within a span of ours, which begins now."""
        self._upstream_id = os.urandom(8).hex()
        self._upstream_from_ns = time.perf_counter_ns()
        state = "" if self._parent is None else self._parent.state
        told = context_headers(self._trace_id, self._upstream_id, is_sampled=True, state=state)
        return [*without_context(headers), *told]

    def decided(self) -> None:
        """Note that it is known now what becomes of the request."""
        self._decided_ns = time.perf_counter_ns()
        self._lookups.close()

    def upstream_over(self) -> None:
        """Note that the upstream's answer has ended."""
        self._upstream_until_ns = time.perf_counter_ns()

    def finish(
        self, view: RequestView, decision: Decision | None, name: str, passage: Passage
    ) -> None:
        """Tell all spans of a request that is over; `name` is what was decided, as logs say it."""
        watching.set(None)
        self._lookups.close()
        now = time.perf_counter_ns()
        spans = [self._request(view, decision, name, passage, now)]
        verdict_id = os.urandom(8).hex()
        decided = self._decided_ns or now
        scheme = _scheme(decision)
        attributes: dict[str, Value] = {"latchgate.decision": name}
        if scheme:
            attributes["latchgate.scheme"] = scheme
        if isinstance(decision, Refuse):
            attributes["latchgate.code"] = decision.refusal.code
        attributes["latchgate.lookups"] = len(self._lookups.found)
        spans.append(
            self._span("verdict", "internal", verdict_id, self._began_ns, decided, attributes)
        )
        for lookup in self._lookups.found:
            told: dict[str, Value] = {"db.system.name": "redis", "latchgate.store": lookup.store}
            span = self._span(
                f"look-up {lookup.store}", "client", os.urandom(8).hex(), lookup.began_ns,
                lookup.ended_ns, told, parent_id=verdict_id, is_failed=lookup.is_failed,
            )  # fmt: skip
            spans.append(span)
        if self._upstream_id and isinstance(decision, Forward):
            spans.append(self._upstream(view, decision, passage, now))
        self._export(spans)

    def _request(
        self, view: RequestView, decision: Decision | None, name: str, passage: Passage, now: int
    ) -> Span:
        route = decision.route if decision is not None else None
        method = _method(view)
        path, query = logged_path(view.target), b"?" in view.target
        attributes: dict[str, Value] = {
            "http.request.method": method,
            "url.scheme": "https" if view.peer.is_tls else "http",
            "url.path": clean_path(path),
            "network.protocol.version": "{}.{}".format(*view.version),
            "latchgate.decision": name,
            "latchgate.request_id": decision.request_id if decision else passage.request_id,
        }
        if query:
            attributes["url.query"] = _REDACTED
        if host := logged_host(view):
            attributes["server.address"] = host
        if route is not None:
            attributes["http.route"] = route.name
        if scheme := _scheme(decision):
            attributes["latchgate.scheme"] = scheme
        if passage.status:
            attributes["http.response.status_code"] = passage.status
        if passage.code:
            attributes["latchgate.code"] = passage.code
        parent = self._parent
        return Span(
            name=method if route is None else f"{method} {route.name}",
            kind="server",
            trace_id=self._trace_id,
            span_id=self.span_id,
            parent_id=None if parent is None else parent.span_id,
            began_ns=self._started_ns,
            ended_ns=self._at(now),
            attributes=attributes,
            is_failed=passage.status >= 500,
            is_parent_remote=parent is not None,
            state="" if parent is None else parent.state,
        )

    def _upstream(self, view: RequestView, decision: Forward, passage: Passage, now: int) -> Span:
        method, upstream = _method(view), decision.route.upstream.name
        attributes: dict[str, Value] = {
            "http.request.method": method,
            "latchgate.upstream": upstream,
        }
        if passage.server:
            attributes["latchgate.server"] = passage.server
        if passage.upstream_status:
            attributes["http.response.status_code"] = passage.upstream_status
        if passage.upstream_s is not None:
            attributes["latchgate.head_after_s"] = round(passage.upstream_s, 6)
        is_failed = not passage.upstream_status or passage.upstream_status >= 500
        if is_failed and passage.code:
            attributes["latchgate.code"] = passage.code
        return self._span(
            f"{method} {upstream}", "client", self._upstream_id, self._upstream_from_ns,
            self._upstream_until_ns or now, attributes, is_failed=is_failed,
        )  # fmt: skip

    def _span(
        self,
        name: str,
        kind: Kind,
        span_id: str,
        began_ns: int,
        ended_ns: int,
        attributes: dict[str, Value],
        *,
        parent_id: str = "",
        is_failed: bool = False,
    ) -> Span:
        return Span(
            name=name,
            kind=kind,
            trace_id=self._trace_id,
            span_id=span_id,
            parent_id=parent_id or self.span_id,
            began_ns=self._at(began_ns),
            ended_ns=self._at(ended_ns),
            attributes=attributes,
            is_failed=is_failed,
            state="" if self._parent is None else self._parent.state,
        )

    def _at(self, counter_ns: int) -> int:
        """Return when it was, since the epoch."""
        return self._started_ns + max(0, counter_ns - self._began_ns)


Traced = Untraced | RequestTrace


def _method(view: RequestView) -> str:
    return view.method if view.method in _METHODS else "_OTHER"


def _scheme(decision: Decision | None) -> str:
    """Return the scheme that let in or refused; "" where none did."""
    if isinstance(decision, (Forward, Refuse)) and decision.identity is not None:
        return decision.identity.scheme
    if isinstance(decision, Refuse):
        return decision.refusal.scheme or ""
    return ""
