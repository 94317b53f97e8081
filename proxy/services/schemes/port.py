"""What the gate needs of a scheme, and what a request carries for it."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from proxy.core.coherence import Key
from proxy.core.dpop import ProofRequest
from proxy.model import SAFE_METHODS, ClientInfo, Identity, Outcome, Rejected, RequestView

PlaceKind = Literal["bearer", "dpop", "basic", "cookie", "header", "query", "certificate"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a request a credential stands."""

    kind: PlaceKind
    name: str = ""
    """Of the cookie, header (lower case) or query parameter."""

    @property
    def is_ambient(self) -> bool:
        """True where a browser adds the credential by itself (security.md, S3)."""
        return self.kind in ("cookie", "basic", "certificate")


Fresh = tuple[Key, Future[Any]]
"""What a verdict is kept under, and the look-up of it."""


@dataclass(slots=True)
class Carried:
    """One request's view for schemes: the head, its query, its cookies, read once."""

    view: RequestView
    query: bytes | None
    cookies: list[tuple[bytes, bytes]]
    address: str | None = None
    """The client's, after the trusted hops (H5)."""
    is_local: bool = False
    """True where a browser came over http://localhost, where the login's cookie has no prefix (S5)."""
    path: bytes = b""
    """The target's path, as it came."""
    client: ClientInfo | None = None
    """Who sent it, and which origin they used (H5)."""
    fresh: Fresh | None = None
    """A credential that was looked up for this very request (R9), and what it led to."""
    is_strict: bool = False
    """True where the route wants an answer of the store's, outage or not (security.md, R8)."""

    def found(self, place: Place, value: bytes) -> Found:
        """Return the credential `value` that stands at `place`."""
        return Found(
            place,
            value,
            self.address,
            self.view.first(b"user-agent"),
            may_be_stale=not self.is_strict and place.kind != "dpop" and changes_nothing(self.view),
            fresh=self.fresh,
        )

    def proof_request(self) -> ProofRequest:
        """Return what a proof that is sent with it has to be made for."""
        assert self.client is not None  # noqa: S101 - whoever asks for proofs says who the client is
        return ProofRequest(self.view.values(b"dpop"), self.view.method, self.path, self.client)


@dataclass(frozen=True, slots=True)
class Found:
    """A credential that a request carries, not yet judged."""

    place: Place
    value: bytes
    address: str | None = None
    """Of the client that sent it: who guesses too many is slowed down (security.md, R9)."""
    agent: bytes | None = None
    """The User-Agent of the request: a session may be bound to it."""
    may_be_stale: bool = False
    """True where a cached verdict may serve in an outage, if the configuration says so (R8)."""
    is_request: bool = True
    """False where an open connection is decided again: no use of the session, and no guess."""
    fresh: Fresh | None = None
    """As in `Carried`."""
    beside: bytes = b""
    """The cookie of a factor that was proved beside an application's session; empty without one."""

    def held(self) -> Found:
        """Return the credential as an open connection holds it: nothing stale confirms it."""
        return replace(self, may_be_stale=False, is_request=False, fresh=None)

    def looked_up(self, key: Key) -> Future[Any] | None:
        """Return the look-up under `key` that was made for this very request, if one was.

        What it has found is no hit, and is not looked up again, whether it was kept or not.
        """
        return None if self.fresh is None or self.fresh[0] != key else self.fresh[1]


def changes_nothing(view: RequestView) -> bool:
    """Tell whether the request changes nothing: what does is never let through on an old verdict (R8).

    What is said in a tunnel may change anything.
    """
    return view.method in SAFE_METHODS and not view.values(b"upgrade")


class Ambiguous(Exception):
    """The request carries the credential twice with different values (S2)."""

    def __init__(self, place: Place, names: tuple[bytes, ...] = ()) -> None:
        super().__init__(place.kind)
        self.place = place
        self.names = names
        """Of a cookie: every spelling that some server reads as this one."""


Holds = Callable[[float, float, str | None], bool]
"""Takes `now` (epoch seconds), `mono` and the client's address. A use of the session is counted."""


class Scheme(Protocol):
    """One entry of `schemes:`, ready to judge credentials."""

    @property
    def name(self) -> str:
        """The configured name."""
        ...

    @property
    def places(self) -> tuple[Place, ...]:
        """Where it reads credentials, in the order in which they count."""
        ...

    @property
    def is_native(self) -> bool:
        """True for native sessions and local tokens, which by default never travel on (H6)."""
        ...

    @property
    def issuer(self) -> str | None:
        """Whose tokens a jwt scheme takes; `None` for sessions."""
        ...

    def find(self, carried: Carried) -> Found | None:
        """Return the credential that the request carries for this scheme, unjudged.

        Raises `Ambiguous` where a cookie occurs twice with different values.
        """
        ...

    def known(self, found: Found, now: float) -> Outcome | None:
        """Say whose the credential is if that is known without I/O; `None`: `judge` has to find out.

        Never raises.
        """
        ...

    async def judge(self, found: Found, now: float) -> Outcome:
        """Say whose the credential is. Raises `DependencyUnavailable`."""
        ...

    def begin(self, found: Found, now: float) -> Future[Any] | None:
        """Begin to find out what `known` did not know, without waiting; `None`: only `judge` can.

        Once the future is done `known` is asked again. Never raises.
        """
        ...

    def recall(self, found: Found) -> Identity | None:
        """Return whose the credential is, if a verdict is cached; `stand` says whether it still holds."""
        ...

    def meet(self, found: Found, now: float) -> Fresh | None:
        """Begin the same for a credential of which nothing at all is known, good or bad; else `None`.

        Never raises.
        """
        ...

    def stand(self, found: Found) -> Holds | None:
        """Return what says whether an outcome that `known` has just given still holds.

        `None`: it has to be asked for each time.
        """
        ...

    async def guessed(self, found: Found) -> Rejected | None:
        """Count a credential that `judge` called a guess, once nothing else has let it in (R9).

        Holds back who sends many, and returns the refusal of who sends too many.
        """
        ...

    def key(self, found: Found) -> Key:
        """Return what the credential's verdict is kept under."""
        ...

    def use(self, found: Found, now: float) -> bool:
        """Count a use of the credential by an open connection; False: try again later.

        Never raises.
        """
        ...
