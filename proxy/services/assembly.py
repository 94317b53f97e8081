"""A gate put together from its parts: the one place where a configuration becomes a `Gate`.

The parts differ (real schemes or stand-ins, connected stores or none); what is made of them does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from proxy.adapters.upstreams import Upstream
from proxy.config.models import Config
from proxy.core.forwarding import ForwardingPolicy
from proxy.core.headers import HeaderRules
from proxy.core.routing import Router
from proxy.services import compile as compiling
from proxy.services.gate import Gate, Payload
from proxy.services.route import ProviderToken
from proxy.services.routes import Minter, build_router
from proxy.services.schemes.port import Scheme


@dataclass(frozen=True, slots=True)
class Assembly:
    """A gate, and what reads and writes the forwarding headers around it."""

    gate: Gate
    forwarding: ForwardingPolicy
    router: Router[Payload]
    rules: HeaderRules
    gate_id: str


def assemble(
    config: Config,
    schemes: Mapping[str, Scheme],
    upstreams: Mapping[str, Upstream],
    *,
    minter: Minter | None,
    published: Callable[[], bytes],
    gate_id: str,
    provider_token: ProviderToken | None = None,
) -> Assembly:
    """Return the gate of `config` over these schemes and upstreams.

    `minter` signs the assertions of the routes that want them, `published` gives the key set,
    `provider_token` the access tokens of the providers that people signed in with.
    """
    rules = HeaderRules(compiling.identity_names(config))
    forwarding = ForwardingPolicy(config.server.trusted_proxies, config.server.forwarded)
    router = build_router(config, schemes, upstreams, rules, minter, published, provider_token)
    gate = Gate(router=router, rules=rules, forwarding=forwarding, gate_id=gate_id)
    return Assembly(gate, forwarding, router, rules, gate_id)
