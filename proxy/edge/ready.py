"""What is known of a request before it comes: where its line leads, and what is made of its headers.

Filled by `proxy.edge.memo` and `proxy.edge.strangers`, used by the express lane. What never belongs
here: bounds, and finding anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from proxy.edge.counters import CellKey, RequestCounters
from proxy.edge.logged import logged_host, logged_path
from proxy.model import Header, Identity, RequestView
from proxy.services.decision import Forward
from proxy.services.route import Route
from proxy.services.schemes.port import Holds

_END: Final = b"\r\n\r\n"

Read = tuple[tuple[bytes, ...], list[bytes], list[int], bool]
"""A block taken apart: the lines that matter, each with its CR; what is sent of each line, these left open; where they
stand; and whether every line was remembered."""


class Way:
    """A request line of one host: where it leads."""

    __slots__ = ("front", "is_head", "logged", "method", "path", "route", "target")

    def __init__(self, method: str, target: bytes, route: Route, sent: bytes) -> None:
        """Take the target as it came, and the one to send."""
        self.method = method
        self.is_head = method == "HEAD"
        self.target = target
        self.route = route
        self.front = b"%b %b HTTP/1.1\r\n" % (method.encode("ascii"), sent)
        self.path = logged_path(target)
        self.logged = ""
        """What the log says of it, once it was said."""


class Ready:
    """What a decision makes of a request but for its line, its connection, and its id."""

    __slots__ = (
        "asserted",
        "assertions",
        "back",
        "decision",
        "demands",
        "headers",
        "holds",
        "host",
        "host_line",
        "identity",
        "key",
        "logged",
        "logged_host",
        "memory_key",
        "outs",
        "plan",
        "server",
        "size",
        "tail",
        "tally",
        "told",
        "upstream",
    )  # fmt: skip

    def __init__(
        self, decision: Forward, view: RequestView, counters: RequestCounters, host: bytes
    ) -> None:
        route, identity = decision.route, decision.identity
        self.decision = decision
        self.identity: Identity | None = identity
        self.holds: Holds | None = None
        """Asked at every use; `None` on a public route only."""
        self.demands = route.unmet if route.is_demanding and identity is not None else None
        self.outs: tuple[bytes, ...] = ()
        """For each line that matters what is sent of it."""
        self.host_line = b""
        self.server = route.upstream.servers[0] if len(route.upstream.servers) == 1 else None
        self.tail = b""
        """Lines that the gate has rewritten, behind the client's."""
        self.assertions = route.assertions
        self.asserted: tuple[Header, ...] = ()
        self.told = (host, route.strip_prefix, route.upstream_host)
        """What the forwarding headers depend on, beside the connection."""
        self.host = host
        self.logged_host = logged_host(view)
        self.logged = ""
        self.back = back_of(decision.identity_headers)
        self.upstream = route.upstream
        scheme = identity.scheme if identity is not None else ""
        self.tally = counters.tally(route.name, scheme, route.upstream.name)
        self.key: CellKey = ("forward", route.name, scheme, None)
        self.plan = route.responses_for(decision.client)
        self.headers = view.headers
        self.size = 0
        """Bytes, as its memo has counted them."""
        self.memory_key = None if decision.response_headers else self.plan
        """What a rendered head of an answer depends on; `None`: on more than the route."""

    # hot: every request of the express lane whose credential is new
    def alike(self, decision: Forward, back: bytes) -> Ready:
        """Return the same for another decision, of the same route, scheme and other lines."""
        other = Ready.__new__(Ready)
        other.decision = decision
        other.identity = decision.identity
        other.holds = None
        route = decision.route
        is_demanding = route.is_demanding and decision.identity is not None
        other.demands = route.unmet if is_demanding else None
        other.outs = self.outs
        other.host_line = self.host_line
        other.server = self.server
        other.tail = self.tail
        other.assertions = self.assertions
        other.asserted = ()
        other.told = self.told
        other.host = self.host
        other.logged_host = self.logged_host
        other.logged = ""
        other.back = back
        other.upstream = self.upstream
        other.tally = self.tally
        other.key = self.key
        other.plan = self.plan
        other.headers = self.headers
        other.size = 0
        other.memory_key = self.memory_key
        return other

    def is_over(self) -> bool:
        """Tell whether it hangs on a credential whose verdict is no longer kept."""
        held = self.decision.held
        return bool(held) and held[0].scheme.recall(held[0].found) is None


def headers_of(head: bytes) -> tuple[Header, ...]:
    """Return the header fields of a head in the strict form that `Memo.read` takes."""
    lines = head[: head.find(_END)].split(b"\r\n")[1:]
    return tuple((name, value) for name, _, value in (line.partition(b": ") for line in lines))


def back_of(identity_headers: Iterable[Header]) -> bytes:
    """Return what follows the request's id: the gate's word, and the end of the head."""
    return b"\r\n" + b"".join(b"%b: %b\r\n" % header for header in identity_headers) + b"\r\n"


class Special:
    """The lines of a block that matter, and what was decided of them, by route."""

    __slots__ = ("host", "ready", "ways")

    def __init__(self, host: bytes, ways: dict[bytes, Way]) -> None:
        self.host = host
        self.ways = ways
        self.ready: dict[Route, Ready] = {}

    @property
    def is_empty(self) -> bool:
        """True where nothing is kept of any route."""
        return not self.ready

    @property
    def hangs(self) -> bool:
        """True where anything of it hangs on a verdict."""
        return any(ready.decision.held for ready in self.ready.values())

    def let_go(self) -> int:
        """Forget what hangs on a verdict that is no longer kept; return how many bytes that were."""
        over = [route for route, ready in self.ready.items() if ready.is_over()]
        return sum(self.ready.pop(route).size for route in over)


class Block:
    """A whole block: its lines that matter, and what is sent of all of them, by route."""

    __slots__ = ("fronts", "special")

    def __init__(self, special: Special) -> None:
        self.special = special
        self.fronts: dict[Route, tuple[Ready, bytes, int]] = {}
        """By route, the last of each: bytes, as the memo has counted them."""

    @property
    def is_empty(self) -> bool:
        """As of `Special`."""
        return not self.fronts

    @property
    def hangs(self) -> bool:
        """As of `Special`."""
        return any(ready.decision.held for ready, _, _ in self.fronts.values())

    def let_go(self) -> int:
        """As of `Special`."""
        over = [route for route, (ready, _, _) in self.fronts.items() if ready.is_over()]
        return sum(self.fronts.pop(route)[2] for route in over)
