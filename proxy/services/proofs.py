"""Proofs of possession: each is checked on its own request, and counts once (RFC 9449 §11.1).

A token's verdict is kept, its proof never is (security.md, R1). What never belongs here: HTTP, and
what a proof says.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from hmac import compare_digest
from typing import Final, Protocol

from proxy.adapters.store.port import Store
from proxy.config.models import Config
from proxy.core.dpop import MAX_AGE_S, MAX_AHEAD_S, Proof, ProofRequest, ProofVerifier
from proxy.core.nonces import Nonces
from proxy.core.revocation import digest
from proxy.errors import ProofInvalid
from proxy.model import Authenticated, Header, Outcome, Rejected
from proxy.services.compile import reserved_hosts
from proxy.services.route import Route
from proxy.services.schemes.port import Carried, Found

REMEMBER_S: Final = MAX_AGE_S + MAX_AHEAD_S + 60.0
"""As long as a proof is good, and a minute for the clocks of gates that share a store."""


class ProofMemory(Protocol):
    """Knows which proofs were used."""

    async def take(self, proof: Proof) -> bool:
        """Tell whether this is the first use of `proof`. Raises `StoreUnavailable`."""
        ...


class UsedProofs:
    """The used proofs of every gate on one store."""

    def __init__(self, store: Store, prefix: str) -> None:
        self._store = store
        self._prefix = prefix

    def key(self, proof: Proof) -> str:
        """Return where the use of `proof` stands; two clients may choose the same `jti`."""
        return f"{self._prefix}dpop:{{{digest(proof.jkt, proof.jti)}}}"

    async def take(self, proof: Proof) -> bool:
        """Remember the use of `proof`; of two at once the store lets one be the first."""
        return await self._store.put(self.key(proof), b"1", ttl_s=REMEMBER_S, only="new")

    async def is_new(self, proof: Proof) -> bool:
        """Tell the same, and remember nothing."""
        return await self._store.fetch([self.key(proof)]) == [None]


class SeenProofs:
    """The same for somebody who only looks on: a proof that is looked at is not used up."""

    def __init__(self, used: UsedProofs) -> None:
        self._used = used

    async def take(self, proof: Proof) -> bool:
        """Tell whether `proof` would be new."""
        return await self._used.is_new(proof)


@dataclass(frozen=True, slots=True)
class Shown:
    """A proof that is good, but that it may have been used before."""

    proof: Proof
    next_nonce: str | None = None
    """The nonce to use from now on, where the proof has one that is about to end (RFC 9449 §8.2)."""


class Prover(Protocol):
    """Has proofs checked, in two steps: what comes between them decides whether one is worth keeping."""

    def read(
        self,
        request: ProofRequest,
        now: float,
        token: bytes | None = None,
        jkt: str | None = None,
        *,
        wants_nonce: bool = False,
    ) -> Shown:
        """Return the request's proof, if it is good but for having been used before.

        `token` and `jkt`: the access token that is sent, and the key that it is bound to. Raises
        `ProofInvalid`, `WrongKey`, and `NonceMissing` only where the proof is good otherwise.
        """
        ...

    async def use(self, proof: Proof) -> None:
        """Use `proof` up. Raises `ProofInvalid` where it was used before, and `StoreUnavailable`."""
        ...


class WrongKey(ProofInvalid):
    """A proof of a key, but not of the one that the token is bound to."""

    code = "token_invalid"


class NonceMissing(ProofInvalid):
    """A proof without a nonce of the gate's that is good now; `nonce` is one, where there is any."""

    code = "proof_nonce_missing"

    def __init__(self, detail: str, nonce: str | None) -> None:
        super().__init__(detail)
        self.nonce = nonce


class Proofs:
    """Checks proofs and remembers which were used. Without `nonces` none is good where one is wanted."""

    def __init__(
        self, verifier: ProofVerifier, memory: ProofMemory, nonces: Nonces | None = None
    ) -> None:
        self._verifier = verifier
        self._memory = memory
        self._nonces = nonces

    def read(
        self,
        request: ProofRequest,
        now: float,
        token: bytes | None = None,
        jkt: str | None = None,
        *,
        wants_nonce: bool = False,
    ) -> Shown:
        """Check a proof but for its being new."""
        proof = self._verifier.verify(request, now, token)
        if jkt is not None and not compare_digest(proof.jkt, jkt):
            raise WrongKey("the proof is of another key than the token is bound to")
        return Shown(proof, self._next_nonce(proof, now) if wants_nonce else None)

    def _next_nonce(self, proof: Proof, now: float) -> str | None:
        """Return the nonce to offer, if it is time for one. Raises `NonceMissing`."""
        if self._nonces is None:
            raise NonceMissing("there are no nonces here", None)
        match self._nonces.judge(proof.nonce, now):
            case "good":
                return None
            case "ending":
                return self._nonces.newest(now)
            case _:
                detail = "no nonce in it" if proof.nonce is None else "its nonce is not good now"
                raise NonceMissing(detail, self._nonces.newest(now))

    async def use(self, proof: Proof) -> None:
        """Use a proof up: last of all, so that nobody fills the store with what opens nothing."""
        if not await self._memory.take(proof):
            raise ProofInvalid("the proof was used before")


