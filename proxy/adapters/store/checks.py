"""What `check` says about the stores of a configuration before anything is started."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from proxy.adapters.store.address import StoreMisconfigured, address_of
from proxy.adapters.store.opening import open_store
from proxy.adapters.store.private_directory import PrivateDirectory
from proxy.config.models import Config
from proxy.config.store_url import StoreUrl
from proxy.errors import Problem


def check_stores(config: Config) -> Iterator[Problem]:
    """Find what is wrong with the stores' directories, socket paths and TLS files.

    Reads the file system; opens no connection and changes nothing.
    """
    if (message := _problem(config.store.url)) is not None:
        yield Problem(("store", "url"), message)
    for name, scheme in config.schemes.items():
        url = getattr(scheme, "store", None)  # jwt schemes have no store of their own
        if isinstance(url, StoreUrl) and (message := _problem(url)) is not None:
            yield Problem(("schemes", name, "store"), message)


def _problem(url: StoreUrl) -> str | None:
    if url.kind == "embedded":
        return PrivateDirectory(url.path or Path()).problem()
    try:
        open_store(address_of(url), timeout_s=1.0)
    except StoreMisconfigured as error:
        return error.detail
    return None
