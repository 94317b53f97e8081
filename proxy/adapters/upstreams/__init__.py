"""The client of the applications behind the gate: connections, pools, requests, tunnels."""

from proxy.adapters.upstreams.exchange import Exchange, TunnelEnd
from proxy.adapters.upstreams.request import RequestHead
from proxy.adapters.upstreams.response import ResponseHead
from proxy.adapters.upstreams.server import Server
from proxy.adapters.upstreams.settings import OwnAddress, UpstreamSettings
from proxy.adapters.upstreams.upstream import Upstream

__all__ = [
    "Exchange",
    "OwnAddress",
    "RequestHead",
    "ResponseHead",
    "Server",
    "TunnelEnd",
    "Upstream",
    "UpstreamSettings",
]