def open_prover(
    config: Config, store: Store | None, nonces: Nonces | None, *, is_looking: bool = False
) -> Proofs | None:
    """Return what checks proofs; `None` without a store, where nobody would notice a second use.

    `is_looking`: no proof is used up.
    """
    if store is None:
        return None
    used = UsedProofs(store, config.store.prefix)
    memory = SeenProofs(used) if is_looking else used
    named = [host for host in reserved_hosts(config) if host is not None]
    verifier = ProofVerifier(config.server.public_url, named)
    return Proofs(verifier, memory, nonces)


class Believing:
    """Stands where proofs are checked, in rehearsals: whoever is said to hold a key holds it."""

    def read(
        self,
        request: ProofRequest,
        now: float,
        token: bytes | None = None,
        jkt: str | None = None,
        *,
        wants_nonce: bool = False,
    ) -> Shown:
        """Return a proof of `jkt`."""
        del request, now, token, wants_nonce
        return Shown(Proof(jkt or "", ""))

    async def use(self, proof: Proof) -> None:
        """Do nothing."""


async def proved(
    outcome: Authenticated, found: Found, carried: Carried, route: Route, now: float
) -> Outcome:
    """Return `outcome` if the request proves what the credential is bound to, else why not (K5).

    A bound token that is sent as a bearer is refused: else a thief would only have to leave the proof
    away (RFC 9449 §7.1). Raises `StoreUnavailable`: a proof that might have been used opens nothing.
    """
    jkt = outcome.identity.jkt
    if jkt is None or found.place.kind != "dpop":
        return without_proof(outcome, found, route)
    if route.prover is None:
        return Rejected("token_invalid", "the token is bound to a key, and nobody checks proofs")
    prover, wants_nonce = route.prover, route.wants_nonce
    try:
        asked = carried.proof_request()
        shown = prover.read(asked, now, found.value, jkt, wants_nonce=wants_nonce)
        await prover.use(shown.proof)
    except NonceMissing as missing:
        return Rejected(missing.code, missing.detail, nonce_headers(missing.nonce))
    except ProofInvalid as invalid:
        return Rejected(invalid.code, invalid.detail)
    if shown.next_nonce is None:
        return outcome
    return replace(outcome, headers=nonce_headers(shown.next_nonce))


def without_proof(outcome: Authenticated, found: Found, route: Route) -> Outcome:
    """Return `outcome` where nothing is to be proved, else why it opens nothing.

    Not for a token that is bound to a key and sent as DPoP: its proof has to be checked.
    """
    if outcome.identity.jkt is not None:
        return Rejected("proof_missing", "the token is bound to a key, and not sent as DPoP")
    if found.place.kind == "dpop":
        return Rejected("token_invalid", "sent as DPoP, and bound to no key")
    return unproved(outcome, route) or outcome


def nonce_headers(nonce: str | None) -> tuple[Header, ...]:
    """Return the header by which a client is told its next nonce (RFC 9449 §8.1)."""
    return () if nonce is None else ((b"DPoP-Nonce", nonce.encode("ascii")),)


def asked_proof(
    prover: Prover | None, carried: Carried, now: float, *, wants_nonce: bool = False
) -> Shown | None:
    """Return the proof of whoever asks for tokens, if they send one (RFC 9449 §5).

    It is not used up yet. Raises `ProofInvalid`.
    """
    if prover is None or not carried.view.values(b"dpop"):
        return None
    return prover.read(carried.proof_request(), now, wants_nonce=wants_nonce)


def unproved(outcome: Authenticated, route: Route) -> Rejected | None:
    """Refuse a credential that is bound to no key where the route wants one."""
    if route.wants_proof and outcome.identity.jkt is None:
        return Rejected("proof_missing", "the route takes tokens that are bound to a key only")
    return None
