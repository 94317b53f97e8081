"""Either key: ask a route's schemes in order, and keep the four outcomes apart.

"Either" goes on after `Absent` only. A rejected credential stops, so that a bad token is never
silently anonymous, and *unavailable* raises, so that an outage is never a logout.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any

from proxy.core.credentials import unverified_issuer
from proxy.core.rules import is_same_subject
from proxy.errors import DependencyUnavailable
from proxy.model import Absent, Authenticated, Header, Identity, Outcome, Refusal, Rejected
from proxy.services.proofs import proved, unproved, without_proof
from proxy.services.route import Both, Route
from proxy.services.schemes.port import Carried, Found, Scheme
from proxy.services.trace import Trace, Verdict


@dataclass(frozen=True, slots=True)
class Held:
    """A credential that let somebody in, and the scheme that said so."""

    scheme: Scheme
    found: Found


@dataclass(frozen=True, slots=True)
class Opened:
    """The credential that decided."""

    outcome: Authenticated
    found: Found
    scheme: Scheme
    others: tuple[Held, ...] = ()
    """Further credentials that counted (`both: same_subject`)."""
    is_alone: bool = False
    """True where the request carries nothing that an earlier scheme of the route would look at."""
    headers: tuple[Header, ...] = ()
    """What the holders of all of them are to be told with the answer."""

    @property
    def held(self) -> tuple[Held, ...]:
        """Every credential that the answer hangs on, the one that decided first."""
        return (Held(self.scheme, self.found), *self.others)


async def authenticate(
    route: Route, carried: Carried, now: float, trace: Trace | None = None
) -> Opened | Refusal:
    """Return the credential that opens `route`, or why none does (401, or 403 for `both`).

    `trace` notes what each scheme that was asked has said.

    Raises `Ambiguous` (S2) and `DependencyUnavailable`.
    """
    asked = _Asked(route, carried, now, trace)
    candidates = _assign(route.schemes, carried)
    guesses: list[_Candidate] = []
    try:
        if route.both == "first":
            opened = await _first(candidates, asked, guesses)
        else:
            opened = await _all(candidates, asked, guesses)
    except DependencyUnavailable:
        if (held_back := await _hold_back(guesses)) is not None:
            return held_back
        raise
    if guesses and isinstance(opened, Refusal):
        return await _hold_back(guesses) or opened
    return opened


@dataclass(frozen=True, slots=True)
class Unknown:
    """A credential of which nothing is known yet: `scheme.begin` looks it up."""

    scheme: Scheme
    found: Found


# hot: every request of the express lane whose header block is new
def authenticate_now(
    route: Route, carried: Carried, now: float
) -> Opened | Refusal | Unknown | None:
    """Return what `authenticate` would where that is known; `None`: only it can say.

    Raises `Ambiguous` (S2).
    """
    if route.both != "first":
        return None
    missing = Refusal("credential_missing")
    is_alone = True
    for candidate in _assign(route.schemes, carried):
        scheme, found = candidate.scheme, candidate.found
        if candidate.refused is not None:
            return _refusal(candidate.refused, scheme.name)
        if found is None:
            continue
        if found.place.kind == "dpop":
            return None
        outcome = scheme.known(found, now)
        if outcome is None:
            return Unknown(scheme, found)
        if isinstance(outcome, Authenticated):
            outcome = without_proof(outcome, found, route)
        match outcome:
            case Authenticated():
                return Opened(outcome, found, scheme, is_alone=is_alone)
            case Rejected():
                return _refusal(outcome, scheme.name)
            case Absent():
                is_alone = False
                missing = _clearer(missing, outcome, scheme.name)
    return missing


async def _hold_back(guesses: Sequence[_Candidate]) -> Refusal | None:
    """Slow down or refuse whoever guesses, after every scheme was asked (security.md, R9).

    Not before: a stale cookie beside a good token is no guess, whoever else has the address.
    """
    for guess in guesses:
        assert guess.found is not None  # noqa: S101 - only a found credential is judged
        rejected = await guess.scheme.guessed(guess.found)
        if rejected is not None:
            return _refusal(rejected, guess.scheme.name)
    return None


@dataclass(frozen=True, slots=True)
class _Candidate:
    scheme: Scheme
    found: Found | None
    refused: Rejected | None = None


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a candidate is judged for."""

    route: Route
    carried: Carried
    now: float
    trace: Trace | None


def _assign(schemes: Sequence[Scheme], carried: Carried) -> list[_Candidate]:
    """Give each scheme what the request carries for it.

    Where several jwt schemes read one place, the token's unverified `iss` picks the one that is
    asked; where it names none of them the first of them refuses (reference.md, Several issuers).
    """
    candidates = []
    for scheme in schemes:
        found = scheme.find(carried)
        if found is None or scheme.issuer is None:
            candidates.append(_Candidate(scheme, found))
            continue
        rivals = [s for s in schemes if s.issuer is not None and found.place in s.places]
        if len(rivals) == 1:
            candidates.append(_Candidate(scheme, found))
            continue
        issuer = unverified_issuer(found.value)
        named = [s for s in rivals if s.issuer == issuer]
        if scheme in named:
            candidates.append(_Candidate(scheme, found))
        elif named or scheme is not rivals[0]:
            candidates.append(_Candidate(scheme, None))
        else:
            rejected = Rejected(
                "token_issuer_unknown", "no scheme of the route has the token's iss"
            )
            candidates.append(_Candidate(scheme, found, rejected))
    return candidates


def _judging(candidate: _Candidate, asked: _Asked) -> Coroutine[Any, Any, Outcome]:
    if asked.trace is None:
        return _judge(candidate, asked)
    return _witnessed(candidate, asked, asked.trace)


