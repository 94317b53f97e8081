"""One OpenID provider as this gate uses it: its rules compiled, its metadata and keys at hand.

Each provider has the credentials of its own entry in the file, and no other's. What never belongs
here: cookies, sessions, the store.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

from proxy.adapters.boot_clock import boot_time
from proxy.adapters.keys import KeySource
from proxy.adapters.oidc import ProviderClient
from proxy.adapters.tasks import spawn
from proxy.config.provider_models import ProviderConfig
from proxy.core.jose import KeyUnknown
from proxy.core.keyset import KeySet
from proxy.core.login_state import Attempt
from proxy.core.mapping import compile_mapping
from proxy.core.oidc import (
    IdTokens,
    LogoutToken,
    Metadata,
    Person,
    Question,
    authorization_url,
    basic_credentials,
    merged,
    person_of,
    with_query,
)
from proxy.errors import (
    DependencyUnavailable,
    KeysUnavailable,
    ProviderInvalid,
    ProviderUnavailable,
    TokenInvalid,
)

METADATA_FRESH_S: Final = 3600.0
METADATA_STALE_S: Final = 86_400.0
"""How long metadata is used while the provider cannot be asked for newer."""
MAX_TOKEN_CHARS: Final = 32 * 1024
MAX_LIFE_S: Final = 366 * 86_400.0

CLOCKS_DIFFER_S: Final = 60.0
"""By how much a provider's clock may differ from ours where it says when it asked."""

_log = logging.getLogger("latchgate.oidc")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token endpoint gave (RFC 6749 §5.1), each part of a sensible shape."""

    access_token: str = field(repr=False)
    id_token: str | None = field(repr=False)
    refresh_token: str | None = field(repr=False)
    life_s: float | None
    """Seconds that the access token lives; `None` where the provider does not say."""


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Who came back from the provider, and with what."""

    person: Person
    grant: Grant
    subject: str
    """The provider's own `sub`."""
    sid: str | None
    """The provider's name of its session, where it has one."""
    issued_at: float


