"""Which of two rules lets in more: what a change of a setting does to who may pass.

Where that cannot be told from the two alone, it is both: it may open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel

from proxy.config.models import (
    Config,
    RouteConfig,
    ServerConfig,
    TlsServerConfig,
    UpstreamConfig,
)

_CROSS_SITE: Final = {"refuse": 0, "same_site": 1, "allow": 2}
_DPOP: Final = {"optional": 0, "required": 1, "nonce": 2}
OTHERS: Final = (
    *("both", "same_subjects", "cors", "forward_credentials", "identity", "login_url"),
    *("limits", "streams", "cache"),
)
"""Of a route: what may let in other people or for longer, or tell others of them."""
COMPARED: Final = (
    *("auth", "require", "mode", "cross_site", "dpop", "allow_paths", "pass_headers", "upgrades"),
    *("upstream", "strip_prefix", "match"),
)
"""Of a route: what has words of its own, or is asked of the router."""
ELSEWHERE: Final = ("host", "tls")
"""Of an upstream: what makes the same servers another application, beside `servers` themselves."""
READING: Final = ("paths", "audience")
"""Of an upstream: how it reads what it gets, and for whom the gate's word about a person is."""
SETTINGS: Final = ("trusted_proxies", "forwarded", "proxy_protocol", "public_url")
"""Of the server: whom it believes, and which origin is its own."""
CLIENTS: Final = ("client_ca", "client_certificate")
"""Of the server's TLS: who must show what."""
SECTIONS: Final = ("admin", "decision", "clients", "login", "tokens", "secrets", "store", "reload")
"""Of the file: who may do what beside the routes, what is believed, and how long a change is noticed."""
IN_PARTS: Final = ("server", "upstreams", "schemes", "routes")
"""Of the file: what is looked into."""
HARMLESS: Final[Mapping[type[BaseModel], Mapping[str, str]]] = {
    Config: {
        "health": "probes and figures; its listener is fixed, and it has nothing else",
        "redirect": "leads to https, and to no application",
        "branding": "a name and a picture",
        "tests": "are run before, and hold nobody off afterwards",
        "log": "is fixed",
        "tracing": "tells a collector what was asked, and nobody is let in by that",
        "verdicts": "how much is remembered; what is forgotten is looked up",
    },
    ServerConfig: {
        "listen": "is fixed",
        "workers": "is fixed",
        "id": "is fixed",
        "hsts": "what browsers are told",
        "response_headers": "never those that say who may read an answer",
        "limits": "how much, and from nobody else",
        "drain": "how long the end takes",
    },
    TlsServerConfig: {
        "cert": "who the gate is, not who comes",
        "key": "who the gate is, not who comes",
        "certificates": "who the gate is, not who comes",
    },
    UpstreamConfig: {
        "balance": "which of servers that do the same",
        "timeouts": "how long is waited",
        "health": "which of servers that do the same",
        "eject": "which of servers that do the same",
        "retries": "how often it is tried",
        "limits": "how much, and from nobody else",
        "resolve": "how often a name is looked up",
    },
    RouteConfig: {
        "name": "what it is called in logs",
        "response_headers": "never those that say who may read an answer",
    },
}
"""Why a change of a key lets nobody in. Every other key of a model is compared, with all that is below it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One difference."""

    detail: str
    is_looser: bool
    """Somebody may pass who did not."""
    is_stricter: bool
    """Somebody may not pass who did."""


def compare_routes(
    before: Config, was: RouteConfig, after: Config, becomes: RouteConfig
) -> Iterator[Verdict]:
    """Yield how requests that went by `was` are treated by `becomes`."""
    yield from _auth(was, becomes)
    for name in sorted(set(was.auth) & set(becomes.auth)):
        yield from _scheme(name, before, after)
    yield from _require(was, becomes)
    yield from _reports(was, becomes)
    yield from _sites(was, becomes)
    if was.dpop != becomes.dpop:
        yield _more(f"dpop: {becomes.dpop}", _DPOP[becomes.dpop] < _DPOP[was.dpop])
    for name in ("allow_paths", "pass_headers", "upgrades"):
        yield from _set(name, getattr(was, name), getattr(becomes, name))
    for name in OTHERS:
        if getattr(was, name) != getattr(becomes, name):
            yield _both(f"{name} is changed")
    old, new = before.upstreams[was.upstream], after.upstreams[becomes.upstream]
    for name in READING:
        if getattr(old, name) != getattr(new, name):
            yield _both(f"{name} of its upstream is changed")


def compare_settings(before: Config, after: Config) -> Iterator[Verdict]:
    """Yield what concerns every route: whom the gate believes, and what it lets do beside them."""
    for name in SETTINGS:
        if getattr(before.server, name) != getattr(after.server, name):
            yield _both(f"server.{name} is changed")
    old, new = before.server.tls, after.server.tls
    for name in CLIENTS:
        if (old and getattr(old, name)) != (new and getattr(new, name)):
            yield _both(f"server.tls.{name} is changed")
    for name in SECTIONS:
        was, becomes = getattr(before, name), getattr(after, name)
        if was != becomes:
            yield _both(f"{name} is changed{_where(was, becomes)}")
    one, other = before.login, after.login
    if one is not None and other is not None and one.scheme == other.scheme:
        yield from _scheme(one.scheme, before, after)  # it opens pages, and maybe no route