async def _witnessed(candidate: _Candidate, asked: _Asked, trace: Trace) -> Outcome:
    place = None if candidate.found is None else candidate.found.place
    try:
        outcome = await _judge(candidate, asked)
    except DependencyUnavailable as down:
        trace.judged(Verdict(candidate.scheme, place, None, down.code, down.detail))
        raise
    trace.judged(Verdict(candidate.scheme, place, outcome))
    return outcome


async def _judge(candidate: _Candidate, asked: _Asked) -> Outcome:
    if candidate.refused is not None:
        return candidate.refused
    if candidate.found is None:
        return Absent()
    try:
        outcome = await candidate.scheme.judge(candidate.found, asked.now)
        if isinstance(outcome, Absent) and _was_looked_up(candidate.scheme, candidate.found):
            return replace(outcome, is_guess=outcome.code == "session_unknown")
        if isinstance(
            outcome, Authenticated
        ):  # R1: a verdict says what is to be proved, not that it was
            return await proved(outcome, candidate.found, asked.carried, asked.route, asked.now)
        return outcome
    except DependencyUnavailable as down:
        down.scheme = candidate.scheme.name
        raise


def _was_looked_up(scheme: Scheme, found: Found) -> bool:
    return found.fresh is not None and found.looked_up(scheme.key(found)) is not None


async def _first(
    candidates: Sequence[_Candidate],
    asked: _Asked,
    guesses: list[_Candidate],
) -> Opened | Refusal:
    """Ask one scheme after the other; `guesses` takes whose credential nobody had seen."""
    missing = Refusal("credential_missing")
    for candidate in candidates:
        outcome = await _judging(candidate, asked)
        match outcome:
            case Authenticated():
                assert candidate.found is not None  # noqa: S101 - only a found credential is judged
                return Opened(outcome, candidate.found, candidate.scheme, headers=outcome.headers)
            case Rejected():
                return _refusal(outcome, candidate.scheme.name)
            case Absent(is_guess=is_guess):
                if is_guess:
                    guesses.append(candidate)
                missing = _clearer(missing, outcome, candidate.scheme.name)
    return missing


async def _all(
    candidates: Sequence[_Candidate],
    asked: _Asked,
    guesses: list[_Candidate],
) -> Opened | Refusal:
    """Ask every scheme; `refuse` takes one credential, `same_subject` several of one person."""
    opened: list[Opened] = []
    missing = Refusal("credential_missing")
    for candidate in candidates:
        outcome = await _judging(candidate, asked)
        match outcome:
            case Authenticated():
                assert candidate.found is not None  # noqa: S101 - only a found credential is judged
                opened.append(Opened(outcome, candidate.found, candidate.scheme))
            case Rejected():
                return _refusal(outcome, candidate.scheme.name)
            case Absent(is_guess=is_guess):
                if is_guess:
                    guesses.append(candidate)
                missing = _clearer(missing, outcome, candidate.scheme.name)
    if not opened:
        return missing
    identities = [one.outcome.identity for one in opened]
    route = asked.route
    refusal = _disagreement(identities, route.both, route.has_same_subjects)
    if refusal is not None:
        return refusal
    others = tuple(Held(other.scheme, other.found) for other in opened[1:])
    headers = tuple(header for one in opened for header in one.outcome.headers)
    return replace(opened[0], others=others, headers=headers)


def _disagreement(
    identities: Sequence[Identity],
    both: Both,
    has_same_subjects: bool,  # noqa: FBT001 - the route's word, passed on
) -> Refusal | None:
    """Return why credentials that are all good do not go together (`both:`)."""
    if len(identities) < 2:
        return None
    if both == "refuse":
        return Refusal("credentials_differ", "the route takes one credential at a time")
    if not all(
        is_same_subject(identities[0], other, has_same_subjects=has_same_subjects)
        for other in identities[1:]
    ):
        return Refusal("credentials_differ", "the credentials name different subjects")
    return None


async def authenticate_again(
    route: Route, held: Sequence[Held], told: Identity, now: float
) -> Identity | Refusal:
    """Return who holds a connection open that `held` opened, or why it may not stay open (R7).

    Every one of the credentials must still be good, and they must still be those of `told`, whom
    the upstream believes to be there. What a token is bound to was proved by the request that opened
    the connection, and is not asked again. Raises `DependencyUnavailable`.
    """
    identities: list[Identity] = []
    for one in held:
        outcome = await one.scheme.judge(one.found, now)
        if not isinstance(outcome, Authenticated):
            return Refusal(outcome.code, f"{one.scheme.name}: {outcome.detail}")
        if (rejected := unproved(outcome, route)) is not None:
            return _refusal(rejected, one.scheme.name)
        identities.append(outcome.identity)
    refusal = _disagreement(identities, route.both, route.has_same_subjects)
    if refusal is not None:
        return refusal
    identity = identities[0]
    if not is_same_subject(told, identity, has_same_subjects=route.has_same_subjects):
        return Refusal("credentials_differ", "the credential is somebody else's now")
    return identity


def _refusal(outcome: Absent | Rejected, scheme: str) -> Refusal:
    headers = outcome.headers if isinstance(outcome, Rejected) else ()
    return Refusal(outcome.code, f"{scheme}: {outcome.detail}", headers, scheme=scheme)


def _clearer(so_far: Refusal, new: Absent, scheme: str) -> Refusal:
    """Keep the first answer that says more than that nothing came."""
    if so_far.code == "credential_missing" and new.code != "credential_missing":
        return _refusal(new, scheme)
    return so_far