class OpenIdProvider:
    """One entry of `login.providers`, for one worker."""

    def __init__(
        self,
        name: str,
        config: ProviderConfig,
        keys: KeySource,
        client: ProviderClient,
        *,
        clock: Callable[[], float] = boot_time,
    ) -> None:
        self.name = name
        self.title = config.title or name
        self.issuer = config.issuer
        self.origin = "/".join(config.issuer.split("/", 3)[:3])
        """Where its pages are: scheme, host and port of the issuer."""
        self.client_id = config.client_id
        self.scopes = tuple(config.scopes)
        self._secret = config.client_secret
        self._asks_userinfo = config.userinfo
        identity = config.identity
        self._reader = compile_mapping(
            subject=identity.subject,
            email=identity.email,
            name=identity.name,
            roles=identity.roles,
            scopes=identity.scopes,
        )
        self._rules = IdTokens(
            issuer=config.issuer,
            client_id=config.client_id,
            algorithms=config.algorithms,
            leeway=config.leeway,
        )
        self._keys = keys
        self._client = client
        self._clock = clock
        self._metadata: Metadata | None = None
        self._metadata_at = 0.0
        self._fetching: asyncio.Task[None] | None = None
        self._failure: DependencyUnavailable | ProviderInvalid | None = None

    @property
    def answer_s(self) -> float:
        """The longest time that one answer of the provider may take, in seconds."""
        return self._client.timeout_s

    async def metadata(self) -> Metadata:
        """Return what the provider says about itself, at most a day old.

        Raises `ProviderUnavailable` or `ProviderInvalid`. All who ask meanwhile share one fetch.
        """
        if self._metadata is not None and self._age() < METADATA_FRESH_S:
            return self._metadata
        if self._fetching is None:
            self._fetching = spawn(self._fetch(), name="metadata of a provider")
        # Whoever waits may be cancelled; the fetch goes on for the others.
        await asyncio.wait([self._fetching])
        if self._metadata is not None and self._age() < METADATA_STALE_S:
            return self._metadata
        raise self._failure or ProviderUnavailable("the provider's metadata could not be had")

    async def authorization(self, attempt: Attempt) -> str:
        """Return where to send the browser for `attempt`; raises as `metadata` does."""
        question = Question(
            client_id=self.client_id,
            redirect_uri=attempt.redirect_uri,
            scopes=self.scopes,
            state=attempt.state,
            nonce=attempt.nonce,
            verifier=attempt.verifier,
            is_fresh=attempt.is_fresh,
        )
        return authorization_url(await self.metadata(), question)

    async def sign_in(self, attempt: Attempt, code: str, now: float) -> SignedIn:
        """Exchange a code and return who it is.

        Raises `ProviderRefused`, `ProviderInvalid`, `ProviderUnavailable`, `KeysUnavailable`.
        """
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": attempt.redirect_uri,
            "code_verifier": attempt.verifier,
        }
        grant = await self._grant(form)
        if grant.id_token is None:
            raise ProviderInvalid("the provider's answer has no id_token")
        claims = await self._claims(grant, now, nonce=attempt.nonce)
        if attempt.is_fresh:
            _check_fresh(claims, attempt, now)
        known = claims
        if self._asks_userinfo:
            told = await self._client.userinfo(await self.metadata(), grant.access_token)
            known = merged(claims, told)
        try:
            person = person_of(known, self._reader)
        except TokenInvalid as error:
            raise ProviderInvalid(error.detail) from error
        sid = claims.get("sid")
        return SignedIn(
            person,
            grant,
            str(claims["sub"]),
            sid if isinstance(sid, str) and sid else None,
            float(claims["iat"]),
        )

    async def renew(self, refresh_token: str, subject: str, now: float) -> Grant:
        """Return new tokens for a refresh token (Core §12); raises as `sign_in` does.

        An ID token that comes along has to be about the same person. One that cannot be verified
        just now is left out: the other tokens, which replace spent ones, must not be lost.
        """
        grant = await self._grant({"grant_type": "refresh_token", "refresh_token": refresh_token})
        if grant.id_token is None:
            return grant
        try:
            claims = await self._claims(grant, now, nonce=None)
        except KeysUnavailable:
            return replace(grant, id_token=None)
        if claims["sub"] != subject:
            raise ProviderInvalid("the refreshed tokens are somebody else's")
        return grant

    async def logout_token(self, token: str, now: float) -> LogoutToken:
        """Return what a logout token says; raises `TokenInvalid`, `KeysUnavailable`."""
        return await self._with_keys(lambda keys: self._rules.verify_logout(token, keys, now))

    async def logout_url(self, id_token: str, back_to: str | None) -> str | None:
        """Return where the browser ends its session at the provider; `None`: there is no such place.

        OpenID Connect RP-Initiated Logout 1.0, §2. Raises as `metadata` does.
        """
        endpoint = (await self.metadata()).end_session_endpoint
        if endpoint is None:
            return None
        parameters = {"id_token_hint": id_token, "client_id": self.client_id}
        if back_to is not None:
            parameters["post_logout_redirect_uri"] = back_to
        return with_query(endpoint, parameters)

    async def _fetch(self) -> None:
        try:
            self._metadata = await self._client.metadata(self.issuer)
            self._metadata_at = self._clock()
            self._failure = None
        except (DependencyUnavailable, ProviderInvalid) as error:
            _log.warning("provider %s: metadata: %s", self.name, error.detail)
            self._failure = error
        finally:
            self._fetching = None

    def _age(self) -> float:
        return self._clock() - self._metadata_at

    async def _grant(self, form: Mapping[str, str]) -> Grant:
        metadata = await self.metadata()
        fields, authorization = dict(form), None
        if self._secret is None:
            fields["client_id"] = self.client_id
        elif metadata.takes_basic:
            authorization = basic_credentials(self.client_id, self._secret.reveal())
        else:
            fields |= {"client_id": self.client_id, "client_secret": self._secret.reveal()}
        return _read_grant(await self._client.tokens(metadata, fields, authorization))

    async def _claims(self, grant: Grant, now: float, *, nonce: str | None) -> Mapping[str, Any]:
        token, access_token = grant.id_token or "", grant.access_token
        try:
            return await self._with_keys(
                lambda keys: self._rules.verify(
                    token, keys, now, nonce=nonce, access_token=access_token
                )
            )
        except TokenInvalid as error:
            raise ProviderInvalid(f"id_token: {error.detail}") from error

    async def _with_keys(self, verify: Callable[[KeySet], T]) -> T:
        """Verify with the keys at hand, and once more where a refetch has the key (K3)."""
        try:
            return verify(self._keys.current())
        except KeyUnknown as unknown:
            keys = await self._keys.refreshed(unknown.kid)
            if keys is None:
                raise
            return verify(keys)


def _check_fresh(claims: Mapping[str, Any], attempt: Attempt, now: float) -> None:
    """Core §3.1.3.7, 13: where `max_age` was asked for, `auth_time` says that it was heeded.

    It lies between the beginning of the login and now, give or take what clocks may differ.
    """
    told = claims.get("auth_time")
    if isinstance(told, bool) or not isinstance(told, int | float):
        raise ProviderInvalid("id_token: auth_time is missing, though max_age was asked for")
    if not told >= attempt.begun_at - CLOCKS_DIFFER_S:
        raise ProviderInvalid("id_token: auth_time is older than this login")
    if not told <= now + CLOCKS_DIFFER_S:
        raise ProviderInvalid("id_token: auth_time lies in the future")


def _read_grant(answer: Mapping[str, Any]) -> Grant:
    access_token = _token(answer, "access_token")
    kind = answer.get("token_type")
    if access_token is None:
        raise ProviderInvalid("the provider's answer has no access_token")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise ProviderInvalid("the provider's token_type is not Bearer")
    life = answer.get("expires_in")
    if isinstance(life, str) and life.isascii() and life.isdigit() and len(life) < 10:
        life = int(life)  # a text, against RFC 6749 §5.1, but seen
    is_number = isinstance(life, int | float) and not isinstance(life, bool)
    return Grant(
        access_token,
        _token(answer, "id_token"),
        _token(answer, "refresh_token"),
        min(max(0.0, float(life)), MAX_LIFE_S) if life is not None and is_number else None,
    )


def _token(answer: Mapping[str, Any], name: str) -> str | None:
    value = answer.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > MAX_TOKEN_CHARS:
        raise ProviderInvalid(f"the provider's {name} is no token")
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ProviderInvalid(f"the provider's {name} has letters that no token has")
    return value
