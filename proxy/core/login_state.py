"""What a browser keeps between leaving for a provider and coming back.

It is one sealed cookie for each attempt, in one of five places, for ten minutes. The places keep
them from piling up: however many logins are begun at once, there are five names, and a new attempt
takes a free one or that of the oldest. What never belongs here: sealing, chance, the clock.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from proxy.core.compact import encode_segment, to_json
from proxy.core.strict_json import loads_object
from proxy.model import Header

SLOTS: Final = 5
LIFE_S: Final = 600.0
SKEW_S: Final = 60.0
"""How far ahead of this host's clock an attempt may have been begun on another host."""
SECRET_BYTES: Final = 32
MAX_COOKIE_BYTES: Final = 4096
"""Name, value and attributes: what browsers are sure to keep (RFC 6265 §6.1)."""
MAX_TOTAL_BYTES: Final = 6 * 1024
"""Of all attempts of one browser: other servers take 8 KiB of cookies and no more."""

_STATE: Final = re.compile(r"([0-4])\.[A-Za-z0-9_-]{43}")
_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Attempt:
    """One login that is under way. Its three public values come from one secret."""

    slot: int
    provider: str
    secret: str = field(repr=False)
    """256 random bits in base64url."""
    begun_at: float
    """Epoch seconds."""
    redirect_uri: str
    next: str
    """Where to go afterwards; checked when it was put in, and again at use (S4)."""
    is_fresh: bool = False
    """True: the provider was asked to make the person prove again who they are."""

    @property
    def state(self) -> str:
        """The `state` of the authorization request; it begins with the attempt's place."""
        return f"{self.slot}.{self._derived('state')}"

    @property
    def nonce(self) -> str:
        """The `nonce` that the ID token has to repeat."""
        return self._derived("nonce")

    @property
    def verifier(self) -> str:
        """The PKCE verifier: 43 characters, as RFC 7636 §4.1 asks at least."""
        return self._derived("verifier")

    def is_alive(self, now: float) -> bool:
        """Tell whether the attempt may still be finished."""
        return -SKEW_S <= now - self.begun_at < LIFE_S

    def is_answered_by(self, state: str) -> bool:
        """Tell whether `state` is this attempt's, in constant time."""
        return hmac.compare_digest(state.encode("utf-8", "surrogatepass"), self.state.encode())

    def encode(self) -> bytes:
        """Return what is sealed into the cookie."""
        return to_json(
            {
                "v": _VERSION,
                "p": self.provider,
                "s": self.secret,
                "t": self.begun_at,
                "r": self.redirect_uri,
                "n": self.next,
                "f": self.is_fresh,
            }
        )

    @classmethod
    def decode(cls, raw: bytes, slot: int) -> Attempt:
        """Read `encode`'s record; raises `ValueError` for anything else."""
        members = loads_object(raw, max_bytes=MAX_COOKIE_BYTES)
        match members:
            case {
                "v": 1,
                "p": str(provider),
                "s": str(secret),
                "t": int() | float() as begun_at,
                "r": str(redirect_uri),
                "n": str(next_),
                "f": bool(is_fresh),
            }:
                return cls(slot, provider, secret, begun_at, redirect_uri, next_, is_fresh)
        raise ValueError("not a login state of version 1")

    def _derived(self, purpose: str) -> str:
        mac = hmac.new(self.secret.encode(), purpose.encode(), sha256)
        return encode_segment(mac.digest()).decode()


def cookie_name(slot: int, *, is_secure: bool) -> str:
    """Return the name of one place; `__Host-` but for plain http on this machine (S5)."""
    return f"{'__Host-' if is_secure else ''}latchgate-login-{slot}"


def cookie_names() -> tuple[str, ...]:
    """Return every name that login state may have: no upstream sets or sees these (H6, H7)."""
    return tuple(cookie_name(slot, is_secure=secure) for secure in (True, False)
                 for slot in range(SLOTS))  # fmt: skip


def slot_of(state: str) -> int | None:
    """Return the place of the attempt that `state` belongs to; `None` where it can be none of ours."""
    match = _STATE.fullmatch(state)
    return int(match[1]) if match is not None else None


def set_cookie(slot: int, value: str, *, is_secure: bool) -> Header:
    """Return the header that keeps an attempt. `Lax`: the provider leads back by a navigation."""
    name = cookie_name(slot, is_secure=is_secure)
    text = f"{name}={value}; Path=/; Max-Age={int(LIFE_S)}; HttpOnly; SameSite=Lax"
    return b"Set-Cookie", (text + ("; Secure" if is_secure else "")).encode("ascii")


def expire_cookie(slot: int, *, is_secure: bool) -> Header:
    """Return the header that forgets an attempt."""
    name = cookie_name(slot, is_secure=is_secure)
    text = f"{name}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax"
    return b"Set-Cookie", (text + ("; Secure" if is_secure else "")).encode("ascii")


def choose_slot(attempts: Mapping[int, Attempt], chance: int) -> int:
    """Return the place for a new attempt: a free one, else that of the oldest.

    `chance` picks among the free ones, so that logins begun at the same moment, which do not know
    of each other, rarely meet.
    """
    free = [slot for slot in range(SLOTS) if slot not in attempts]
    if free:
        return free[chance % len(free)]
    return min(attempts, key=lambda slot: attempts[slot].begun_at)


def surplus(attempts: Mapping[int, Attempt], sizes: Mapping[int, int], taken: int) -> list[int]:
    """Return the places to give up, oldest first, so that all cookies stay in `MAX_TOTAL_BYTES`.

    `sizes` are bytes by place, that of the new attempt at `taken` among them.
    """
    total = sum(sizes.values())
    given_up = []
    for slot in sorted(attempts, key=lambda slot: attempts[slot].begun_at):
        if total <= MAX_TOTAL_BYTES:
            break
        if slot != taken:
            total -= sizes.get(slot, 0)
            given_up.append(slot)
    return given_up
