"""Requests of which all is known but the credential: what is made of them once it was looked up.

Two requests whose lines that matter differ in nothing but the value of one credential lead to the same
scheme, place and headers; who it is, the look-up says. So a credential that nobody has seen costs the
look-up alone. What is not as it was with the first one (a binding, a proof, a demand that is not met,
whoever is nobody) is for the request loop. What never belongs here: I/O, clocks, who may pass.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from proxy.core.coherence import Verdict
from proxy.edge.incoming import Incoming
from proxy.edge.ready import Read, Ready, Way, back_of
from proxy.errors import ProxyError
from proxy.model import Header, Identity
from proxy.services.authenticate import Held
from proxy.services.decision import Forward
from proxy.services.route import Route
from proxy.services.schemes.port import Found, Fresh, Scheme

MAX_BYTES: Final = 4 * 1024 * 1024
"""Of all shapes of one memo, as estimated."""
_COPIES: Final = 4
"""Bytes that are kept for each byte of a shape's lines."""
_SKETCH_BYTES: Final = 3000
"""What a sketch costs beside (measured: tests/unit/edge/test_strangers.py)."""

_PLAIN: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/=%:"
"""Of these a value means the same to every parser; what else could be in it is read by one."""
_BEARER: Final = b"authorization: bearer "
_COOKIE: Final = b"cookie: "

Outline = tuple[tuple[bytes, ...], int, int]
"""The lines that matter, one of them cut off before the credential's value; which one, and where."""


def outline(matter: tuple[bytes, ...]) -> Outline | None:
    """Return lines without the value of the one credential that they carry; `None`: not exactly one.

    A cookie has to be the only one of its line.
    """
    at = cut = -1
    for number, line in enumerate(matter):
        if line[:22].lower() == _BEARER:
            start = 22
        elif line[:8].lower() == _COOKIE:
            start = line.find(b"=") + 1
            if start == 0:
                return None
        else:
            continue
        if at >= 0:
            return None
        at, cut = number, start
    if at < 0:
        return None
    value = matter[at][cut:-1]
    if not value or value.translate(None, _PLAIN):
        return None
    return (*matter[:at], matter[at][:cut], *matter[at + 1 :]), at, cut


class Sketch:
    """What was made of a request on one route, but for its credential."""

    __slots__ = ("_agent", "_is_sent", "_may_be_stale", "_place", "at", "ready", "scheme")

    def __init__(self, ready: Ready, at: int) -> None:
        """Take a request that was remembered whole; `at`: where the credential stands in its lines."""
        decision, (held,) = ready.decision, ready.decision.held
        self.scheme: Scheme = held.scheme
        self.at = at
        self._place = held.found.place
        self._agent = held.found.agent
        self._may_be_stale = held.found.may_be_stale
        self._is_sent = bool(ready.outs[at])
        nobody = replace(decision, identity=None, identity_headers=(), held=())
        self.ready = ready.alike(nobody, b"")
        """Of nobody: no credential is kept in it."""
        outs = list(ready.outs)
        outs[at] = b""
        self.ready.outs = tuple(outs)
        self.ready.headers = _without(ready.headers, at)

    def found(self, value: bytes, address: str | None) -> Found:
        """Return the credential as its scheme takes it."""
        return Found(self._place, value, address, self._agent, may_be_stale=self._may_be_stale)

    def introduce(self, identity: Identity, found: Found, read: Read) -> tuple[Ready, bytes] | None:
        """Return what is to be sent for somebody who is known now; `None`: that is for the loop to say.

        Beside it the lines of the client, as they are sent.
        """
        holds = self.scheme.stand(found)
        if holds is None or identity.jkt is not None:
            return None
        matter, parts, places, _ = read
        try:
            ready = self._of(identity, found, matter[self.at])
        except ProxyError:
            return None
        ready.holds = holds
        for place, out in zip(places, ready.outs, strict=True):
            parts[place] = out
        return ready, ready.host_line + b"".join(parts)

    def _of(self, identity: Identity, found: Found, line: bytes) -> Ready:
        """Return what is made of it; `line`: the one with the credential. Raises `IdentityRefused`."""
        template = self.ready
        known = template.decision
        route = known.route
        headers = route.identity.render(identity)
        decision = Forward(
            route=route,
            client=known.client,
            request_id="",
            identity=identity,
            identity_headers=headers,
            headers=[],
            target=b"",
            response_headers=known.response_headers,
            held=(Held(self.scheme, found),),
            is_repeatable=True,
            may_be_stale=known.may_be_stale,
            asked=known.asked,
        )
        ready = template.alike(decision, back_of(headers))
        at = self.at
        name, _, value = line[:-1].partition(b": ")
        ready.headers = (*template.headers[:at], (name, value), *template.headers[at + 1 :])
        if self._is_sent:
            ready.outs = (*template.outs[:at], line + b"\n", *template.outs[at + 1 :])
        return ready


