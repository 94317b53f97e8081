"""The gate: from a request head to one `Decision`.

Nobody after the gate asks who the user is. A request looks nothing up by name: everything that
the configuration decides was compiled into the `Route`s that the router returns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from proxy.core.cors import is_preflight
from proxy.core.formats.native import cookie_digest
from proxy.core.forwarding import ForwardingPolicy, is_loop
from proxy.core.headers import HeaderRules
from proxy.core.hosts import parse_host
from proxy.core.identity import MAX_BLOCK_BYTES, PROVIDER_TOKEN, IdentityRefused
from proxy.core.navigation import Navigation, navigation
from proxy.core.own_cookies import is_plain_local
from proxy.core.paths import BadTarget, parse_target
from proxy.core.routing import Ambiguous as AmbiguousPath
from proxy.core.routing import Found as FoundRoute
from proxy.core.routing import MethodNotAllowed, Router
from proxy.errors import DependencyUnavailable
from proxy.model import ClientInfo, Header, Identity, Refusal, RequestView
from proxy.services.asked import (
    Asked,
    Page,
    Payload,
    Reserved,
    added,
    carried_by,
    check_authority,
    forged_by,
    join,
    read_host,
    said_twice,
    send_to,
    texts,
)
from proxy.services.authenticate import (
    Held,
    Opened,
    Unknown,
    authenticate,
    authenticate_again,
    authenticate_now,
)
from proxy.services.challenges import challenges, with_challenge
from proxy.services.decision import Answer, Decision, Forward, Own, Refuse
from proxy.services.own import OwnEndpoint
from proxy.services.request_ids import request_ids
from proxy.services.route import Route
from proxy.services.schemes.port import Ambiguous as AmbiguousCredential
from proxy.services.schemes.port import Fresh, changes_nothing
from proxy.services.sign_in import CODES as SIGN_IN_CODES
from proxy.services.sign_in import SignIn
from proxy.services.trace import Trace

_NO_STORE: Final = ((b"Cache-Control", b"no-store"),)
"""Of what tells one client something: a stored nonce would be old when it is read (RFC 9449 §8.2)."""
_NOT_THE_SCHEMES: Final = frozenset({"too_many_attempts"})
"""What is found while credentials are looked at, and is no word of a scheme: a limit is a limit (S14)."""


class Gate:
    """Decides requests under one compiled configuration."""

    def __init__(
        self,
        *,
        router: Router[Payload],
        rules: HeaderRules,
        forwarding: ForwardingPolicy,
        gate_id: str,
        sign_in: SignIn | None = None,
    ) -> None:
        self._router = router
        self.rules = rules
        self.routes = tuple(
            leaf_rule.payload
            for table in router.tables.values()
            for leaf in table.leaves.values()
            for leaf_rule in leaf.rules()
            if isinstance(leaf_rule.payload, Route)
        )
        """Every compiled route."""
        self._sign_in = sign_in
        self._rules = rules
        self._forwarding = forwarding
        self._gate_id = gate_id

    async def decide(
        self,
        view: RequestView,
        now: float,
        trace: Trace | None = None,
        *,
        fresh: Fresh | None = None,
        client: ClientInfo | None = None,
    ) -> Decision:
        """Return what becomes of the request; `now` is epoch seconds. Never raises a ProxyError.

        `trace` is filled with how it came to that; the decision is the same with and without one.
        `fresh`: the credential that was looked up for this very request (R9). `client`: who sent it,
        where a proxy that describes it has said so; else that is read from the request itself.
        """
        if client is None:
            client = self._forwarding.read(view)
        request_id = self._forwarding.request_id(view, client) or new_request_id()
        asked = self._read(view, client, request_id, trace)
        if not isinstance(asked, Asked):
            return asked
        if asked.is_preflight:
            return self._preflight(asked)
        return await self._open(asked, now, fresh)

    # hot: every request of the express lane whose header block is new
    def decide_now(
        self, view: RequestView, now: float, fresh: Fresh | None = None
    ) -> Decision | Unknown | None:
        """Return what `decide` would, where that takes no I/O; `None`: only `decide` can say."""
        client = self._forwarding.read(view)
        request_id = self._forwarding.request_id(view, client) or new_request_id()
        asked = self._read(view, client, request_id, None)
        if not isinstance(asked, Asked):
            return asked
        if asked.route.limiter is not None:
            return None  # no lane where requests are counted
        if asked.is_preflight:
            return self._preflight(asked)
        route = asked.route
        if route.reports(now):
            return None  # no lane for what may have to be reported (S14)
        if not route.schemes:
            return self._let_pass(asked, now)
        if route.provider_token is not None:
            return None
        try:
            opened = authenticate_now(route, carried_by(asked, fresh), now)
        except AmbiguousCredential as twice:
            return self._refuse(asked, said_twice(twice, asked))
        if opened is None or isinstance(opened, Unknown):
            return opened
        if isinstance(opened, Refusal):
            return self._refuse_authentication(asked, opened)
        if (unmet := self._unmet(asked, opened, now)) is not None:
            return self._refuse_identity(asked, unmet, opened.outcome.identity)
        return self._forward(asked, opened, now)

    def route_of(self, host: bytes, target: bytes, method: str) -> tuple[Route, bytes] | None:
        """Return the route of a request and the path to send; `None` for whatever has none.

        Host, path and method alone say so (P6). `host` is a Host that `decide` has accepted.
        """
        try:
            parsed = parse_target(target, method)
            name = parse_host(host).name
        except BadTarget:
            return None
        if parsed.form != "origin":
            return None
        found = self._router.match(name, parsed.path, method)
        if not isinstance(found, FoundRoute) or not isinstance(found.payload, Route):
            return None
        return found.payload, join(found.path, parsed.query)

    def route_again(self, host: str | None, path: bytes, method: str) -> Route | None:
        """Return the route of a request that another configuration let in (`Forward.asked`)."""
        found = self._router.match(host, path, method)
        if not isinstance(found, FoundRoute) or not isinstance(found.payload, Route):
            return None
        return found.payload

    # What is asked?

    def _read(
        self, view: RequestView, client: ClientInfo, request_id: str, trace: Trace | None
    ) -> Asked | Decision:
        def deny(code: str, detail: str = "", headers: tuple[Header, ...] = ()) -> Refuse:
            return Refuse("deny", Refusal(code, detail, headers), client, request_id)

        refusal = self._rules.check(view.headers)
        if refusal is not None:
            return Refuse("deny", refusal, client, request_id)
        if is_loop(view, self._gate_id):
            return deny("loop", "Via names this gate")
        if view.method in ("CONNECT", "TRACE"):
            return deny("method_not_allowed", f"{view.method} is never allowed", ((b"Allow", b""),))
        try:
            host = read_host(view)
            target = parse_target(view.target, view.method)
            check_authority(target, host)
        except BadTarget as bad:
            return deny(bad.code, bad.detail)
        if target.form == "asterisk":
            return Answer(204, client, request_id)
        name = host.name if host else None
        wanted = is_preflight(view)
        if trace is not None:
            trace.asked(name, target.path, view.method)
        if wanted is not None:
            found = self._router.match(name, target.path, wanted)
            payload = found.payload if isinstance(found, FoundRoute) else None
            if isinstance(payload, Route) and (payload.cors or payload.is_cors_upstream):
                assert isinstance(found, FoundRoute)  # noqa: S101 - where the payload came from
                if trace is not None:
                    trace.asked(name, target.path, wanted)
                    trace.chose(payload, is_preflight=True)
                return Asked(
                    view,
                    client,
                    request_id,
                    target,
                    payload,
                    found.path,
                    is_preflight=True,
                    trace=trace,
                )
        match self._router.match(name, target.path, view.method):
            case FoundRoute(payload=Reserved(endpoint=OwnEndpoint() as endpoint) as reserved):
                if reserved.cross_site is not None:
                    refusal = reserved.cross_site.check(view, client)
                    if refusal is not None:
                        return Refuse("deny", refusal, client, request_id)
                return Own(endpoint, client, request_id, target, texts(target.path))
            case FoundRoute(payload=Reserved(page=page)):
                return self._own_page(page, view, client, request_id)
            case FoundRoute(payload=Route() as route, path=path):
                if trace is not None:
                    trace.chose(route, is_preflight=False)
                return Asked(
                    view,
                    client,
                    request_id,
                    target,
                    route,
                    path,
                    is_preflight=False,
                    trace=trace,
                    host=name,
                )
            case MethodNotAllowed(allow=allow):
                header = (b"Allow", ", ".join(allow).encode())
                return deny("method_not_allowed", f"{view.method} matches no route", (header,))
            case AmbiguousPath(detail=detail):
                return deny("path_ambiguous", detail)
            case _:
                return deny("route_not_found", "no route matches host and path")

    @staticmethod
    def _own_page(
        page: Page | None, view: RequestView, client: ClientInfo, request_id: str
    ) -> Decision:
        if page is None:
            refusal = Refusal("route_not_found", "reserved for the gate")
            return Refuse("deny", refusal, client, request_id)
        if view.method not in ("GET", "HEAD"):
            refusal = Refusal("method_not_allowed", "", ((b"Allow", b"GET, HEAD"),))
            return Refuse("deny", refusal, client, request_id)
        headers = ((b"Content-Type", page.content_type), (b"Cache-Control", page.cache_control))
        return Answer(200, client, request_id, headers, page.render())

    # May it pass?

    def _preflight(self, asked: Asked) -> Decision:
        """Answer or pass on a CORS preflight, which comes before authentication (Fetch §3.2).

        Nobody has said who they are, so that not even `pass_headers` lets a method override by: with
        one the application would take the preflight for a request that had passed the gate. No
        browser sends such a header with a preflight.
        """
        route = asked.route
        if route.cors is not None:
            headers = route.cors.preflight(asked.view)
            return Answer(204, asked.client, asked.request_id, headers, route=route)
        kept = self._rules.strip(asked.view.headers, is_trusted=asked.client.is_trusted_peer)
        if asked.trace is not None:
            asked.trace.cleaned = kept
        cleaned = [h for h in kept if h[0].lower() not in (b"cookie", b"authorization", b"dpop")]
        cleaned = route.credentials.clean_headers(
            cleaned, None, is_local=is_plain_local(asked.client)
        )
        query = route.credentials.clean_query(asked.target.query, None)
        return Forward(
            route=route,
            client=asked.client,
            request_id=asked.request_id,
            identity=None,
            identity_headers=(),
            headers=cleaned,
            target=join(asked.path, query),
        )

    def _let_pass(self, asked: Asked, now: float) -> Decision:
        """Forward a request on a public route."""
        if (forged := forged_by(asked, is_ambient=False)) is not None:
            if not asked.route.reports(now):
                return self._refuse(asked, forged)
            asked = replace(asked, reported=forged)
        return self._forward(asked, None, now)

    async def _open(self, asked: Asked, now: float, fresh: Fresh | None) -> Decision:
        route = asked.route
        if not route.schemes:
            return self._let_pass(asked, now)
        try:
            opened = await authenticate(route, carried_by(asked, fresh), now, asked.trace)
        except AmbiguousCredential as twice:
            return self._refuse(asked, said_twice(twice, asked))
        except DependencyUnavailable as down:
            outage = Refusal(down.code, down.detail, scheme=down.scheme)
            return self._refuse(asked, outage, kind="unavailable")
        if isinstance(opened, Refusal):
            if not route.reports(now) or opened.code in _NOT_THE_SCHEMES:
                return self._refuse_authentication(asked, opened)
            return self._forward(replace(asked, reported=opened), None, now)
        if asked.trace is not None:
            asked.trace.opened(opened.scheme, opened.found)
        if opened.headers:
            asked = replace(asked, told=opened.headers)
        if (unmet := self._unmet(asked, opened, now)) is not None:
            if not route.reports(now):
                return self._refuse_identity(asked, unmet, opened.outcome.identity)
            asked = replace(asked, reported=unmet)
        identity = opened.outcome.identity
        if route.provider_token is None:
            return self._forward(asked, opened, now)
        try:
            told = await _provider_token(route, opened)
        except DependencyUnavailable as down:
            outage = Refusal(down.code, down.detail)
            return self._refuse(asked, outage, identity, kind="unavailable")
        except IdentityRefused as refused:
            return self._refuse(asked, Refusal(refused.code, refused.detail), identity)
        return self._forward(asked, opened, now, told)

    @staticmethod
    def _unmet(asked: Asked, opened: Opened, now: float) -> Refusal | None:
        """Return why somebody who is known may not pass after all."""
        route, identity = asked.route, opened.outcome.identity
        if (forged := forged_by(asked, is_ambient=opened.outcome.is_ambient)) is not None:
            return forged
        if not route.is_demanding:
            return None
        refusal = route.unmet(identity, now)
        if asked.trace is not None:
            asked.trace.require = refusal or "passed"
        return refusal

    def _refuse(
        self,
        asked: Asked,
        refusal: Refusal,
        identity: Identity | None = None,
        *,
        kind: str = "deny",
    ) -> Refuse:
        return Refuse(
            "unavailable" if kind == "unavailable" else "deny",
            refusal,
            asked.client,
            asked.request_id,
            asked.route,
            added(asked),
            identity,
        )

    def _refuse_identity(self, asked: Asked, refusal: Refusal, identity: Identity) -> Decision:
        """Refuse somebody who is known; a page load that wants a newer factor is sent to give it."""
        refused = self._refuse(asked, with_challenge(refusal, asked.route), identity)
        if refusal.code != "step_up_required":
            return refused
        return self._sent_to_step_up(asked, identity.scheme) or refused

    def _sent_to_step_up(self, asked: Asked, scheme: str | None) -> Decision | None:
        """Return the way to the page that asks for a factor: of page loads with a session."""
        way = self._sign_in
        if way is None or scheme is None or navigation(asked.view) is not Navigation.LOAD:
            return None
        location = way.step_up(asked.route, scheme, asked.host, asked.raw_target)
        return None if location is None else send_to(location, asked)

    def _refuse_authentication(self, asked: Asked, refusal: Refusal) -> Decision:
        """Refuse with the route's challenges (401); one of `both` (403) and a 429 go without.

        A page load is sent to where people sign in, if the route has such a place.
        """
        if refusal.code in ("credentials_differ", "too_many_attempts"):
            return self._refuse(asked, refusal)
        if refusal.code == "step_up_required":  # the session is used elsewhere than it is bound to
            sent = self._sent_to_step_up(asked, refusal.scheme)
            return sent or self._refuse(asked, with_challenge(refusal, asked.route))
        sign_in = None
        if self._sign_in is not None and refusal.code in SIGN_IN_CODES:
            kind = navigation(asked.view)
            if kind is Navigation.LOAD:
                location = self._sign_in.location(asked.route, asked.host, asked.raw_target)
                if location is not None:
                    return send_to(location, asked)
            elif kind is Navigation.FORM:
                sign_in = self._sign_in.link(asked.route, asked.host)
        told = challenges(asked.route, refusal.code, sent=asked.view.first(b"authorization"))
        headers = told + refusal.headers
        return Refuse(
            "challenge",
            Refusal(refusal.code, refusal.detail, headers, refusal.scheme),
            asked.client,
            asked.request_id,
            asked.route,
            added(asked),
            sign_in=sign_in,
        )

    def _forward(
        self, asked: Asked, opened: Opened | None, now: float, told: tuple[Header, ...] = ()
    ) -> Decision:
        """Forward the request with what is to be told of the caller; `told` comes on top of it."""
        route, view = asked.route, asked.view
        identity = opened.outcome.identity if opened else None
        try:
            headers = route.identity.render(identity) if identity else ()
            if identity and route.assertions:
                headers = (*headers, *route.assertions(identity, now))
        except IdentityRefused as refused:
            return self._refuse(asked, Refusal(refused.code, refused.detail), identity)
        except DependencyUnavailable as down:
            return self._refuse(asked, Refusal(down.code, down.detail), kind="unavailable")
        plan = route.credentials
        if opened is None and asked.reported is not None and route.unopened is not None:
            plan = route.unopened
        kept = plan.kept(opened.found, opened.scheme) if opened else None
        cleaned = self._rules.strip(
            view.headers, is_trusted=asked.client.is_trusted_peer, passed=route.passed_headers
        )
        if asked.trace is not None:
            asked.trace.kept, asked.trace.cleaned = kept, cleaned
        return Forward(
            route=route,
            client=asked.client,
            request_id=asked.request_id,
            identity=identity,
            identity_headers=(*headers, *told),
            headers=plan.clean_headers(cleaned, kept, is_local=is_plain_local(asked.client)),
            target=join(asked.path, plan.clean_query(asked.target.query, kept)),
            response_headers=added(asked) + (_NO_STORE if asked.told else ()),
            hash_key=route.hash_key(view, asked.client, identity) if route.hash_key else None,
            held=opened.held if opened else (),
            is_repeatable=not route.reports(now) and (opened is None or opened.is_alone),
            reported=asked.reported,
            may_be_stale=changes_nothing(view)
            and route.may_be_stale
            and (identity is None or identity.jkt is None),
            asked=(asked.host, asked.target.path, view.method),
        )


async def _provider_token(route: Route, opened: Opened) -> tuple[Header, ...]:
    """Return the header with the provider's access token; none where the session has none.

    A token that is over and cannot be renewed just now is an outage, not a caller without one.
    """
    if route.provider_token is None or opened.scheme.name != route.provider_scheme:
        return ()
    token = await route.provider_token(cookie_digest(opened.found.value))
    if token is None:
        return ()
    if len(token) > MAX_BLOCK_BYTES:
        raise IdentityRefused("identity_too_large", "the provider's access token")
    return ((PROVIDER_TOKEN.encode(), token.encode("ascii")),)


async def decide_again(
    route: Route, held: Sequence[Held], told: Identity, now: float
) -> Identity | Refusal:
    """Return who keeps a connection open that `held` opened, or why it may not stay open (R7).

    What belongs to the request alone (its path, its origin) has not changed and is not asked again.
    Raises `DependencyUnavailable`.
    """
    identity = await authenticate_again(route, held, told, now)
    if isinstance(identity, Refusal):
        return identity
    return route.unmet(identity, now) or identity


def new_request_id() -> str:
    """Return a fresh id of 128 random bits, as 32 hexadecimal digits."""
    return request_ids().decode("ascii")
