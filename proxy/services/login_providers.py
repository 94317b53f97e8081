"""From `login.providers` of the configuration to what logs people in with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from proxy.adapters.keys import KeySource
from proxy.adapters.oidc import ProviderClient
from proxy.adapters.store.port import Store
from proxy.config.models import Config
from proxy.errors import KeysUnavailable, StoreUnavailable
from proxy.services.beginning import login_keys
from proxy.services.keyrings import open_box
from proxy.services.oidc_login import OidcLogin
from proxy.services.openid_provider import OpenIdProvider
from proxy.services.schemes.build import open_login_sessions


def open_oidc_login(
    config: Config,
    store: Store | None,
    key_sources: Mapping[str, KeySource],
    clock: Callable[[], float],
) -> OidcLogin | None:
    """Return the logins with providers, nothing asked yet; `None` where there are no providers.

    Raises `KeysUnavailable` where nobody fetches a provider's keys, and `SecretsError`.
    """
    if config.login is None or not config.login.providers:
        return None
    if store is None:
        raise StoreUnavailable("people cannot sign in without sessions of the gate's own")
    client = ProviderClient()
    providers: dict[str, OpenIdProvider] = {}
    for name, provider in config.login.providers.items():
        keys = key_sources.get(login_keys(name))
        if keys is None:
            raise KeysUnavailable(f"nobody fetches the keys of login provider {name}")
        providers[name] = OpenIdProvider(name, provider, keys, client)
    return OidcLogin(
        providers,
        client,
        store,
        open_box(config),
        prefix=config.store.prefix,
        end_session=open_login_sessions(config, store).revoke,
        clock=clock,
    )
