"""What a configuration takes over of the one before it: upstreams, and what is open (R7).

A tunnel may outlive many. Whether the credential is good under the new one is decided again by whoever watches it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from proxy.adapters.upstreams import OwnAddress, Upstream, UpstreamSettings
from proxy.config.models import Config
from proxy.model import Refusal
from proxy.services.authenticate import Held
from proxy.services.decision import Forward
from proxy.services.gate import Gate


def open_upstreams(
    config: Config, own_addresses: frozenset[OwnAddress], before: Mapping[str, Upstream]
) -> dict[str, Upstream]:
    """Return the upstreams of `config`: those of `before` whose settings are the same, else new ones.

    With an upstream its connections live on, and what is known of its servers' health. Raises OSError
    and ssl.SSLError for unusable TLS files.
    """
    upstreams = {}
    for name, upstream in config.upstreams.items():
        settings = UpstreamSettings.from_config(name, upstream, own_addresses)
        found = before.get(name)
        is_same = found is not None and found.settings == settings
        upstreams[name] = found if found is not None and is_same else Upstream(settings)
    return upstreams


def renewed(
    gate: Gate, decision: Forward, now: float, *, is_trust_gone: bool = False
) -> Forward | Refusal:
    """Return the decision as `gate` would have it, or why it lets nobody in there any more.

    The credentials are those that opened the old route; each has to be one that opens the new one.
    `is_trust_gone`: an authority is not believed any more, and nobody knows which certificates it made.
    """
    route = None if decision.asked is None else gate.route_again(*decision.asked)
    if route is None:
        return Refusal("route_not_found", "its route is gone")
    told = replace(decision, route=route, reported=None, may_be_stale=False)
    if not route.schemes:
        return replace(told, held=())
    schemes = {scheme.name: scheme for scheme in route.schemes}
    held = []
    refusal = None if decision.held else Refusal("credential_missing", "its route is guarded now")
    for one in decision.held:
        scheme = schemes.get(one.scheme.name)
        if scheme is None or one.found.place not in scheme.places:
            refusal = Refusal("credential_missing", f"{one.scheme.name} opens its route no more")
            break
        if is_trust_gone and one.found.place.kind == "certificate":
            refusal = Refusal("certificate_invalid", "an authority is not believed any more")
            break
        held.append(Held(scheme, one.found))
    if refusal is None:
        is_bridged = decision.may_be_stale and route.may_be_stale
        return replace(told, held=tuple(held), may_be_stale=is_bridged)
    if route.reports(now):
        return replace(told, held=(), reported=refusal)
    return refusal
