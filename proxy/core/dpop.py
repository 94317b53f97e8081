"""DPoP: the proof that whoever sends a token holds the key that it is bound to (RFC 9449).

Pure: what one proof says, and whether it fits a request. Whether it was seen before is asked in
services.proofs. What never belongs here: I/O, the clock, whose the token is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from hmac import compare_digest
from typing import Any, Final

from proxy.core.compact import decode_segment, encode_segment
from proxy.core.hosts import parse_host
from proxy.core.keyset import ASYMMETRIC, Key, canonical_algorithm, public_key
from proxy.core.origins import Origin, is_own, origin_of, parse_origin
from proxy.core.paths import BadTarget
from proxy.core.strict_json import loads_object
from proxy.errors import ProofInvalid, TokenInvalid
from proxy.model import ClientInfo

PROOF_TYP: Final = "dpop+jwt"
ALGORITHMS: Final = tuple(sorted(ASYMMETRIC))
"""What a proof may be signed with (RFC 9449 §4.3, 5)."""
MAX_PROOF_BYTES: Final = 16 * 1024
"""Key, signature and a long URL; less than the head of a request may take."""
MAX_MODULUS_CHARS: Final = 8192 // 6 + 1
MAX_EXPONENT_CHARS: Final = 6
"""Of an RSA key, in base64url: 8,192 and 32 bits. A client writes its key itself, and OpenSSL takes
exponents with which one check costs 7 ms; no other algorithm here takes more than half of one."""
MAX_AGE_S: Final = 60.0
"""RFC 9449 §11.1: a proof is made for one request, and good for about as long as that takes."""
MAX_AHEAD_S: Final = 30.0
"""How far a client's clock may be ahead of ours."""
MAX_JTI_CHARS: Final = 512

_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
"""RFC 7518 §6, RFC 8037 §2: members of private and secret keys."""
_THUMBPRINT: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://[^/?#]+)([^?#]*)")
_ESCAPE: Final = re.compile(rb"%([0-9A-Fa-f]{2})?")
_ODD: Final = re.compile(rb"[^\x21-\x7e]")
_UNRESERVED: Final = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
)
_KNOWN_HEADERS: Final = 1024
_KNOWN_HEADER_BYTES: Final = 2048


@dataclass(frozen=True, slots=True)
class ProofRequest:
    """The request that a proof has to be made for."""

    proofs: Sequence[bytes] = field(repr=False)
    """The value of every DPoP header."""
    method: str
    path: bytes
    """As it came, without the query."""
    client: ClientInfo


@dataclass(frozen=True, slots=True)
class Proof:
    """A good proof: who holds the key, and what this use of it is called."""

    jkt: str
    """RFC 7638 thumbprint of the key."""
    jti: str
    nonce: str | None = None
    """What it repeats of a server's nonce (§8); whether that is a good one is not asked here."""


def bound_key(cnf: object) -> str:
    """Return the thumbprint that a token's `cnf` binds it to (RFC 9449 §6.1).

    A way of binding that is not checked is a refusal, whatever stands beside it (security.md, K5).
    Raises `TokenInvalid`.
    """
    if not isinstance(cnf, dict) or cnf.keys() != {"jkt"}:
        raise TokenInvalid("cnf binds the token in a way that is not checked")
    jkt = cnf["jkt"]
    if not isinstance(jkt, str) or _THUMBPRINT.fullmatch(jkt) is None:
        raise TokenInvalid("cnf.jkt is no thumbprint")
    return jkt


class ProofVerifier:
    """Checks proofs, in the order of RFC 9449 §4.3.

    Constructor: `public_url` is the origin that people see, where the configuration names one; `hosts`
    are the others that it names, `*.` and a name for what is below it. Where it names any, no other is
    this gate: Host says what the sender likes, and a server that a client has called with a proof could
    send it on here, under its own name. Holds nothing of a request but headers proved good: a client's
    are the same each time.
    """

    def __init__(self, public_url: str | None = None, hosts: Iterable[str] = ()) -> None:
        self._public = None if public_url is None else origin_of(public_url)
        self._public_name = None if self._public is None else _host_name(self._public[1])
        self._hosts = frozenset(map(_host_pattern, hosts))
        self._headers: dict[bytes, tuple[Key, str]] = {}

    def verify(self, request: ProofRequest, now: float, token: bytes | None = None) -> Proof:
        """Return what the request's proof says at `now` (epoch seconds); raises `ProofInvalid`.

        `token`: the access token that is sent with it; `None` where one is only asked for.
        """
        if len(request.proofs) != 1:
            raise ProofInvalid("not exactly one DPoP header")
        proof = request.proofs[0].strip(b" \t")
        if len(proof) > MAX_PROOF_BYTES:
            raise ProofInvalid("the proof is too long")
        segments = proof.split(b".")
        if len(segments) != 3:
            raise ProofInvalid("the proof has not three segments")
        key, algorithm = self._headers.get(segments[0]) or _read_header(segments[0])
        signature = _decode(segments[2], "signature")
        if not key.verify(algorithm, proof[: proof.rindex(b".")], signature):
            raise ProofInvalid("the key in it did not make the signature")
        self._remember(segments[0], key, algorithm)
        claims = _parse(segments[1], "payload")
        jti = claims.get("jti")
        if not isinstance(jti, str) or not 0 < len(jti) <= MAX_JTI_CHARS:
            raise ProofInvalid("jti is missing or is no short text")
        nonce = claims.get("nonce")
        if not isinstance(nonce, str | None):
            raise ProofInvalid("nonce is no text")
        if claims.get("htm") != request.method:
            raise ProofInvalid("htm is not the method of the request")
        self._check_url(claims.get("htu"), request)
        _check_times(claims, now)
        if token is not None:
            _check_token(claims.get("ath"), token)
        return Proof(key.thumbprint, jti, nonce)

    def _remember(self, segment: bytes, key: Key, algorithm: str) -> None:
        if segment not in self._headers and len(segment) <= _KNOWN_HEADER_BYTES:
            if len(self._headers) >= _KNOWN_HEADERS:
                self._headers.clear()
            self._headers[segment] = key, algorithm

    def _check_url(self, htu: object, request: ProofRequest) -> None:
        """Compare `htu` with the URL that the client used, without query and fragment."""
        match = _URL.match(htu) if isinstance(htu, str) else None
        origin = parse_origin(match[1]) if match else None
        if match is None or origin is None:
            raise ProofInvalid("htu is no URL")
        if not self._is_here(origin, request.client):
            raise ProofInvalid("htu names another origin")
        sent = (request.client.prefix or "").encode() + request.path
        if normal_path(match[2].encode("utf-8", "surrogatepass")) != normal_path(sent):
            raise ProofInvalid("htu names another path")

    def _is_here(self, origin: Origin, client: ClientInfo) -> bool:
        """Tell whether `origin` is where the request was sent (H5).

        For the host of `public_url` that origin counts, whatever the connection was: TLS may have ended
        before this gate. A proof for one host of the gate is none for another.
        """
        name = _host_name(client.host)
        if name is None:
            return False
        if name == self._public_name:
            return origin == self._public
        if not self._is_named(name):
            return False
        port = client.port if client.is_trusted_peer else None
        return is_own(origin, scheme=client.scheme, host=client.host, port=port)

    def _is_named(self, name: str) -> bool:
        """Tell whether the configuration calls this gate so; where it names no host any may be one."""
        if not self._hosts:
            return self._public is None
        above = (f"*{name[at:]}" for at, letter in enumerate(name) if letter == ".")
        return name in self._hosts or not self._hosts.isdisjoint(above)


