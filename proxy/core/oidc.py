"""OpenID Connect from the side of the relying party: what is asked, and what may be believed.

Metadata, the authorization request, the callback, the ID token (OpenID Connect Core 1.0) and the
logout token (Back-Channel Logout 1.0). What never belongs here: I/O, the clock, cookies, the store.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256, sha384, sha512
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from proxy.core.compact import encode_segment
from proxy.core.freshness import FEDERATED
from proxy.core.jose import LOGOUT_EVENT, TokenVerifier, VerifiedToken
from proxy.core.keyset import KeySet
from proxy.core.mapping import IdentityReader
from proxy.core.strict_json import loads_object
from proxy.errors import ProviderInvalid, TokenInvalid

MAX_METADATA_BYTES: Final = 1024 * 1024
MAX_ANSWER_BYTES: Final = 256 * 1024
"""Of the token endpoint and of UserInfo: three tokens of 32 KiB and what stands around them."""
MAX_URL_CHARS: Final = 2048
MAX_QUERY_BYTES: Final = 8 * 1024
"""Of a callback; the request line has no more either."""
MAX_CODE_CHARS: Final = 4096
"""Some providers put a whole encrypted token into the code."""
MAX_SUBJECT_CHARS: Final = 255
"""Core §2: `sub` must not exceed 255 ASCII characters."""
MAX_SID_CHARS: Final = 255
MAX_LOGOUT_LIFE_S: Final = 86_400.0
"""Of a logout token; its `jti` is remembered for that long."""

_CALLBACK_LIMITS: Final = {"state": 128, "code": MAX_CODE_CHARS, "error": 256, "iss": MAX_URL_CHARS}
_HASHES: Final = {"256": sha256, "384": sha384, "512": sha512}
_OF_THE_PROTOCOL: Final = frozenset(
    {"iss", "aud", "exp", "iat", "nbf", "nonce", "at_hash", "c_hash", "s_hash", "azp", "jti", "sid"}
)
"""Claims about the token and not about the person: no session keeps them."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a provider says about itself (OpenID Connect Discovery §3)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    userinfo_endpoint: str | None = None
    end_session_endpoint: str | None = None
    announces_iss: bool = False
    """True: every authorization response has `iss` (RFC 9207 §3), and one without it is refused."""
    takes_basic: bool = True
    """True: the client's secret goes into Authorization; False: into the form."""


@dataclass(frozen=True, slots=True)
class Callback:
    """An authorization response that can be read in one way only."""

    state: str
    code: str | None = field(repr=False)
    """`None`: the provider refused, and `error` says why."""
    error: str | None
    iss: str | None


@dataclass(frozen=True, slots=True)
class Person:
    """Who the provider says it is."""

    subject: str
    email: str | None
    name: str | None
    roles: tuple[str, ...]
    scopes: tuple[str, ...]
    claims: Mapping[str, Any]
    """What the session keeps: without the claims about the token itself."""
    amr: tuple[str, ...]
    auth_time: float | None
    """Epoch seconds of the last real factor, where the provider tells."""


@dataclass(frozen=True, slots=True)
class LogoutToken:
    """Whose sessions a provider wants ended (Back-Channel Logout §2.4)."""

    subject: str | None
    sid: str | None
    jti: str
    issued_at: float
    expires_at: float
    """Epoch seconds from which on the token is refused anyway: its `jti` may be forgotten."""


class CallbackInvalid(ValueError):
    """An authorization response that cannot be one; the text quotes nothing of it."""


