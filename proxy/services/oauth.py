"""Tokens for clients: the grants of the token endpoint, revocation and introspection.

RFC 6749, RFC 7009, RFC 7662; security.md, S6, S7 and S8. What never belongs here: HTTP.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final, TypeGuard

from proxy.config.client_models import CLIENT_SUBJECT
from proxy.config.user_models import normal_name
from proxy.core.formats.native import cookie_digest
from proxy.core.jose import VerifiedToken
from proxy.core.oauth import (
    SESSION_GRANT,
    Client,
    OAuthRefused,
    authenticate,
    claimed_client,
    required,
    scopes_of,
)
from proxy.core.refresh import MARK, Family, Holder
from proxy.errors import ProofInvalid, ProxyError, StoreUnavailable, TokenInvalid
from proxy.model import Authenticated, Identity
from proxy.services.audit import Audit, Event
from proxy.services.family_records import LoginBegun
from proxy.services.proofs import NonceMissing, Prover, asked_proof
from proxy.services.refresh import (
    Answer,
    GrantRefused,
    RefreshFamilies,
    Reused,
    ShownKey,
    Start,
    answer_with,
)
from proxy.services.revocations import Revocations
from proxy.services.schemes.jwt import JwtScheme
from proxy.services.schemes.port import Found, Place
from proxy.services.token_factors import Factors, Person
from proxy.services.token_request import Granted, TokenRequest, TokenRules
from proxy.services.tokens import (
    CLIENT_ID,
    RESERVED_CLAIMS,
    Grounds,
    RevokedMeanwhile,
    TokenIssuer,
    sayable,
)
from proxy.services.visitors import Visitors

SESSION_TOKEN_S: Final = 300.0
"""S6: the longest life of a token that a session got."""

_TOLD: Final = ("scope", "client_id", "exp", "iat", "nbf", "sub", "aud", "iss", "jti", "cnf")
"""RFC 7662 §2.2: what introspection tells of an access token, beside what the gate adds."""
_TOLD_OF_PEOPLE: Final = ("sid", "roles", "email", "name", "auth_time", "amr")
_TOLD_TO_ITS_CLIENT: Final = frozenset({"scope", "client_id", "exp", "iat", "cnf"})
"""Of a token that its client must not read: what the client was told with it."""


class TooManyAttempts(ProxyError):
    """Somebody guesses passwords or codes (S8)."""

    code = "too_many_attempts"

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"to be tried again in {wait_s:g} s")
        self.wait_s = wait_s


class TokenService:
    """The endpoints for clients.

    Constructor: `scheme` judges the gate's own tokens; `unfit` says why the store may not be relied
    on.
    """

    def __init__(
        self,
        clients: Mapping[str, Client],
        issuer: TokenIssuer,
        families: RefreshFamilies,
        revocations: Revocations,
        scheme: JwtScheme,
        rules: TokenRules,
        *,
        visitors: Visitors | None = None,
        unfit: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._clients = clients
        self._issuer = issuer
        self._families = families
        self._revocations = revocations
        self._scheme = scheme
        self.rules = rules
        self._visitors = visitors
        self._unfit = unfit
        self.factors: Factors | None = None
        """Who checks passwords and codes; `None`: nobody does."""
        self.prover: Prover | None = None
        """Who checks proofs of keys; `None`: no token is bound to one."""
        self.audit: Audit | None = None
        """Where what happens is noted."""
        self._grants: dict[str, Callable[[TokenRequest], Awaitable[Answer]]] = {
            "refresh_token": self._refresh,
            "client_credentials": self._client_credentials,
            "password": self._password,
            SESSION_GRANT: self._from_session,
        }

    async def token(self, request: TokenRequest) -> Granted:
        """Return new tokens (RFC 6749 §5.1).

        Raises `OAuthRefused`, `TooManyAttempts`, `StoreUnavailable`, `KeysUnavailable`, and `Ambiguous`
        for a session cookie that is there twice.
        """
        self._check_store()
        grant = self._grants.get(required(request.form, "grant_type"))
        if grant is None:
            raise OAuthRefused("unsupported_grant_type", "there is no such grant")
        try:
            shown = asked_proof(
                self.prover, request.carried, request.now, wants_nonce=self.rules.wants_nonce
            )
            answer = await grant(replace(request, shown=shown))
            return Granted(answer, None if shown is None else shown.next_nonce)
        except NonceMissing as missing:
            told = "the proof needs the nonce of DPoP-Nonce"
            raise OAuthRefused(
                "use_dpop_nonce", missing.detail, told, nonce=missing.nonce
            ) from None
        except ProofInvalid as invalid:
            raise OAuthRefused("invalid_dpop_proof", invalid.detail) from None
        except Reused as reused:
            self._note(request, "refresh_reused", reused.subject, reused.detail)
            raise OAuthRefused("invalid_grant", reused.detail) from None
        except (GrantRefused, RevokedMeanwhile) as refused:
            raise OAuthRefused("invalid_grant", refused.detail) from None

    async def revoke(self, request: TokenRequest) -> None:
        """End a token of the client (RFC 7009): a refresh token with its family, an access token alone.

        What is no good token any more is ended already. Raises as `token`.
        """
        self._check_store()
        client = self._client(request)
        text, now = required(request.form, "token"), request.now
        if text.startswith(MARK):
            try:
                subject = await self._families.end(text, client.name, now)
            except GrantRefused as refused:
                raise OAuthRefused("invalid_grant", refused.detail) from None
            if subject is not None:
                self._note(request, "token_revoked", subject, "refresh family")
            return
        try:
            token = await self._scheme.verify(text.encode(), now)
        except TokenInvalid:
            return
        if token.claims.get("client_id") != client.name:
            raise OAuthRefused("invalid_grant", "the token was issued to another client")
        await self._revocations.revoke_token(
            self._issuer.issuer,
            token.jti_name,
            now,
            keep_s=self.rules.keep_s,
            expires_at=token.expires_at + 2 * self.rules.leeway_s,
        )
        self._note(request, "token_revoked", _subject(token), "access token")

    async def introspect(self, request: TokenRequest) -> Mapping[str, Any]:
        """Return what a token is worth (RFC 7662 §2.2), to clients that prove who they are.

        Of what opens nothing nothing is said, nor of another client's refresh token; and to a client
        that must not read its own tokens no more than it was told with them. Raises as `token`.
        """
        self._check_store()
        client = self._client(request)
        if client.is_public:
            raise OAuthRefused("invalid_client", f"client {client.name} does not prove itself")
        text, now = required(request.form, "token"), request.now
        if text.startswith(MARK):
            return await self._about_family(text, client, now)
        place = Found(Place("bearer"), text.encode(), is_request=False)
        outcome = self._scheme.known(place, now) or await self._scheme.judge(place, now)
        if not isinstance(outcome, Authenticated):
            return {"active": False}
        claims = outcome.identity.claims
        if not now < claims["exp"]:  # leeway is for clocks of those who verify
            return {"active": False}
        told = {name: claims[name] for name in (*_TOLD, *_TOLD_OF_PEOPLE) if name in claims}
        if claims.get("client_id") == client.name:
            told = self._for_its_client(told)
        return {"active": True, "token_type": "DPoP" if "cnf" in told else "Bearer", **told}

    def _for_its_client(self, told: Mapping[str, Any]) -> dict[str, Any]:
        if not self.rules.hides_claims:
            return dict(told)
        return {name: value for name, value in told.items() if name in _TOLD_TO_ITS_CLIENT}

    async def _about_family(self, text: str, client: Client, now: float) -> Mapping[str, Any]:
        found = await self._families.find(text, now)
        if found is None or found[1].client != client.name:
            return {"active": False}
        token, family = found
        told = {
            "scope": " ".join(family.holder.scopes),
            "client_id": family.client,
            "exp": family.expires_at,
            "iat": family.begun_at,
            "sub": family.holder.subject,
            "iss": self._issuer.issuer,
            "sid": token.family,
        }
        return {"active": True, **self._for_its_client(told)}

    def _note(self, request: TokenRequest, kind: str, subject: str | None, detail: str) -> None:
        if self.audit is not None:
            where = request.where
            event = Event(
                kind, subject, where.address, where.shown_agent, request.request_id, detail=detail
            )
            self.audit.note(event, request.now)

    def _check_store(self) -> None:
        if (reason := self._unfit()) is not None:
            raise StoreUnavailable(reason)

    def _client(self, request: TokenRequest, grant: str | None = None) -> Client:
        """Return the client, which may use `grant`. Raises `OAuthRefused`."""
        claim = claimed_client(request.authorization, request.form)
        client = authenticate(self._clients, claim)
        if grant is not None and grant not in client.grants:
            raise OAuthRefused("unauthorized_client", f"client {client.name} may not use {grant}")
        return client

    async def _use_proof(self, request: TokenRequest) -> None:
        """Use the request's proof up. Raises `ProofInvalid`: it was used before.

        Every grant does so once it knows that it may give a token, and before anything is spent: what
        somebody sends who is nobody is not kept, or they could fill the store with it.
        """
        if request.shown is not None and self.prover is not None:
            await self.prover.use(request.shown.proof)

    # The grants

    async def _refresh(self, request: TokenRequest) -> Answer:
        client = self._client(request, "refresh_token")
        answer = await self._families.use(
            required(request.form, "refresh_token"),
            client.name,
            request.now,
            narrow=scopes_of(request.form.get("scope")),
            admit=partial(self._admit, request),
            place=None if self.rules.otp == "never" else request.spot.place,
            key=ShownKey(request.jkt, partial(self._use_proof, request)),
            is_bound=client.is_public,
        )
        self._note(request, "token_refreshed", answer.subject, f"client {client.name}")
        return answer

    async def _admit(self, request: TokenRequest, family: Family) -> Family:
        """Return the family for one more use, after its owner's code where `tokens.otp` asks for one."""
        here = family.seen_at(request.spot)
        if not family.wants_code(self.rules.otp, request.spot.place, request.now):
            return here
        if self.factors is None or self.factors.codes is None:
            raise OAuthRefused("invalid_grant", "a code is needed, and nobody checks codes")
        subject = family.holder.subject
        if not await self.factors.codes.is_enrolled(subject):
            return here
        name = self.factors.name_of(subject)
        await self._check_code(request, self.factors, name, subject)
        await self.factors.attempts.clear(name, request.where.network)
        return here.proved_code(request.now)

    async def _client_credentials(self, request: TokenRequest) -> Answer:
        client = self._client(request, "client_credentials")
        if client.is_public:  # the configuration says so too
            raise OAuthRefused("unauthorized_client", "a public client has no tokens of its own")
        scopes = scopes_of(request.form.get("scope"))(client.scopes)
        holder = Holder(CLIENT_SUBJECT + client.name, roles=client.roles, scopes=scopes)
        await self._use_proof(request)
        grounds = Grounds(client.name, jkt=request.jkt)
        minted = await self._issuer.issue(holder, grounds, now=request.now)
        self._note(request, "token_issued", holder.subject, "client_credentials")
        return answer_with(minted, None, holder.subject, request.jkt)

    async def _password(self, request: TokenRequest) -> Answer:
        """RFC 6749 §4.3, for clients that the configuration trusts with passwords (S7)."""
        client = self._client(request, "password")
        if request.is_insecure:  # S5
            reason = "a password would travel in the clear"
            raise OAuthRefused("invalid_request", reason, "https is required")
        name = normal_name(required(request.form, "username"))
        password = required(request.form, "password")
        narrow = scopes_of(request.form.get("scope"))
        login, holder = await self._sign_in(request, name, password)
        scopes = narrow(holder.scopes)
        self._note(request, "token_issued", holder.subject, f"password, client {client.name}")
        if "refresh_token" in client.grants:
            return await self._families.begin(
                holder,
                client.name,
                request.now,
                since=request.now,
                scopes=scopes,
                jkt=request.jkt,
                is_bound=client.is_public,
                start=Start(request.spot, login),
            )
        said = replace(holder, scopes=scopes)
        grounds = Grounds(client.name, since=request.now, jkt=request.jkt)
        minted = await self._issuer.issue(said, grounds, now=request.now)
        return answer_with(minted, None, holder.subject, request.jkt)

    async def _sign_in(
        self, request: TokenRequest, name: str, password: str
    ) -> tuple[LoginBegun, Holder]:
        """Return whose name, password and, where they have enrolled, code these are (S7, S8)."""
        factors = self.factors
        if factors is None or factors.people is None:
            raise OAuthRefused("unsupported_grant_type", "nobody has a password here")
        with factors.people.place(request.where.network) as place:  # before it is counted
            await _take_attempt(factors, name, request)
            known = await factors.people.known(name)
            login = await self._families.records.login_of(name if known is None else known.subject)
            person = await factors.people.verify(name, password, place)
        if not _may_sign_in(person, login.subject):
            self._note(request, "login_failed", None, "password grant")
            raise OAuthRefused("invalid_grant", "name and password do not fit")
        await self._use_proof(request)
        amr: tuple[str, ...] = ("pwd",)
        if factors.codes is not None and await factors.codes.is_enrolled(person.subject):
            if not request.form.get("otp"):
                detail = "password grant: otp_required"
                self._note(request, "login_second_step", person.subject, detail)
            await self._check_code(request, factors, name, person.subject, is_second=True)
            amr = ("pwd", "otp", "mfa")
        elif factors.requires_code:
            detail = "password grant: otp_missing"
            self._note(request, "login_second_step", person.subject, detail)
            reason = "a one-time password has to be set up first"
            raise OAuthRefused("invalid_grant", reason, "otp enrolment is required")
        await factors.attempts.clear(name, request.where.network)
        return login, Holder(
            subject=person.subject,
            email=person.email,
            name=person.name,
            roles=tuple(person.roles),
            scopes=sayable(person.scopes),
            auth_time=int(request.now),
            amr=amr,
        )

    async def _check_code(
        self,
        request: TokenRequest,
        factors: Factors,
        name: str,
        subject: str,
        *,
        is_second: bool = False,
    ) -> None:
        """Return if the request has a good code; each is an attempt at the account `name` (S8)."""
        assert factors.codes is not None  # noqa: S101 - whoever calls has looked
        code = request.form.get("otp")
        if not code:
            raise OAuthRefused("invalid_grant", "no one-time password", "otp is required")
        await _take_attempt(factors, name, request, is_second=is_second)
        if not await factors.codes.check(subject, code, request.now):
            self._note(request, "otp_failed", subject, "token endpoint")
            raise OAuthRefused("invalid_grant", "the one-time password is not good")

    async def _from_session(self, request: TokenRequest) -> Answer:
        """S6: a short access token that dies with the session, and never a refresh token."""
        if self._visitors is None or self.rules.idle_s is None:
            raise OAuthRefused("unsupported_grant_type", "no session gets tokens here")
        claim = claimed_client(request.authorization, request.form)
        client = CLIENT_ID if claim is None else authenticate(self._clients, claim).name
        found = self._visitors.find(request.carried)
        outcome = await self._visitors.judge(found, request.now)
        if found is None or not isinstance(outcome, Authenticated):
            raise OAuthRefused("invalid_grant", "there is no live session")
        identity = outcome.identity
        if identity.subject.startswith(CLIENT_SUBJECT):
            raise OAuthRefused("invalid_grant", "the session's subject would be taken for a client")
        holder = _holder(identity, scopes_of(request.form.get("scope"))(sayable(identity.scopes)))
        life_s = min(SESSION_TOKEN_S, self.rules.access_s, self.rules.idle_s)
        if identity.expires_at is not None:
            life_s = min(life_s, identity.expires_at - request.now)
        if life_s < 1:
            raise OAuthRefused("invalid_grant", "the session is about to end")
        await self._use_proof(request)
        grounds = Grounds(client, session=cookie_digest(found.value), jkt=request.jkt)
        minted = await self._issuer.issue(holder, grounds, now=request.now, lifetime=life_s)
        self._note(request, "token_issued", holder.subject, "session")
        return answer_with(minted, None, holder.subject, request.jkt)