def _host_pattern(host: str) -> str | None:
    name = _host_name(host.removeprefix("*."))
    return f"*.{name}" if host.startswith("*.") else name


def _host_name(host: str) -> str | None:
    try:
        return parse_host(host.encode("utf-8", "replace")).name
    except BadTarget:
        return None


def normal_path(path: bytes) -> bytes:
    """Return a path as RFC 3986 §6.2.2 and §6.2.3 normalise it: equal ones are the same place.

    A `%` that begins no escape is one of its own, or what is decoded behind it could become part of one.
    """
    path = _ESCAPE.sub(_plain_or_upper, path)
    path = _ODD.sub(lambda odd: b"%%%02X" % odd[0][0], path)
    kept: list[bytes] = []
    *segments, last = path.split(b"/")[1:] or [b""]
    for segment in segments:
        if segment == b"..":
            del kept[-1:]
        elif segment != b".":
            kept.append(segment)
    if last == b"..":
        del kept[-1:]
    return b"/" + b"/".join([*kept, b"" if last in (b".", b"..") else last])


def _plain_or_upper(escape: re.Match[bytes]) -> bytes:
    if escape[1] is None:
        return b"%25"
    byte = int(escape[1], 16)
    return bytes((byte,)) if byte in _UNRESERVED else escape[0].upper()


def _read_header(segment: bytes) -> tuple[Key, str]:
    """Return the key that a proof brings, and what it says to have signed with.

    The one place where a header brings its own key: it says who signs, never that they may (K1).
    """
    header = _parse(segment, "header")
    typ = header.get("typ")
    if not isinstance(typ, str) or typ.lower().removeprefix("application/") != PROOF_TYP:
        raise ProofInvalid("its type is not that of a proof")
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or canonical_algorithm(algorithm) not in ASYMMETRIC:
        raise ProofInvalid("its algorithm is none that a public key verifies")
    if "crit" in header or "b64" in header:
        raise ProofInvalid("the header has an extension that must be understood")
    jwk = header.get("jwk")
    if not isinstance(jwk, dict):
        raise ProofInvalid("there is no key in it")
    if _PRIVATE & jwk.keys():
        raise ProofInvalid("the key in it is not public alone")
    if any(
        isinstance(number := jwk.get(name), str) and len(number) > most
        for name, most in (("n", MAX_MODULUS_CHARS), ("e", MAX_EXPONENT_CHARS))
    ):
        raise ProofInvalid("the key in it takes too long to check")
    algorithm = canonical_algorithm(algorithm)
    try:
        return public_key(jwk, algorithm), algorithm
    except ValueError as error:
        raise ProofInvalid(f"the key in it cannot be used: {error}") from None


def _check_times(claims: Mapping[str, Any], now: float) -> None:
    issued = claims.get("iat")
    if isinstance(issued, bool) or not isinstance(issued, int | float):
        raise ProofInvalid("iat is no number")
    if issued > now + MAX_AHEAD_S:
        raise ProofInvalid("iat lies in the future")
    if issued < now - MAX_AGE_S:
        raise ProofInvalid("the proof is too old")


def _check_token(ath: object, token: bytes) -> None:
    wanted = encode_segment(sha256(token).digest())
    if not isinstance(ath, str) or not compare_digest(ath.encode("utf-8", "replace"), wanted):
        raise ProofInvalid("ath is not the digest of the token")


def _decode(segment: bytes, name: str) -> bytes:
    try:
        return decode_segment(segment)
    except ValueError as error:
        raise ProofInvalid(f"{name}: {error}") from None


def _parse(segment: bytes, name: str) -> dict[str, Any]:
    try:
        return loads_object(_decode(segment, name), max_bytes=MAX_PROOF_BYTES)
    except ValueError as error:
        raise ProofInvalid(f"{name}: {error}") from None