class Shape:
    """Lines that matter without a credential, and what was made of them, by route."""

    __slots__ = ("host", "sketches", "ways")

    def __init__(self, host: bytes, ways: dict[bytes, Way]) -> None:
        self.host = host
        self.ways = ways
        self.sketches: dict[Route, Sketch | None] = {}
        """`None`: more hangs on the credential there."""


class Stranger:
    """A request whose credential is being looked up: its head as it came, and what is known of it."""

    __slots__ = ("found", "fresh", "head", "incoming", "read", "sketch", "way")

    def __init__(
        self, head: bytes, read: Read, way: Way, sketch: Sketch, found: Found, fresh: Fresh
    ) -> None:
        self.head = head
        self.read = read
        self.way = way
        self.sketch = sketch
        self.found = found
        self.fresh = fresh
        self.incoming: Incoming | None = None
        """The request as the ordinary way would have it, once somebody needs that."""

    def introduced(self) -> tuple[Ready, bytes] | None:
        """Return what `Sketch.introduce` does of whom the look-up has found, if it is over and did."""
        flight = self.fresh[1]
        if flight.cancelled() or flight.exception() is not None:
            return None
        finding = flight.result()
        if not isinstance(finding, Verdict) or finding.refused is not None:
            return None
        return self.sketch.introduce(finding.identity, self.found, self.read)


class Strangers:
    """The shapes that one memo knows."""

    __slots__ = ("_shapes", "_size")

    def __init__(self) -> None:
        self._shapes: dict[tuple[bytes, ...], Shape] = {}
        self._size = 0

    def __len__(self) -> int:
        return len(self._shapes)

    def clear(self) -> None:
        """Forget everything."""
        self._shapes.clear()
        self._size = 0

    # hot: every request of the express lane whose credential is new
    def find(self, matter: tuple[bytes, ...]) -> tuple[Shape, bytes] | None:
        """Return what is known of a request's other lines, and the value of its credential."""
        drawn = outline(matter)
        if drawn is None:
            return None
        shape = self._shapes.get(drawn[0])
        return None if shape is None else (shape, matter[drawn[1]][drawn[2] : -1])

    def lacks(self, matter: tuple[bytes, ...], route: Route) -> bool:
        """Tell whether there is something to learn from a request with these lines."""
        drawn = outline(matter)
        if drawn is None:
            return False
        shape = self._shapes.get(drawn[0])
        return shape is None or route not in shape.sketches

    def learn(self, matter: tuple[bytes, ...], ready: Ready, ways: dict[bytes, Way]) -> None:
        """Keep what was made of a request, but for its credential, where nothing else hangs on that.

        `ready`: as the memo would keep it.
        """
        drawn = outline(matter)
        if drawn is None:
            return
        route = ready.decision.route
        shape = self._shapes.get(drawn[0])
        if shape is not None and route in shape.sketches:
            return
        self._size += _COPIES * sum(map(len, matter)) + _SKETCH_BYTES
        if self._size > MAX_BYTES:
            self.clear()
            shape = None
        if shape is None:
            shape = self._shapes[drawn[0]] = Shape(ready.host, ways)
        is_fit = _is_fit(ready, matter[drawn[1]][drawn[2] : -1])
        shape.sketches[route] = Sketch(ready, drawn[1]) if is_fit else None


def _is_fit(ready: Ready, value: bytes) -> bool:
    """Tell whether another value at this place would be taken by the same scheme, in the same way."""
    decision = ready.decision
    if len(decision.held) != 1 or ready.tail or decision.hash_key is not None:
        return False
    found = decision.held[0].found
    if found.value != value or found.place.kind not in ("bearer", "cookie"):
        return False
    rivals = [
        one
        for one in decision.route.schemes
        if one.issuer is not None and found.place in one.places
    ]
    return len(rivals) <= 1  # else the token itself says which of them is asked


def _without(headers: tuple[Header, ...], at: int) -> tuple[Header, ...]:
    """Return headers without the value of the one with the credential."""
    return (*headers[:at], (headers[at][0], b""), *headers[at + 1 :])
