"""A gate put together from its parts: the one place where a configuration becomes a `Gate`.

The parts differ (real schemes or stand-ins, connected stores or none); what is made of them does not.
"""

from __future__ import annotations

from dataclasses import dataclass

from proxy.config.models import Config
from proxy.core.destination import Destinations
from proxy.core.forwarding import ForwardingPolicy
from proxy.core.headers import HeaderRules
from proxy.core.routing import Router
from proxy.services import compile as compiling
from proxy.services.asked import Payload
from proxy.services.gate import Gate
from proxy.services.routes import Parts, build_router
from proxy.services.sign_in import SignIn, leads_to


@dataclass(frozen=True, slots=True)
class Assembly:
    """A gate, and what reads and writes the forwarding headers around it."""

    gate: Gate
    forwarding: ForwardingPolicy
    router: Router[Payload]
    rules: HeaderRules
    gate_id: str
    destinations: Destinations
    """Where a browser may be sent on to."""


def assemble(config: Config, parts: Parts, gate_id: str) -> Assembly:
    """Return the gate of `config` made of `parts`."""
    rules = HeaderRules(compiling.identity_names(config))
    forwarding = ForwardingPolicy(config.server.trusted_proxies, config.server.forwarded)
    router = build_router(config, rules, parts)
    destinations = open_destinations(config, router)
    gate = Gate(
        router=router,
        rules=rules,
        forwarding=forwarding,
        gate_id=gate_id,
        sign_in=_open_sign_in(config, router, destinations),
    )
    return Assembly(gate, forwarding, router, rules, gate_id, destinations)


def open_destinations(config: Config, router: Router[Payload]) -> Destinations:
    """Return where a browser may be sent on to (S4)."""
    return Destinations(
        lambda host, path: leads_to(router, host, path),
        domain=None if config.login is None else config.login.cookie_domain,
        hosts=frozenset(
            route.match.host
            for route in config.routes
            if route.match.host is not None and "*" not in route.match.host
        ),
    )


def _open_sign_in(
    config: Config, router: Router[Payload], destinations: Destinations
) -> SignIn | None:
    login = config.login
    foreign = compiling.stepped_up_schemes(config)
    has_page = login is not None or bool(foreign)
    if not has_page and all(route.login_url is None for route in config.routes):
        return None
    host = None
    if login is not None and login.cookie_domain is not None and login.hosts is not None:
        host = next((name for name in login.hosts if "*" not in name), None)
    scheme = None if login is None else login.scheme
    return SignIn(router, destinations, compiling.own_path(config), host, scheme, foreign)
