"""Who may sign in with a name and a password: the people of `login.users`.

A name that is not there costs what one that is costs. What never belongs here: sessions, pages, and
how often somebody may try.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from proxy.adapters.passwords import Passwords, Place, is_weaker
from proxy.adapters.tasks import spawn
from proxy.adapters.users_file import WatchedUsers, edit_users
from proxy.config.user_models import PasswordHash, UserConfig, UsersFile, normal_name
from proxy.core.revocation import digest
from proxy.errors import ConfigErrors, LoginBusy, StoreUnavailable
from proxy.services.stand_ins import StandIns

LOOK_EVERY_S: Final = 1.0
"""How long a change of the file may go unnoticed."""

GONE: Final = "gone"
"""What somebody has become who is no longer in the file."""

OnChange = Callable[[Mapping[str, str]], Awaitable[None]]
"""Told which subjects are no longer what their sessions say, and what they have become. Raises
`StoreUnavailable`; then it is called again."""

_log = logging.getLogger("latchgate.users")


@dataclass(frozen=True, slots=True)
class User:
    """One person of the file."""

    subject: str
    email: str | None
    name: str | None
    roles: tuple[str, ...]
    scopes: tuple[str, ...]
    is_disabled: bool


class Users:
    """The people of one file, as it was when it was last good."""

    def __init__(self, file: WatchedUsers, passwords: Passwords) -> None:
        self._file = file
        self._passwords = passwords
        self._entries: Mapping[str, UserConfig] = {}
        self._stand_ins = StandIns([])
        self._pending: dict[str, str] = {}
        self._reading = asyncio.Lock()

    def place(self, network: str | None) -> Place:
        """Return a place among the passwords that wait to be checked, of a share that `network` has.

        It is taken before the attempt is counted: what is not looked at costs nobody a try. Raises
        `LoginBusy`.
        """
        return self._passwords.place(network)

    @property
    def file(self) -> Path:
        """Where they stand."""
        return self._file.path

    async def close(self) -> None:
        """End the process that checks passwords."""
        await self._passwords.close()

    def find(self, name: str) -> User | None:
        """Return the person who signs in with `name`, disabled or not."""
        entry = self._entries.get(normal_name(name))
        return None if entry is None else _user(normal_name(name), entry)

    async def known(self, name: str) -> User | None:
        """Return the person who signs in with `name`, as the file says it now."""
        await self.refresh()
        return self.find(name)

    def name_of(self, subject: str) -> str | None:
        """Return the name that `subject` signs in with; `None` where nobody of the file is that."""
        for name, entry in self._entries.items():
            if _subject(name, entry) == subject:
                return name
        return None

    def become(self, name: str) -> str:
        """Return what the person who signs in with `name` is, as the file was last read (`changes`)."""
        entry = self._entries.get(normal_name(name))
        return GONE if entry is None else become(entry)

    async def verify(self, name: str, password: str, place: Place) -> User | None:
        """Return whose name and password these are; `None` for every reason that they are nobody's.

        A name that is not there, and one that is disabled, takes as long. `place` is used up.
        """
        name = normal_name(name)
        await self.refresh()  # a password that was changed a moment ago opens nothing any more
        entry = self._entries.get(name)
        known = self._stand_ins.of(name) if entry is None else entry.password
        is_right = await self._passwords.verify(known, password, place)
        await self.refresh()
        now = self._entries.get(name)  # as it is after the wait
        if entry is None or now is None or not is_right or now.disabled:
            return None
        if now.password != entry.password:
            return None
        if is_weaker(known.cost):
            spawn(self._rehash(name, known, password, place.network), name="password hashed anew")
        return _user(name, now)

    def load(self) -> None:
        """Read the file for the first time; what is wrong with it is said in the log."""
        try:
            self._take(self._file.changed())
        except ConfigErrors as errors:
            _log.error("nobody can sign in with a password: %s", errors)

    async def refresh(self) -> None:
        """Read the file again if it has changed, and remember whose sessions that concerns.

        Reading takes a millisecond for every three people, so it is done beside the requests.
        """
        if self._file.is_changed() or self._reading.locked():  # nobody goes on with the old ones
            async with self._reading:
                await asyncio.to_thread(self._read_again)

    def _read_again(self) -> None:
        try:
            users = self._file.changed()
        except ConfigErrors as errors:
            _log.error("the users stay as they were: %s", errors)
            return
        if users is None:
            return
        before = self._entries
        self._take(users)
        self._pending.update(changes(before, self._entries))
        _log.info("the users were read again: there are %d", len(self._entries))

    async def run(self, on_change: OnChange) -> None:
        """Look each second until cancelled, and tell what has changed."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await self.look_and_tell(on_change)

    async def look_and_tell(self, on_change: OnChange) -> None:
        """Look once; what could not be told in an outage is told the next time."""
        await self.refresh()
        told = dict(self._pending)
        if not told:
            return
        with contextlib.suppress(StoreUnavailable):
            await on_change(told)
            for subject, become in told.items():
                if self._pending.get(subject) == become:
                    del self._pending[subject]

    def _take(self, users: UsersFile | None) -> None:
        if users is None:
            return
        self._entries = users.users
        self._stand_ins = StandIns(entry.password for entry in users.users.values())

    async def _rehash(
        self, name: str, known: PasswordHash, password: str, network: str | None
    ) -> None:
        """Hash a password that was right at today's cost, if the file may be written."""
        with contextlib.suppress(LoginBusy), self.place(network) as place:
            new = await self._passwords.rehash(known, password, place)

            def change(users: dict[str, Any]) -> bool:
                if users.get(name, {}).get("password") != known.text:
                    return False
                users[name]["password"] = new.text
                return True

            with contextlib.suppress(OSError, ConfigErrors):
                await asyncio.to_thread(edit_users, self._file.path, change)


def changes(before: Mapping[str, UserConfig], after: Mapping[str, UserConfig]) -> dict[str, str]:
    """Return the subjects whose sessions and tokens no longer say what is so (security.md, R6).

    Gone, disabled, another password or other rights; each with what it has become, as `become` says.
    A password that was only hashed anew keeps its salt, and whoever is new has no sessions.
    """
    left = {_subject(name, entry): become(entry) for name, entry in after.items()}
    return {
        subject: left.get(subject, GONE)
        for name, entry in before.items()
        if left.get(subject := _subject(name, entry), GONE) != become(entry)
    }


def become(entry: UserConfig) -> str:
    """Return a digest of all that a session may rest on; it tells nothing of the password."""
    rights = [*sorted(entry.roles), "", *sorted(entry.scopes)]
    return digest(str(entry.disabled), entry.password.salt, *rights)


def _subject(name: str, entry: UserConfig) -> str:
    return entry.subject or name


def _user(name: str, entry: UserConfig) -> User:
    return User(
        subject=_subject(name, entry),
        email=entry.email,
        name=entry.name,
        roles=tuple(entry.roles),
        scopes=tuple(entry.scopes),
        is_disabled=entry.disabled,
    )
