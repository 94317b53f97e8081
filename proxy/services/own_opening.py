"""From a configuration with `login:` to what the gate's own endpoints work with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from proxy.adapters.passwords import Passwords
from proxy.adapters.store import Store
from proxy.adapters.tasks import spawn
from proxy.adapters.users_file import WatchedUsers
from proxy.config.models import Config
from proxy.core.destination import Destinations
from proxy.errors import StoreUnavailable
from proxy.services.administration import Administration
from proxy.services.attempts import Attempts
from proxy.services.audit import Audit, Event
from proxy.services.factors import open_otp, open_second_step, open_step_up
from proxy.services.issuing import open_family_records
from proxy.services.login import LoginService
from proxy.services.oidc_login import OidcLogin
from proxy.services.own import OwnServices, PortalSettings
from proxy.services.schemes.build import open_login_sessions, open_subjects
from proxy.services.schemes.port import Scheme
from proxy.services.users import Users
from proxy.services.visitors import Visitors


def open_own_services(
    config: Config,
    schemes: Mapping[str, Scheme],
    store: Store | None,
    destinations: Destinations,
    audit: Audit,
    oidc: OidcLogin | None,
    before: OwnServices | None = None,
) -> OwnServices | None:
    """Return what the endpoints work with; `None` where there are none. `close` ends it.

    `before`: of the configuration before it, whose users go on where their file is the same: what
    has changed in it meanwhile is not missed (R6).
    """
    login = config.login
    if login is None:
        return None
    if store is None:
        raise StoreUnavailable("the gate's own endpoints need a store, and none was opened")
    users = None
    if login.users is not None:
        users = None if before is None else before.login.users
        if users is None or users.file != login.users.file:
            users = Users(WatchedUsers(login.users.file), Passwords())
            users.load()
    otp = open_otp(config, store)
    second_step = open_second_step(config, store, otp)
    service = LoginService(
        users=users,
        attempts=Attempts(store, prefix=config.store.prefix),
        sessions=open_login_sessions(config, store),
        subjects=open_subjects(config, store),
        remember_s=login.sessions.remember,
        bind=login.sessions.bind,
        second_factor=second_step,
    )
    return OwnServices(
        visitors=Visitors(schemes[login.scheme]),
        login=service,
        destinations=destinations,
        step_up=open_step_up(service, otp, None if oidc is None else oidc.move),
        second_step=second_step,
        settings=PortalSettings.from_config(config),
        administration=Administration(service.sessions, audit, open_family_records(config, store)),
        administrators=frozenset(login.administrators.roles if login.administrators else ()),
        audit=audit,
        oidc=oidc,
    )


def watch_users(own: OwnServices, clock: Callable[[], float]) -> list[asyncio.Task[None]]:
    """Begin to look for changes of the users' file, each of which reaches live sessions (R6)."""
    users, subjects = own.login.users, own.login.subjects
    if users is None:
        return []

    async def seen(changes: Mapping[str, str]) -> None:
        now = clock()
        async for subject, ended in subjects.end_changed(changes, now, file=users.file):
            detail = f"in the file of users: {ended} ended"
            own.audit.note(Event("user_changed", subject, detail=detail), now)

    return [spawn(users.run(seen), name="users")]
