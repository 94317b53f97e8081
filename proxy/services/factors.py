"""What of the second factor a configuration switches on, put together from its parts."""

from __future__ import annotations

from proxy.adapters.store import Store
from proxy.config.models import Config
from proxy.services.keyrings import can_keep_secrets, open_box
from proxy.services.login import LoginService
from proxy.services.otp import OneTimePasswords
from proxy.services.second_step import SecondStep
from proxy.services.sessions import Follow
from proxy.services.step_up import StepUp


def open_otp(config: Config, store: Store) -> OneTimePasswords | None:
    """Return the one-time passwords of `config`; `None` where nothing could be sealed.

    Raises `SecretsError`.
    """
    if not can_keep_secrets(config):
        return None
    return OneTimePasswords(
        store, open_box(config), prefix=config.store.prefix, issuer=config.branding.name
    )


def open_second_step(
    config: Config, store: Store, otp: OneTimePasswords | None
) -> SecondStep | None:
    """Return what a sign-in wants after the password; `None` where it wants nothing of anybody."""
    if otp is None or config.login is None:
        return None
    return SecondStep(store, otp, prefix=config.store.prefix, at_login=config.login.otp.at_login)


def open_step_up(
    service: LoginService, otp: OneTimePasswords | None, follow: Follow | None
) -> StepUp:
    """Return what asks the people who sign in by `service` for a factor again.

    `follow` takes along what is kept beside a session when it gets a new id.
    """
    return StepUp(
        sessions=service.sessions,
        attempts=service.attempts,
        otp=otp,
        users=service.users,
        bind=service.bind,
        follow=follow,
    )