def leads_elsewhere(before: Config, was: RouteConfig, after: Config, becomes: RouteConfig) -> bool:
    """Tell whether requests reach another application, or another place in one.

    A server less of several that do the same is none.
    """
    old, new = before.upstreams[was.upstream], after.upstreams[becomes.upstream]
    if was.strip_prefix != becomes.strip_prefix or not set(new.servers) <= set(old.servers):
        return True
    return any(getattr(old, name) != getattr(new, name) for name in ELSEWHERE)


def _scheme(name: str, before: Config, after: Config) -> Iterator[Verdict]:
    old, new = before.schemes.get(name), after.schemes.get(name)
    if old != new:
        yield _both(f"scheme {name} is another one{_where(old, new)}")


def _where(old: object, new: object) -> str:
    """Return which keys of a section, or members of a list of them, differ: ": a, b", or nothing."""
    match old, new:
        case BaseModel(), BaseModel() if type(old) is type(new):
            names = [
                field.alias or name
                for name, field in type(old).model_fields.items()
                if getattr(old, name) != getattr(new, name)
            ]
        case dict(), dict():
            names = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
        case _:
            names = []
    return f": {', '.join(names)}" if names else ""


def _more(detail: str, is_looser: bool) -> Verdict:  # noqa: FBT001 - the one thing that is told
    return Verdict(detail, is_looser, not is_looser)


def _both(detail: str) -> Verdict:
    return Verdict(detail, is_looser=True, is_stricter=True)


def _auth(was: RouteConfig, becomes: RouteConfig) -> Iterator[Verdict]:
    if not was.auth or not becomes.auth:
        if was.auth or becomes.auth:
            how = " or ".join(becomes.auth)
            yield _more(f"is guarded by {how} now" if how else "is public now", not becomes.auth)
        return
    yield from _set("auth", was.auth, becomes.auth)
    common = set(was.auth) & set(becomes.auth)
    if [one for one in was.auth if one in common] != [one for one in becomes.auth if one in common]:
        yield _both(f"{' or '.join(becomes.auth)}: another one decides where there are several")


def _require(was: RouteConfig, becomes: RouteConfig) -> Iterator[Verdict]:
    old, new = was.require, becomes.require
    yield from _roles(old.roles, new.roles)
    yield from _demands("scopes", old.scopes, new.scopes)
    for path in sorted({*old.claims, *new.claims}):
        if path not in new.claims or path not in old.claims:
            word = "asks for claim" if path in new.claims else "asks no more for claim"
            yield _more(f"{word} {path}", path not in new.claims)
        elif old.claims[path] != new.claims[path]:
            yield _both(f"another value of claim {path}")
    for name in ("mfa_within", "login_within"):
        a, b = getattr(old, name), getattr(new, name)
        if a != b:
            yield _more(
                f"{name}: {'none' if b is None else f'{b:g} s'}",
                b is None or (a is not None and b > a),
            )


def _roles(old: Any, new: Any) -> Iterator[Verdict]:
    if old == new:
        return
    if old is None or new is None:
        yield _more("asks for roles" if new else "asks for no role", new is None)
        return
    looser = stricter = False
    a, b = set(old.any or ()), set(new.any or ())
    if a != b:
        looser |= not b or (bool(a) and not b <= a)
        stricter |= not a or (bool(b) and not a <= b)
    c, d = set(old.all or ()), set(new.all or ())
    looser |= not c <= d
    stricter |= not d <= c
    words = ", ".join(sorted(b or d))
    yield Verdict(f"roles: {words}", looser, stricter)


def _demands(name: str, old: Iterable[str], new: Iterable[str]) -> Iterator[Verdict]:
    a, b = set(old), set(new)
    if a != b:
        yield Verdict(f"{name}: {', '.join(sorted(b)) or 'none'}", not a <= b, not b <= a)


def _set(name: str, old: Iterable[Any], new: Iterable[Any]) -> Iterator[Verdict]:
    """Compare what is let in by being listed."""
    word: Callable[[Any], str] = str
    a, b = set(map(word, old)), set(map(word, new))
    if a != b:
        yield Verdict(f"{name}: {', '.join(sorted(b)) or 'none'}", not b <= a, not a <= b)


def _reports(was: RouteConfig, becomes: RouteConfig) -> Iterator[Verdict]:
    if was.mode == becomes.mode:
        return
    if becomes.mode == "enforce":
        yield _more("enforces", is_looser=False)
    elif was.mode == "enforce":
        yield _more(f"only reports until {becomes.mode.report.until}", is_looser=True)
    else:
        later = becomes.mode.report.until > was.mode.report.until
        yield _more(f"reports until {becomes.mode.report.until}", later)


def _sites(was: RouteConfig, becomes: RouteConfig) -> Iterator[Verdict]:
    old, new = was.cross_site, becomes.cross_site
    if old == new:
        return
    if isinstance(old, str) and isinstance(new, str):
        yield _more(f"cross_site: {new}", _CROSS_SITE[new] > _CROSS_SITE[old])
    else:
        yield _both("cross_site is changed")
