"""What of the second factor a configuration switches on, put together from its parts."""

from __future__ import annotations

from proxy.adapters.store import Store
from proxy.config.models import Config
from proxy.core.binding import Binding, bind
from proxy.services.attempts import Attempts
from proxy.services.keyrings import can_keep_secrets, open_box
from proxy.services.otp import OneTimePasswords
from proxy.services.schemes.build import open_login_sessions
from proxy.services.step_up import Bind, StepUp
from proxy.services.users import Users


def open_otp(config: Config, store: Store) -> OneTimePasswords | None:
    """Return the one-time passwords of `config`; `None` where nothing could be sealed.

    Raises `SecretsError`.
    """
    if not can_keep_secrets(config):
        return None
    return OneTimePasswords(
        store, open_box(config), prefix=config.store.prefix, issuer=config.branding.name
    )


def open_step_up(
    config: Config, store: Store, otp: OneTimePasswords | None, users: Users | None
) -> StepUp:
    """Return what asks the people of `login:` for a factor again."""
    return StepUp(
        sessions=open_login_sessions(config, store),
        attempts=Attempts(store, prefix=config.store.prefix),
        otp=otp,
        users=users,
        bind=binder(config),
    )


def binder(config: Config) -> Bind:
    """Return what says what a session is bound to where `login.sessions.bind` wants it."""
    wanted = None if config.login is None else config.login.sessions.bind

    def bound(address: str | None, agent: bytes | None) -> Binding | None:
        if wanted is None:
            return None
        return bind(address, agent, bits=wanted.bits, has_agent=wanted.agent)

    return bound
