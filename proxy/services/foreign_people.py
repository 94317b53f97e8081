"""People whom applications name: where the gate keeps what it knows of them, apart from its own (K6).

An application may call somebody as the gate calls another person. What never belongs here: sessions.
"""

from __future__ import annotations

from proxy.adapters.store import Store
from proxy.config.models import Config
from proxy.services.keyrings import open_box
from proxy.services.otp import OneTimePasswords


def foreign_prefix(config: Config) -> str:
    """Return what the keys begin with that are about such people."""
    return f"{config.store.prefix}foreign:"


def open_foreign_otp(config: Config, store: Store) -> OneTimePasswords:
    """Return their one-time passwords, asked by `core.session_factors.person_of`.

    Raises `SecretsError`.
    """
    return OneTimePasswords(
        store, open_box(config), prefix=foreign_prefix(config), issuer=config.branding.name
    )
