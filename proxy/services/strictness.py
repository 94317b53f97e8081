"""Which of two rules lets in more: what a change of a setting does to who may pass.

Where that cannot be told from the two alone, it is both: it may open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from proxy.config.models import Config, RouteConfig

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
HARMLESS: Final = ("name", "response_headers")
"""Of a route: what lets nobody in."""
ELSEWHERE: Final = ("servers", "host", "tls")
"""Of an upstream: where requests go."""
SETTINGS: Final = ("forwarded", "proxy_protocol", "public_url")
"""Of the server: whom it believes, and which origin is its own."""
SECTIONS: Final = ("admin", "decision", "clients", "login", "tokens", "store", "reload")
"""Of the file: who may do what beside the routes, and how long it is noticed."""


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
        if before.schemes.get(name) != after.schemes.get(name):
            yield _both(f"scheme {name} is another one")
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
    if before.upstreams[was.upstream].paths != after.upstreams[becomes.upstream].paths:
        yield _both("its upstream reads paths in another way")


def compare_settings(before: Config, after: Config) -> Iterator[Verdict]:
    """Yield what concerns every route: whom the gate believes where a request comes from."""
    old, new = before.server, after.server
    yield from _set("server.trusted_proxies", old.trusted_proxies, new.trusted_proxies)
    for name in SETTINGS:
        if getattr(old, name) != getattr(new, name):
            yield _both(f"server.{name} is changed")
    for name in ("client_ca", "client_certificate"):
        if (old.tls and getattr(old.tls, name)) != (new.tls and getattr(new.tls, name)):
            yield _both(f"server.tls.{name} is changed")
    for name in SECTIONS:
        if getattr(before, name) != getattr(after, name):
            yield _both(f"{name} is changed")


def leads_elsewhere(before: Config, was: RouteConfig, after: Config, becomes: RouteConfig) -> bool:
    """Tell whether requests reach another application, or another place in it."""
    old, new = before.upstreams[was.upstream], after.upstreams[becomes.upstream]
    if was.strip_prefix != becomes.strip_prefix:
        return True
    return any(getattr(old, name) != getattr(new, name) for name in ELSEWHERE)


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