def read_metadata(raw: bytes, issuer: str) -> Metadata:
    """Return what a discovery document says, if it is `issuer`'s own (K3).

    Raises `ProviderInvalid`.
    """
    try:
        members = loads_object(raw, max_bytes=MAX_METADATA_BYTES)
    except ValueError:
        raise ProviderInvalid("the discovery document is not a JSON object") from None
    if members.get("issuer") != issuer:
        raise ProviderInvalid("the discovery document is another issuer's")
    _check_support(members, "response_types_supported", "code")
    _check_support(members, "code_challenge_methods_supported", "S256")
    methods = members.get("token_endpoint_auth_methods_supported")
    return Metadata(
        issuer=issuer,
        authorization_endpoint=_endpoint(members, "authorization_endpoint", issuer),
        token_endpoint=_endpoint(members, "token_endpoint", issuer),
        userinfo_endpoint=_optional_endpoint(members, "userinfo_endpoint", issuer),
        end_session_endpoint=_optional_endpoint(members, "end_session_endpoint", issuer),
        announces_iss=members.get("authorization_response_iss_parameter_supported") is True,
        takes_basic=not isinstance(methods, list) or "client_secret_basic" in methods,
    )


def challenge(verifier: str) -> str:
    """Return the S256 challenge of a PKCE verifier (RFC 7636 §4.2)."""
    return encode_segment(sha256(verifier.encode()).digest()).decode()


@dataclass(frozen=True, slots=True)
class Question:
    """One authorization request: what is asked, and what its answer has to fit."""

    client_id: str
    redirect_uri: str
    scopes: Sequence[str]
    state: str
    nonce: str
    verifier: str = field(repr=False)
    is_fresh: bool = False
    """True: the person proves again who they are (`max_age=0`, which also makes the provider
    tell `auth_time`)."""


def authorization_url(metadata: Metadata, question: Question) -> str:
    """Return where the browser is sent to log in (Core §3.1.2.1, RFC 7636 §4.3)."""
    parameters = {
        "response_type": "code",
        "client_id": question.client_id,
        "redirect_uri": question.redirect_uri,
        "scope": " ".join(question.scopes),
        "state": question.state,
        "nonce": question.nonce,
        "code_challenge": challenge(question.verifier),
        "code_challenge_method": "S256",
    }
    if question.is_fresh:
        parameters["max_age"] = "0"
    return with_query(metadata.authorization_endpoint, parameters)


def with_query(url: str, parameters: Mapping[str, str]) -> str:
    """Return `url` with `parameters` behind the query that it may have (RFC 6749 §3.1)."""
    return f"{url}{'&' if '?' in url else '?'}{urlencode(parameters)}"


def read_callback(query: bytes | None) -> Callback:
    """Return the authorization response in a query (RFC 6749 §4.1.2).

    Raises `CallbackInvalid`: a parameter that is missing, empty, too long or there twice, both a
    code and an error, bytes that are no text.
    """
    raw = query or b""
    if len(raw) > MAX_QUERY_BYTES:
        raise CallbackInvalid("the query is too long")
    try:
        pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, errors="strict",
                          max_num_fields=32)  # fmt: skip
    except ValueError:
        raise CallbackInvalid("the query is no form") from None
    found: dict[str, str] = {}
    for name, value in pairs:
        limit = _CALLBACK_LIMITS.get(name)
        if limit is None:  # RFC 6749 §4.1.2: unrecognized parameters are ignored
            continue
        if name in found:
            raise CallbackInvalid(f"{name} is there twice")
        if not value or len(value) > limit or not value.isprintable():
            raise CallbackInvalid(f"{name} is empty, too long or no text")
        found[name] = value
    state, code, error = found.get("state"), found.get("code"), found.get("error")
    if state is None:
        raise CallbackInvalid("state is missing")
    if (code is None) is (error is None):
        raise CallbackInvalid("there must be a code or an error, and not both")
    return Callback(state, code, error, found.get("iss"))


def check_callback_issuer(callback: Callback, metadata: Metadata) -> None:
    """Raise `ProviderInvalid` for an answer of another provider (RFC 9207 §2.4)."""
    if callback.iss is None:
        if metadata.announces_iss:
            raise ProviderInvalid("the callback has no iss, which the provider announces")
        return
    if callback.iss != metadata.issuer:
        raise ProviderInvalid("the callback is another issuer's")


