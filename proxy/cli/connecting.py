"""Trying what a configuration points to: stores, key providers, upstreams. For `check --connect`."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from proxy.adapters.jwks import FetchFailed, fetch_jwks
from proxy.adapters.oidc import ProviderClient
from proxy.adapters.store import StoreAddress, address_of, open_gate_store, open_store
from proxy.adapters.store.private_directory import PrivateDirectory
from proxy.adapters.store.trial import SessionRead, try_store
from proxy.adapters.upstreams.settings import tls_context
from proxy.cli.collector_trial import try_collector
from proxy.cli.upstream_trial import speaks_tls
from proxy.config.addresses import UpstreamServer
from proxy.config.models import Config, SessionSchemeConfig, TracingConfig, UpstreamConfig
from proxy.config.store_url import StoreUrl
from proxy.core.keyset import KeySet, KeySetInvalid
from proxy.errors import ProviderInvalid, ProviderUnavailable, StoreUnavailable
from proxy.run.backing import store_prefixes
from proxy.run.providers import KeyPlan, key_plans

FETCH_TIMEOUT_S: Final = 5.0
_UNTRUSTED: Final = range(18, 22)
"""Self-signed, or of an authority that is not known (OpenSSL's x509_vfy.h)."""
_MISNAMED: Final = (62, 64)
"""Made out to another name or address."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of one attempt."""

    kind: Literal["store", "keys", "provider", "collector", "upstream"]
    name: str
    is_good: bool
    text: str


async def connect_all(config: Config) -> list[Finding]:
    """Try everything at once, each within its own timeout."""
    tries = [_try_store(config, url, prefix) for url, prefix in store_prefixes(config).items()]
    tries += [_try_keys(name, plan) for name, plan in key_plans(config)]
    providers = config.login.providers if config.login is not None else {}
    tries += [_try_provider(name, provider.issuer) for name, provider in providers.items()]
    if config.tracing is not None:
        tries.append(_try_collector(config.tracing))
    others, upstreams = await asyncio.gather(asyncio.gather(*tries), connect_upstreams(config))
    return [*others, *upstreams]


async def connect_upstreams(config: Config) -> list[Finding]:
    """Try every server of every upstream at once."""
    return await asyncio.gather(
        *(
            _try_upstream(name, upstream, server)
            for name, upstream in config.upstreams.items()
            for server in upstream.servers
        )
    )


async def _try_store(config: Config, url: StoreUrl, prefix: str) -> Finding:
    """Make a round trip to a store; `prefix` is that of the keys that the gate reads there."""
    address: StoreAddress | None
    if url.kind == "embedded" and url.path is not None:
        address = PrivateDirectory(url.path).read_endpoint()
    else:
        address = address_of(url)
    if address is None:
        return _not_running(url)
    is_own = url == config.store.url
    store = (
        open_gate_store(address, config.store)
        if is_own
        else open_store(
            address,
            timeout_s=config.store.timeout,
            max_staleness_s=config.store.max_staleness,
        )
    )
    try:
        sessions = list(_sessions_in(config, url))
        trial = await try_store(store, config.store, prefix, is_own=is_own, sessions=sessions)
    except StoreUnavailable as error:
        if url.kind == "embedded":
            return _not_running(url)
        return Finding("store", str(url), is_good=False, text=error.detail)
    finally:
        await store.close()
    if trial.problem is None:
        return Finding("store", str(url), is_good=True, text=trial.text)
    return Finding("store", str(url), is_good=False, text=f"{trial.text}: {trial.problem}")


def _sessions_in(config: Config, url: StoreUrl) -> Iterator[SessionRead]:
    """Yield how the sessions of applications are read that are in the store at `url`."""
    for scheme in config.schemes.values():
        if not isinstance(scheme, SessionSchemeConfig) or scheme.format == "native":
            continue
        if url == (scheme.store or config.store.url):
            yield SessionRead(scheme.prefix, is_hash=scheme.format == "spring")


def _not_running(url: StoreUrl) -> Finding:
    return Finding("store", str(url), is_good=True, text="not running; serve starts it")


async def _try_collector(tracing: TracingConfig) -> Finding:
    """Send a collector of traces a batch without spans."""
    is_good, text = await try_collector(tracing)
    return Finding("collector", tracing.endpoint, is_good=is_good, text=text)


async def _try_provider(name: str, issuer: str) -> Finding:
    """Ask a provider with which people sign in what it is."""
    client = ProviderClient()
    try:
        await client.metadata(issuer)
    except (ProviderUnavailable, ProviderInvalid) as error:
        return Finding("provider", name, is_good=False, text=error.detail)
    finally:
        await client.close()
    return Finding("provider", name, is_good=True, text="is an OpenID provider")


async def _try_keys(name: str, plan: KeyPlan) -> Finding:
    try:
        document = await fetch_jwks(plan.provider, timeout_s=FETCH_TIMEOUT_S)
        keys = KeySet.from_jwks(document, algorithms=plan.algorithms)
    except (FetchFailed, KeySetInvalid) as error:
        return Finding("keys", name, is_good=False, text=str(error))
    if not keys:
        return Finding("keys", name, is_good=False, text="no key that can be used is published")
    return Finding("keys", name, is_good=True, text="can be fetched")


def _remedy(name: str, code: int) -> str:
    """Return which key makes a server's certificate good, by OpenSSL's X509_V_ERR code; nothing where none does."""
    if code in _UNTRUSTED:
        return f": `upstreams.{name}.tls.ca` names its authority, or itself"
    return f": see `upstreams.{name}.tls.server_name`" if code in _MISNAMED else ""


async def _try_upstream(name: str, upstream: UpstreamConfig, server: UpstreamServer) -> Finding:
    label = f"{name} {server}"
    tls = tls_context(upstream.tls) if server.scheme == "https" else None
    try:
        async with asyncio.timeout(upstream.timeouts.connect):
            if server.path is not None:
                reader, writer = await asyncio.open_unix_connection(str(server.path))
            else:
                reader, writer = await asyncio.open_connection(
                    server.host,
                    server.port,
                    ssl=tls,
                    server_hostname=upstream.tls.server_name if tls is not None else None,
                )
    except TimeoutError:
        return Finding("upstream", label, is_good=False, text="no connection in time")
    except ssl.SSLCertVerificationError as error:
        text = f"{error.verify_message.rstrip('.')}{_remedy(name, error.verify_code)}"
        return Finding("upstream", label, is_good=False, text=text)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        return Finding("upstream", label, is_good=False, text=reason)
    wants_tls = False
    if server.scheme == "http":
        with contextlib.suppress(TimeoutError):  # an application may be slow to answer
            async with asyncio.timeout(upstream.timeouts.connect):
                wants_tls = await speaks_tls(server.host, server.port, reader, writer)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    if wants_tls:
        return Finding("upstream", label, is_good=False, text="speaks TLS: write https://")
    return Finding("upstream", label, is_good=True, text="accepts connections")