async def _take_attempt(
    factors: Factors, name: str, request: TokenRequest, *, is_second: bool = False
) -> None:
    network = request.where.network
    wait_s = await factors.attempts.take(name, network, request.now, is_second=is_second)
    if wait_s > 0:
        raise TooManyAttempts(wait_s)


def _may_sign_in(person: Person | None, expected: str) -> TypeGuard[Person]:
    """Tell whether whoever was found may have tokens, and is who the name said before (R6)."""
    return (
        person is not None
        and person.subject == expected
        and not person.is_disabled
        and not person.subject.startswith(CLIENT_SUBJECT)
    )


def _holder(identity: Identity, scopes: tuple[str, ...]) -> Holder:
    """Return what a token says of a session's owner; what only the issuer says is its own."""
    return Holder(
        subject=identity.subject,
        email=identity.email,
        name=identity.name,
        roles=identity.roles,
        scopes=scopes,
        # A session's `scopes` are all it has; what the token may do stands in `scope` alone.
        claims={
            name: value
            for name, value in identity.claims.items()
            if name != "scopes" and name not in RESERVED_CLAIMS
        },
        auth_time=None if identity.auth_time is None else int(identity.auth_time),
        amr=identity.amr,
    )


def _subject(token: VerifiedToken) -> str | None:
    subject = token.claims.get("sub")
    return subject if isinstance(subject, str) else None