class IdTokens:
    """The rules for one provider's ID tokens and logout tokens.

    `leeway` is seconds. Raises `ValueError` for algorithms that contradict each other.
    """

    def __init__(
        self, *, issuer: str, client_id: str, algorithms: Sequence[str], leeway: float
    ) -> None:
        self.issuer = issuer
        self._client_id = client_id
        self._leeway = leeway
        audiences = frozenset({client_id})
        self._id = TokenVerifier(
            issuer=issuer, audiences=audiences, algorithms=algorithms, leeway=leeway, kind="id"
        )
        self._logout = TokenVerifier(
            issuer=issuer,
            audiences=audiences,
            algorithms=algorithms,
            leeway=leeway,
            max_lifetime=MAX_LOGOUT_LIFE_S,
            kind="logout",
        )

    def verify(
        self,
        token: str,
        keys: KeySet,
        now: float,
        *,
        nonce: str | None,
        access_token: str | None,
    ) -> Mapping[str, Any]:
        """Return the claims of an ID token (Core §3.1.3.7, and §3.1.3.8 where there is `at_hash`).

        `nonce` None: of a refresh, whose ID token need not have one (Core §12.2). Raises
        `TokenInvalid`, `KeyUnknown` among them.
        """
        verified = self._id.verify(_bytes(token), keys, now)
        claims = verified.claims
        self._check_authorized_party(claims)
        if nonce is not None and not _is_same(claims.get("nonce"), nonce):
            raise TokenInvalid("nonce is not that of this login")
        if not is_subject(claims.get("sub")):
            raise TokenInvalid("sub names nobody")
        if access_token is not None and "at_hash" in claims:
            expected = access_token_hash(access_token, verified.algorithm)
            if not _is_same(claims["at_hash"], expected):
                raise TokenInvalid("at_hash is not that of the access token")
        return claims

    def verify_logout(self, token: str, keys: KeySet, now: float) -> LogoutToken:
        """Return what a logout token says (Back-Channel Logout §2.6); raises `TokenInvalid`."""
        verified = self._logout.verify(_bytes(token), keys, now)
        claims = verified.claims
        if not isinstance(claims["events"][LOGOUT_EVENT], dict):
            raise TokenInvalid("the logout event is not an object")
        if "nonce" in claims:
            raise TokenInvalid("a logout token has no nonce")
        jti = claims.get("jti")
        if not isinstance(jti, str) or not 0 < len(jti) <= MAX_SID_CHARS:
            raise TokenInvalid("jti is missing or no name")
        subject, sid = claims.get("sub"), claims.get("sid")
        if subject is None and sid is None:
            raise TokenInvalid("neither sub nor sid says whose sessions end")
        if subject is not None and not is_subject(subject):
            raise TokenInvalid("sub names nobody")
        if sid is not None and not is_sid(sid):
            raise TokenInvalid("sid is no name")
        return LogoutToken(subject, sid, jti, float(_issued_at(verified)), verified.expires_at)

    def _check_authorized_party(self, claims: Mapping[str, Any]) -> None:
        """Core §3.1.3.7, 3 to 5: other audiences are not trusted, and azp is this client."""
        audience = claims.get("aud")
        if (
            isinstance(audience, list)
            and set(audience) != {self._client_id}
            and "azp" not in claims
        ):
            raise TokenInvalid("aud names others too, and azp nobody")
        if "azp" in claims and claims["azp"] != self._client_id:
            raise TokenInvalid("azp is another client")


