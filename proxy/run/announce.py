"""What the gate says about itself when it starts: pure text, for people who run it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from proxy import __version__
from proxy.config.models import Address, Config, RouteConfig, SessionSchemeConfig


def announce(
    config: Config,
    *,
    file: str,
    workers: int,
    addresses: Iterable[Address],
    health: Iterable[Address],
    admin: Iterable[Address] = (),
    decision: Iterable[Address] = (),
    has_store: bool,
) -> Iterator[str]:
    """Yield the lines to log at the start; the addresses are those that were bound."""
    count = "1 worker" if workers == 1 else f"{workers} workers"
    yield f"latchgate {__version__}: {file}, {count}"
    for address in addresses:
        yield f"listening on {_url(address, has_tls=config.server.tls is not None)}"
    for address in health:
        yield f"health on {_url(address, has_tls=False)}: /healthz /readyz /metrics"
    for address in admin:
        yield f"admin API on {_url(address, has_tls=False)}"
    for address in decision:
        yield f"decisions for other proxies on {_url(address, has_tls=False)}"
    yield f"store: {config.store.url}" if has_store else "store: none needed"
    for name, scheme in config.schemes.items():
        if isinstance(scheme, SessionSchemeConfig) and scheme.store is not None:
            yield f"sessions of scheme {name}: {scheme.store}"
    yield from public_lines(config)


def redirect_lines(addresses: Iterable[Address]) -> Iterator[str]:
    """Yield where clients are sent on to https."""
    for address in addresses:
        yield f"redirects to https on {_url(address, has_tls=False)}"


def public_lines(config: Config) -> Iterator[str]:
    """Yield which routes let anybody in: the first thing to know about a gate."""
    public = [route for route in config.routes if not route.auth]
    if not config.routes:
        yield "no routes: every request is answered with 404"
    elif not public:
        yield "no route is public"
    for route in public:
        yield f"public (auth: none): {describe_route(route)}"


def describe_route(route: RouteConfig) -> str:
    """Return `GET,POST shop.example.com/api/** -> shop`, and the name where it says more."""
    methods = ",".join(route.match.methods) if route.match.methods else "any method"
    match = f"{methods} {route.match.host or '*'}{route.match.path} -> {route.upstream}"
    is_named_by_match = route.name in match
    return match if is_named_by_match else f"{match} ({route.name})"


def _url(address: Address, *, has_tls: bool) -> str:
    if address.is_unix:
        return str(address)
    return f"{'https' if has_tls else 'http'}://{address}"
