"""What the token endpoint needs to know of people: passwords, one-time codes, and counted guesses.

What never belongs here: the checks themselves, which are those of the sign-in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from proxy.adapters.passwords import Place


class Person(Protocol):
    """Whom a name and password belong to."""

    @property
    def subject(self) -> str:
        """Who it is, for good."""
        ...

    @property
    def email(self) -> str | None:
        """Their address."""
        ...

    @property
    def name(self) -> str | None:
        """The name to show."""
        ...

    @property
    def roles(self) -> tuple[str, ...]:
        """Their roles."""
        ...

    @property
    def scopes(self) -> tuple[str, ...]:
        """Their scopes."""
        ...

    @property
    def is_disabled(self) -> bool:
        """True where they may not sign in."""
        ...


class People(Protocol):
    """Checks names and passwords."""

    def place(self, network: str | None) -> Place:
        """Return a place among the passwords that wait. Raises `LoginBusy`."""
        ...

    async def known(self, name: str) -> Person | None:
        """Return who signs in with `name`, disabled or not."""
        ...

    def name_of(self, subject: str) -> str | None:
        """Return the name that `subject` signs in with; `None` for somebody without a password."""
        ...

    async def verify(self, name: str, password: str, place: Place) -> Person | None:
        """Return whose they are, `None` for nobody's; takes the same time for an unknown name."""
        ...


class Attempts(Protocol):
    """Counts guesses before they are made (S8)."""

    async def take(
        self, account: str, network: str | None, now: float, *, is_second: bool = False
    ) -> float:
        """Count an attempt and return the seconds to wait: 0.0 lets it be made.

        `is_second`: it is the code of a request whose password was let through and right.
        """
        ...

    async def clear(self, account: str, network: str | None) -> None:
        """Forget what was counted, after success."""
        ...


class OneTimeCodes(Protocol):
    """Checks one-time passwords and recovery codes."""

    async def is_enrolled(self, subject: str) -> bool:
        """Tell whether a code is asked of them."""
        ...

    async def check(self, subject: str, code: str, now: float) -> bool:
        """Tell whether it is a good code, which it is once."""
        ...


@dataclass(frozen=True, slots=True)
class Factors:
    """Who checks what people know and have; see the parts that log people in."""

    attempts: Attempts
    people: People | None = None
    """`None`: nobody has a password."""
    codes: OneTimeCodes | None = None
    """`None`: nobody has one-time passwords."""
    requires_code: bool = False
    """True where nobody signs in with a password alone (`login.otp.at_login: required`)."""

    def name_of(self, subject: str) -> str:
        """Return the account by which guesses at the factors of `subject` are counted (S8).

        It is that of the sign-in and the step-up: else there were tries for each way in.
        """
        return (None if self.people is None else self.people.name_of(subject)) or subject