def access_token_hash(access_token: str, algorithm: str) -> str:
    """Return `at_hash`: the left half of the token's hash (Core §3.1.3.6).

    EdDSA with Ed25519 hashes with SHA-512, as its signatures do.
    """
    digest = _HASHES.get(algorithm[2:], sha512)(access_token.encode("utf-8", "surrogatepass"))
    raw = digest.digest()
    return encode_segment(raw[: len(raw) // 2]).decode()


def is_subject(value: object) -> bool:
    """Tell whether a value may be a person's identifier at a provider."""
    return isinstance(value, str) and len(value.strip()) > 0 and len(value) <= MAX_SUBJECT_CHARS


def is_sid(value: object) -> bool:
    """Tell whether a value may be a provider's name of a session."""
    return isinstance(value, str) and 0 < len(value) <= MAX_SID_CHARS


def merged(id_claims: Mapping[str, Any], userinfo: Mapping[str, Any]) -> dict[str, Any]:
    """Return the claims of both, the ID token's first; raises `ProviderInvalid`.

    Core §5.3.2: an answer whose `sub` is another is not used, since it may be somebody else's.
    `email_verified` stays with the address that it is about.
    """
    if not _is_same(userinfo.get("sub"), str(id_claims["sub"])):
        raise ProviderInvalid("UserInfo is about somebody else")
    both = {**userinfo, **id_claims}
    about = id_claims if "email" in id_claims else userinfo
    both.pop("email_verified", None)
    if "email_verified" in about:
        both["email_verified"] = about["email_verified"]
    return both


def person_of(claims: Mapping[str, Any], reader: IdentityReader) -> Person:
    """Return who it is by the provider's `identity:` mapping; raises `TokenInvalid` for nobody.

    An e-mail address counts with `email_verified` only (K6), which speaks of the claim `email` and
    of no other: an address that is not verified is not there, not even for the rules of a route.
    """
    known = dict(claims)
    verified = known.get("email") if _is_true(known.get("email_verified")) else None
    if verified is None:
        known.pop("email", None)
    address = reader.email(known)
    subject = reader.subject(known)
    if subject is None or not subject.strip():
        raise TokenInvalid("the mapped subject names nobody")
    kept = {name: value for name, value in known.items() if name not in _OF_THE_PROTOCOL}
    return Person(
        subject=subject,
        email=address if address == verified else None,
        name=reader.name(known),
        roles=reader.roles(known),
        scopes=reader.scopes(known),
        claims=kept,
        amr=_amr(known.get("amr")) or (FEDERATED,),
        auth_time=_auth_time(known.get("auth_time")),
    )


def basic_credentials(client_id: str, secret: str) -> str:
    """Return the value of Authorization for a client: both are form-encoded (RFC 6749 §2.3.1)."""
    pair = "&".join(urlencode({"": part})[1:] for part in (client_id, secret))
    name, _, password = pair.partition("&")
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def is_secure_url(url: object, issuer: str) -> bool:
    """Tell whether an endpoint may be used: https, or http beside a provider on this machine."""
    if not isinstance(url, str) or len(url) > MAX_URL_CHARS or not url.isprintable():
        return False
    try:
        parts, home = urlsplit(url), urlsplit(issuer)
    except ValueError:
        return False
    if not parts.hostname or parts.username is not None or parts.fragment or not url.isascii():
        return False
    return parts.scheme == "https" or (
        parts.scheme == "http" and home.scheme == "http" and parts.hostname == home.hostname
    )


def _endpoint(members: Mapping[str, Any], name: str, issuer: str) -> str:
    url = members.get(name)
    if not isinstance(url, str) or not is_secure_url(url, issuer):
        raise ProviderInvalid(f"{name} is missing or not an https URL")
    return url


def _optional_endpoint(members: Mapping[str, Any], name: str, issuer: str) -> str | None:
    return None if members.get(name) is None else _endpoint(members, name, issuer)


def _check_support(members: Mapping[str, Any], name: str, word: str) -> None:
    offered = members.get(name)
    if isinstance(offered, list) and word not in offered:
        raise ProviderInvalid(f"the provider does not offer {word} ({name})")


def _bytes(token: str) -> bytes:
    return token.encode("utf-8", "surrogatepass")


def _is_true(said: object) -> bool:
    """Tell whether a flag is set; some providers write it as a text."""
    return said is True or said == "true"


def _is_same(said: object, known: str) -> bool:
    return isinstance(said, str) and hmac.compare_digest(
        said.encode("utf-8", "surrogatepass"), known.encode("utf-8", "surrogatepass")
    )


def _issued_at(verified: VerifiedToken) -> int:
    if verified.issued_at is None:  # the verifier requires it
        raise TokenInvalid("iat is missing")
    return verified.issued_at


def _amr(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > 16:
        return ()
    return tuple(item for item in value if isinstance(item, str) and 0 < len(item) <= 64)


def _auth_time(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        return None
    return float(value)
