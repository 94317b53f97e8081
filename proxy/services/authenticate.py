"""Either key: ask a route's schemes in order, and keep the four outcomes apart.

"Either" goes on after `Absent` only. A rejected credential stops, so that a bad token is never
silently anonymous, and *unavailable* raises, so that an outage is never a logout.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from proxy.core.credentials import unverified_issuer
from proxy.core.rules import is_same_subject
from proxy.errors import DependencyUnavailable
from proxy.model import Absent, Authenticated, Outcome, Refusal, Rejected
from proxy.services.route import Both, Route
from proxy.services.schemes.port import Carried, Found, Scheme
from proxy.services.trace import Trace, Verdict


@dataclass(frozen=True, slots=True)
class Opened:
    """The credential that decided."""

    outcome: Authenticated
    found: Found
    scheme: Scheme


async def authenticate(
    route: Route, carried: Carried, now: float, trace: Trace | None = None
) -> Opened | Refusal:
    """Return the credential that opens `route`, or why none does (401, or 403 for `both`).

    `trace` notes what each scheme that was asked has said.

    Raises `Ambiguous` (S2) and `DependencyUnavailable`.
    """
    found = _assign(route.schemes, carried)
    if route.both == "first":
        return await _first(found, now, trace)
    return await _all(found, route.both, now, trace, has_same_subjects=route.has_same_subjects)


@dataclass(frozen=True, slots=True)
class _Candidate:
    scheme: Scheme
    found: Found | None
    refused: Rejected | None = None


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


def _judging(
    candidate: _Candidate, now: float, trace: Trace | None
) -> Coroutine[Any, Any, Outcome]:
    return _judge(candidate, now) if trace is None else _witnessed(candidate, now, trace)


async def _witnessed(candidate: _Candidate, now: float, trace: Trace) -> Outcome:
    place = None if candidate.found is None else candidate.found.place
    try:
        outcome = await _judge(candidate, now)
    except DependencyUnavailable as down:
        trace.judged(Verdict(candidate.scheme, place, None, down.code, down.detail))
        raise
    trace.judged(Verdict(candidate.scheme, place, outcome))
    return outcome


async def _judge(candidate: _Candidate, now: float) -> Outcome:
    if candidate.refused is not None:
        return candidate.refused
    if candidate.found is None:
        return Absent()
    try:
        return await candidate.scheme.judge(candidate.found, now)
    except DependencyUnavailable as down:
        down.scheme = candidate.scheme.name
        raise


async def _first(
    candidates: Sequence[_Candidate], now: float, trace: Trace | None
) -> Opened | Refusal:
    missing = Refusal("credential_missing")
    for candidate in candidates:
        outcome = await _judging(candidate, now, trace)
        match outcome:
            case Authenticated():
                assert candidate.found is not None  # noqa: S101 - only a found credential is judged
                return Opened(outcome, candidate.found, candidate.scheme)
            case Rejected():
                return _refusal(outcome, candidate.scheme.name)
            case Absent():
                missing = _clearer(missing, outcome, candidate.scheme.name)
    return missing


async def _all(
    candidates: Sequence[_Candidate],
    both: Both,
    now: float,
    trace: Trace | None,
    *,
    has_same_subjects: bool,
) -> Opened | Refusal:
    """Ask every scheme; `refuse` takes one credential, `same_subject` several of one person."""
    opened: list[Opened] = []
    missing = Refusal("credential_missing")
    for candidate in candidates:
        outcome = await _judging(candidate, now, trace)
        match outcome:
            case Authenticated():
                assert candidate.found is not None  # noqa: S101 - only a found credential is judged
                opened.append(Opened(outcome, candidate.found, candidate.scheme))
            case Rejected():
                return _refusal(outcome, candidate.scheme.name)
            case Absent():
                missing = _clearer(missing, outcome, candidate.scheme.name)
    if not opened:
        return missing
    if len(opened) > 1:
        if both == "refuse":
            return Refusal("credentials_differ", "the route takes one credential at a time")
        first = opened[0].outcome.identity
        if not all(
            is_same_subject(first, other.outcome.identity, has_same_subjects=has_same_subjects)
            for other in opened[1:]
        ):
            return Refusal("credentials_differ", "the credentials name different subjects")
    return opened[0]


def _refusal(outcome: Absent | Rejected, scheme: str) -> Refusal:
    return Refusal(outcome.code, f"{scheme}: {outcome.detail}", scheme=scheme)


def _clearer(so_far: Refusal, new: Absent, scheme: str) -> Refusal:
    """Keep the first answer that says more than that nothing came."""
    if so_far.code == "credential_missing" and new.code != "credential_missing":
        return _refusal(new, scheme)
    return so_far
