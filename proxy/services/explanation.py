"""A decision and its trace, in words and plain values: what `latchgate explain` shows.

Nothing is decided here. No value of a client's header is repeated, and no credential: names alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

from proxy.codes import CODES
from proxy.config.models import Config, JwtSchemeConfig
from proxy.core.candidates import NearMiss, RouteMatch, candidates
from proxy.core.cookies import parse_cookies
from proxy.core.credentials import mask_query_parameter
from proxy.core.headers import CONNECTION_NAMES, HeaderRules, fold
from proxy.model import Absent, Authenticated, Header, Identity, Refusal, RequestView
from proxy.services.assembly import Assembly
from proxy.services.decision import Answer, Decision, Forward, Own, Refuse
from proxy.services.outgoing import outgoing_headers
from proxy.services.report_mode import mode_of
from proxy.services.schemes.port import Place
from proxy.services.trace import Checked, Trace, Verdict

NEW_ID: Final = "(made for each request)"
_TOLD: Final = frozenset({b"www-authenticate", b"allow", b"location"})
"""Headers of an answer that say something about the refusal."""


def explain(
    config: Config, assembly: Assembly, view: RequestView, decision: Decision, trace: Trace
) -> dict[str, Any]:
    """Return what became of `view` and why: the members of docs/explain.md."""
    route = decision.route
    return {
        "request": _request(config, view),
        "decision": _kind(decision),
        "reported": _reported(decision),
        "route": None if route is None else _route(config, route.name, trace),
        "matching": _matching(assembly, trace),
        "schemes": _schemes(trace, decision),
        "cross_site": _checked(trace.cross_site),
        "require": _checked(trace.require),
        "credential": _credential(trace),
        "headers": _headers(assembly, view, decision, trace),
        "upstream": _upstream(config, decision),
        "answer": _answer(decision),
    }


def _request(config: Config, view: RequestView) -> dict[str, Any]:
    host = view.first(b"host")
    return {
        "method": view.method,
        "scheme": "https" if view.peer.is_tls else "http",
        "host": None if host is None else _text(host),
        "target": masked_target(config, view.target),
        "from": "unix" if view.peer.is_unix else view.peer.address,
    }


def masked_target(config: Config, target: bytes) -> str:
    """Return a target with `…` in the place of every value that some scheme reads."""
    path, mark, query = target.partition(b"?")
    for scheme in config.schemes.values():
        if isinstance(scheme, JwtSchemeConfig):
            for source in scheme.from_:
                if source.kind == "query":
                    query = mask_query_parameter(query, source.name)
    return (path + mark + query).decode("utf-8", "replace")


def _kind(decision: Decision) -> str:
    if isinstance(decision, Forward):
        return "forward"
    if isinstance(decision, Answer):
        return "answer"
    return "own" if isinstance(decision, Own) else decision.kind


def _reported(decision: Decision) -> dict[str, Any] | None:
    """Return why the route would refuse what it lets through, being in report mode (S14)."""
    if not isinstance(decision, Forward) or decision.reported is None:
        return None
    code = decision.reported.code
    return {"status": CODES[code].status, "code": code, "detail": decision.reported.detail}


def _route(config: Config, name: str, trace: Trace) -> dict[str, Any]:
    route = next(route for route in config.routes if route.name == name)
    return {
        "name": name,
        "host": route.match.host,
        "path": route.match.path,
        "methods": route.match.methods,
        "auth": route.auth or "none",
        "both": route.both,
        "mode": mode_of(route),
        "preflight": trace.is_preflight,
    }


def _matching(assembly: Assembly, trace: Trace) -> dict[str, Any] | None:
    if trace.path is None:
        return None
    found = candidates(assembly.router, trace.host, trace.path, trace.method)
    return {
        "hosts": found.tier,
        "host": found.host,
        "method": trace.method,
        "best": [_match(match) for match in found.best],
        "near_misses": [_near(miss) for miss in found.near],
    }


def _match(match: RouteMatch) -> dict[str, Any]:
    methods = None if match.methods is None else list(match.methods)
    return {"route": match.name, "host": match.host, "path": match.path, "methods": methods}


def _near(miss: NearMiss) -> dict[str, Any]:
    return {**_match(miss.route), "reason": miss.reason}


# Schemes


def _schemes(trace: Trace, decision: Decision) -> list[dict[str, Any]]:
    if trace.route is None or trace.is_preflight:
        return []
    asked = {verdict.scheme.name: verdict for verdict in trace.verdicts}
    return [
        _verdict(asked[scheme.name])
        if scheme.name in asked
        else _unasked(scheme.name, _why_not_asked(trace, decision))
        for scheme in trace.route.schemes
    ]


def _verdict(verdict: Verdict) -> dict[str, Any]:
    outcome = verdict.outcome
    said = _said(verdict.scheme.name)
    said["place"] = show_place(verdict.place)
    if outcome is None:
        said.update(outcome="unavailable", code=verdict.code, detail=verdict.detail)
    elif isinstance(outcome, Authenticated):
        said.update(outcome="authenticated", identity=_identity(outcome.identity))
    else:
        kind = "absent" if isinstance(outcome, Absent) else "rejected"
        said.update(outcome=kind, code=outcome.code, detail=outcome.detail)
    return said


def _unasked(name: str, reason: str) -> dict[str, Any]:
    return {**_said(name), "outcome": "not_asked", "detail": reason}


def _said(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "outcome": "",
        "place": None,
        "code": None,
        "detail": "",
        "identity": None,
    }


def _why_not_asked(trace: Trace, decision: Decision) -> str:
    if trace.opened_by is not None:
        return f"{trace.opened_by.scheme.name} opened the route"
    last = trace.verdicts[-1] if trace.verdicts else None
    if last is None:
        return decision.refusal.detail if isinstance(decision, Refuse) else ""
    return f"{last.scheme.name} has decided: only a credential that is absent lets others be asked"


def _identity(identity: Identity) -> dict[str, Any]:
    return {
        "subject": identity.subject,
        "issuer": identity.origin,
        "email": identity.email,
        "name": identity.name,
        "roles": list(identity.roles),
        "scopes": list(identity.scopes),
        "expires_at": identity.expires_at,
        "auth_time": identity.auth_time,
        "amr": list(identity.amr),
        "jkt": identity.jkt,
    }


def show_place(place: Place | None) -> str | None:
    """Return `cookie sid`, `bearer` and the like."""
    if place is None:
        return None
    return f"{place.kind} {place.name}" if place.name else place.kind


def _checked(checked: Checked) -> dict[str, Any]:
    if isinstance(checked, Refusal):
        return {"outcome": "refused", "code": checked.code, "detail": checked.detail}
    return {"outcome": checked, "code": None, "detail": ""}


def _credential(trace: Trace) -> dict[str, Any] | None:
    if trace.opened_by is None:
        return None
    return {
        "scheme": trace.opened_by.scheme.name,
        "place": show_place(trace.opened_by.place),
        "travels_on": trace.kept is not None,
    }


# Headers


def _headers(
    assembly: Assembly, view: RequestView, decision: Decision, trace: Trace
) -> dict[str, Any] | None:
    if not isinstance(decision, Forward):
        return None
    server = decision.route.upstream.servers[0]
    sent = outgoing_headers(
        view,
        decision,
        forwarding=assembly.forwarding,
        gate_id=assembly.gate_id,
        authority=server.authority,
    )
    return {
        "removed": [
            *_removed_by_rules(view.headers, trace.cleaned, assembly.rules),
            *_removed_credentials(trace.cleaned, decision.headers),
        ],
        "kept": [_text(name) for name, _ in decision.headers],
        "set": [_set(header, decision) for header in _difference(sent, decision.headers)],
    }


def _removed_by_rules(
    before: Sequence[Header], after: Sequence[Header], rules: HeaderRules
) -> Iterable[dict[str, str]]:
    for name, _ in _difference(before, after):
        folded = fold(name)
        if folded == b"host":
            continue  # the gate writes its own
        if rules.is_own(folded):
            reason = "only the gate says who somebody is"
        elif folded in CONNECTION_NAMES:
            reason = "of this connection only"
        else:
            reason = "not taken from this client, or written anew"
        yield {"name": _text(name), "reason": reason}


def _removed_credentials(
    before: Sequence[Header], after: Sequence[Header]
) -> Iterable[dict[str, str]]:
    left = {name for name, _ in parse_cookies(_cookies(after))}
    gone = [_text(name) for name, _ in parse_cookies(_cookies(before)) if name not in left]
    if gone:
        yield {"name": "Cookie", "reason": f"without {', '.join(dict.fromkeys(gone))}"}
    for name, _ in _difference(before, after):
        if name.lower() != b"cookie":
            yield {"name": _text(name), "reason": "a credential that does not travel on"}


def _cookies(headers: Iterable[Header]) -> list[bytes]:
    return [value for name, value in headers if name.lower() == b"cookie"]


def _set(header: Header, decision: Forward) -> dict[str, str]:
    name, value = header
    is_id = name == b"X-Request-Id"
    is_given = is_id and decision.client.is_trusted_peer
    return {
        "name": _text(name),
        "value": NEW_ID if is_id and not is_given else _text(value),
        "says": "who" if header in decision.identity_headers else "where from",
    }


def _difference(more: Sequence[Header], less: Sequence[Header]) -> list[Header]:
    """Return what `more` has beyond `less`, in order."""
    left = Counter(less)
    found = []
    for header in more:
        if left[header]:
            left[header] -= 1
        else:
            found.append(header)
    return found


# The end


def _upstream(config: Config, decision: Decision) -> dict[str, Any] | None:
    if not isinstance(decision, Forward):
        return None
    upstream = decision.route.upstream
    return {
        "name": upstream.name,
        "servers": [str(server) for server in config.upstreams[upstream.name].servers],
        "target": masked_target(config, decision.target),
    }


def _answer(decision: Decision) -> dict[str, Any] | None:
    """Return what a client would be told by the gate itself; `None` where the upstream answers."""
    if isinstance(decision, Forward):
        return None
    if isinstance(decision, Own):
        title = f"the gate's own endpoint {decision.endpoint.name} answers"
        return {"status": None, "code": None, "title": title, "detail": "", "headers": []}
    if isinstance(decision, Answer):
        return {
            "status": decision.status,
            "code": None,
            "title": None,
            "detail": "",
            "headers": [[_text(name), _text(value)] for name, value in decision.headers],
        }
    code = decision.refusal.code
    headers = [h for h in decision.refusal.headers if h[0].lower() in _TOLD]
    return {
        "status": CODES[code].status,
        "code": code,
        "title": CODES[code].title,
        "detail": decision.refusal.detail,
        "headers": [[_text(name), _text(value)] for name, value in headers],
    }


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
