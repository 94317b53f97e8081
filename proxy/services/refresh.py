"""Refresh tokens in the store: begun at a login, rotated at every use, ended (security.md, S9; R6).

One record for each family; what a token means is core.refresh's, and how families are found and ended
is services.family_records'. A use is one script that changes the
record only if it is still what was read, so that of two uses at once one rotates and the other finds
a spent token. The tokens themselves exist in answers alone: the store has digests, and for the grace
the last answer, sealed under a key that only the spent token gives.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from proxy.adapters.secrets import KEY_BYTES, SecretBox
from proxy.adapters.store.port import Argument, Script, Store
from proxy.core.compact import to_json
from proxy.core.refresh import (
    MAX_REPEATS,
    Family,
    Holder,
    Presented,
    RefreshToken,
    Spot,
    new_family,
    read_token,
    successor,
)
from proxy.errors import ProxyError, SecretsError, StoreUnavailable
from proxy.services.family_records import FamilyRecords, LoginBegun
from proxy.services.revocations import Revocations
from proxy.services.tokens import Grounds, MintedToken, RevokedMeanwhile, TokenIssuer

_ATTEMPTS: Final = MAX_REPEATS + 4
"""Each change that somebody else was faster with is a rotation, a repeat or the end: after so many
the family is over."""

# KEYS: the family, the answer to its spent token. ARGV: the record that was read, the new one, its
# life in ms, the sealed answer (empty: it stays), its life in ms. R6: a family that is gone, or
# that somebody else has changed, is left alone; the answer is then 0.
_CHANGE: Final = Script("""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
if ARGV[4] ~= '' then redis.call('SET', KEYS[2], ARGV[4], 'PX', ARGV[5]) end
return 1
""")


class GrantRefused(ProxyError):
    """What the client offers opens nothing (`invalid_grant`); the text is for the log only."""

    code = "token_invalid"


class Reused(GrantRefused):
    """A spent token was used again, or somebody else's: its family is over now (S9)."""

    def __init__(self, detail: str, subject: str) -> None:
        super().__init__(detail)
        self.subject = subject


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client is told once: members of RFC 6749 §5.1."""

    access_token: str = field(repr=False)
    token_type: str
    expires_in: int
    scope: str
    refresh_token: str | None = field(default=None, repr=False)
    subject: str = ""
    """For the log."""

    def members(self) -> dict[str, str | int]:
        """Return the members of the answer's JSON."""
        told = asdict(self)
        del told["subject"]
        return {name: value for name, value in told.items() if value is not None}


def answer_with(
    minted: MintedToken, refresh: RefreshToken | None, subject: str, jkt: str | None = None
) -> Answer:
    """Return the answer that tells of a new access token, and of the refresh token beside it."""
    return Answer(
        access_token=minted.token,
        token_type="Bearer" if jkt is None else "DPoP",
        expires_in=max(1, minted.expires_at - minted.issued_at),
        scope=minted.scope,
        refresh_token=None if refresh is None else refresh.text,
        subject=subject,
    )


Admit = Callable[[Family], Awaitable[Family]]
"""Lets a family be used, and returns it as it is then; raises where it may not be."""
Narrow = Callable[[Sequence[str]], tuple[str, ...]]
"""From the scopes that were granted to those that are asked for now; raises for others."""


async def _prove_nothing() -> None:
    pass


@dataclass(frozen=True, slots=True)
class ShownKey:
    """The key that a client shows with its refresh token (RFC 9449 §5)."""

    jkt: str | None = None
    """Its thumbprint; `None`: it shows none."""
    prove: Callable[[], Awaitable[None]] = _prove_nothing
    """Uses up what shows it; raises where that was used before."""


NO_KEY: Final = ShownKey()


@dataclass(frozen=True, slots=True)
class Start:
    """What begins a family, beside whose it is."""

    spot: Spot | None = None
    """From where the client signed its user in."""
    login: LoginBegun | None = None
    """Where the login began: if the subject's families were ended since, there is no new one (R6)."""


_UNSEEN: Final = Start()


async def _admit_all(family: Family) -> Family:
    return family


class RefreshFamilies:
    """The refresh families under one prefix of one store.

    Constructor: `lifetime_s` is the absolute life of a family, `grace_s` how long an answer may be
    told again, `keep_s` how long access tokens must be refused when theirs has ended. Every method
    raises `StoreUnavailable`: then the family is as it was, or is ended by whoever tries again.
    """

    def __init__(
        self,
        store: Store,
        issuer: TokenIssuer,
        revocations: Revocations,
        *,
        prefix: str,
        lifetime_s: float,
        grace_s: float,
        keep_s: float,
    ) -> None:
        self._store = store
        self._issuer = issuer
        self._lifetime_s = lifetime_s
        self._grace_s = grace_s
        self.records = FamilyRecords(
            store, revocations, prefix=prefix, issuer=issuer.issuer, keep_s=keep_s
        )

    def family_key(self, family: str) -> str:
        """Return the key of a family's record."""
        return self.records.family_key(family)

    def answer_key(self, family: str) -> str:
        """Return the key of the answer to the spent token."""
        return self.records.answer_key(family)

    async def begin(
        self,
        holder: Holder,
        client: str,
        now: float,
        *,
        since: float,
        scopes: Sequence[str] | None = None,
        jkt: str | None = None,
        is_bound: bool = True,
        start: Start = _UNSEEN,
    ) -> Answer:
        """Begin a family: the first access token and refresh token of a login.

        `since` is when the login began: what was revoked from then on is not begun (R6). `scopes`:
        those of the access token; default all. `jkt` is the key that the client has proved to hold;
        `is_bound` False: only its access tokens are bound to it, because the client proves itself at
        each use (RFC 9449 §5). Raises `RevokedMeanwhile` and `KeysUnavailable`.
        """
        token = new_family()
        said = holder if scopes is None else replace(holder, scopes=tuple(scopes))
        minted = await self._issuer.issue(
            said, Grounds(client, token.family, since=since, jkt=jkt), now=now
        )
        family = Family(
            holder=holder,
            client=client,
            begun_at=minted.issued_at,
            expires_at=minted.issued_at + math.ceil(self._lifetime_s),
            current=token.digest,
            jkt=jkt if is_bound else None,
        )
        if start.spot is not None:
            family = family.seen_at(start.spot)
        await self.records.add(token.family, family, now)
        await self._stand_by(token.family, family, start.login, now)
        return answer_with(minted, token, holder.subject, jkt)

    async def use(
        self,
        text: str,
        client: str,
        now: float,
        *,
        narrow: Narrow = tuple,
        admit: Admit = _admit_all,
        place: str | None = None,
        key: ShownKey = NO_KEY,
        is_bound: bool = True,
    ) -> Answer:
        """Take a refresh token for new ones, or tell the answer to a spent one again (S9).

        `place`: where the answer is told again is where it was told first; `None`: anywhere. A code is
        good once, so that whoever repeats a request cannot show it again.

        A family that is bound to no key is bound to the first one that is proved, if `is_bound`.

        Raises `GrantRefused`; `Reused` where the family had to be ended. `admit`, `narrow` and `key.prove`
        may raise what they like: the token is not spent then. `key.prove` is called once, before anything
        is changed, and only for a token of some family.
        """
        token = read_token(text)
        if token is None:
            raise GrantRefused("it has not the form of a refresh token")
        presented = Presented(token.digest, client, key.jkt)
        for attempt in range(_ATTEMPTS):
            record, sealed = await self._read(token)
            family = self._family(token, record)
            if attempt == 0:
                await key.prove()
            assert record is not None  # noqa: S101 - a family was read from it
            match family.meaning(presented, now=now, grace_s=self._grace_s):
                case "over":
                    raise GrantRefused("its family has come to its end")
                case "reused":
                    await self.end_family(token.family, family.subject, now)
                    raise Reused("it was spent, or is another client's", family.holder.subject)
                case "current":
                    admitted = await admit(family)
                    if is_bound:
                        admitted = replace(admitted, jkt=key.jkt)
                    answer = await self._rotate(token, record, admitted, now, narrow, key.jkt)
                case "repeat":
                    if place not in (None, family.place):
                        raise GrantRefused("a spent token, from another place than its last use")
                    answer = await self._repeat(token, record, sealed, family, now)
            if answer is not None:
                return answer
        raise StoreUnavailable("the refresh family changes again and again")

    async def find(self, text: str, now: float) -> tuple[RefreshToken, Family] | None:
        """Return a good refresh token and its family, changing nothing; `None` for any other."""
        token = read_token(text)
        if token is None:
            return None
        record, _ = await self._read(token)
        try:
            family = self._family(token, record)
        except GrantRefused:
            return None
        asked = Presented(token.digest, family.client, family.jkt)
        if family.meaning(asked, now=now, grace_s=0.0) != "current":
            return None
        if await self._issuer.is_revoked_since(
            family.holder.subject, token.family, float(family.begun_at)
        ):
            return None
        return token, family

    async def end(self, text: str, client: str, now: float) -> str | None:
        """End the family of a refresh token, spent or not; return whose it was, `None` for no family.

        Raises `GrantRefused` for one that another client was told, and leaves it alone (RFC 7009 §2.1).
        """
        token = read_token(text)
        if token is None:
            return None
        record, _ = await self._read(token)
        try:
            family = self._family(token, record)
        except GrantRefused:
            return None
        if family.client != client:
            raise GrantRefused("the token was issued to another client")
        await self.end_family(token.family, family.subject, now)
        return family.holder.subject

    async def end_family(self, family: str, subject: str, now: float) -> None:
        """End a family of `subject`, by the `sid` of its access tokens, which are refused from now on."""
        await self.records.end([family], subject, now)

    async def _stand_by(
        self, name: str, family: Family, login: LoginBegun | None, now: float
    ) -> None:
        """End a family that was just begun where the subject's were ended meanwhile (R6)."""
        if login is None:
            return
        is_over = True
        try:
            is_over = await self.records.is_ended_since(login)
        finally:
            if is_over:  # also where nobody could say: its token was told to nobody
                with contextlib.suppress(StoreUnavailable):
                    await self.end_family(name, family.subject, now)
        if is_over:
            raise RevokedMeanwhile("every family of the subject was ended")

    async def _read(self, token: RefreshToken) -> tuple[bytes | None, bytes | None]:
        keys = [self.family_key(token.family), self.answer_key(token.family)]
        record, sealed = await self._store.fetch(keys)
        return record, sealed

    def _family(self, token: RefreshToken, record: bytes | None) -> Family:
        if record is None:
            raise GrantRefused("its family is over, or never was")
        try:
            return Family.decode(record)
        except ValueError as error:
            raise GrantRefused(f"refresh family {token.family[:8]}: {error}") from None

    async def _rotate(
        self,
        token: RefreshToken,
        record: bytes,
        family: Family,
        now: float,
        narrow: Narrow,
        jkt: str | None,
    ) -> Answer | None:
        """Make the next tokens; `None` where somebody else was faster."""
        holder = replace(family.holder, scopes=narrow(family.holder.scopes))
        grounds = Grounds(family.client, token.family, since=float(family.begun_at), jkt=jkt)
        try:
            minted = await self._issuer.issue(holder, grounds, now=now)
        except RevokedMeanwhile as revoked:
            await self.end_family(token.family, family.subject, now)
            raise GrantRefused(f"its family was ended: {revoked.detail}") from None
        await self.records.enter(token.family, family, now)
        new = successor(token)
        answer = answer_with(minted, new, holder.subject, jkt)
        sealed = self._seal(token, answer) if self._grace_s > 0 else b""
        is_ours = await self._change(token, record, family.rotated(new.digest, now), now, sealed)
        return answer if is_ours else None

    async def _repeat(
        self, token: RefreshToken, record: bytes, sealed: bytes | None, family: Family, now: float
    ) -> Answer | None:
        """Tell the answer to a spent token again; `None` where somebody else was faster."""
        answer = self._open(token, sealed)
        if answer is None:
            await self.end_family(token.family, family.subject, now)
            raise Reused("there is no answer to tell again", family.holder.subject)
        is_ours = await self._change(token, record, family.repeated(), now)
        return answer if is_ours else None

    async def _change(
        self, token: RefreshToken, record: bytes, family: Family, now: float, sealed: bytes = b""
    ) -> bool:
        keys = [self.family_key(token.family), self.answer_key(token.family)]
        life_ms = max(1, math.ceil((family.expires_at - now) * 1000))
        grace_ms = max(1, math.ceil(self._grace_s * 1000))
        args: list[Argument] = [record, family.encode(), life_ms, sealed, grace_ms]
        return bool(await self._store.run(_CHANGE, keys, args))

    def _seal(self, spent: RefreshToken, answer: Answer) -> bytes:
        return _box(spent).seal(to_json(asdict(answer)), self.answer_key(spent.family))

    def _open(self, spent: RefreshToken, sealed: bytes | None) -> Answer | None:
        """Return the answer to `spent`; `None` where it is gone, or was not sealed for this."""
        if sealed is None:
            return None
        try:
            return Answer(**json.loads(_box(spent).open(sealed, self.answer_key(spent.family))))
        except (SecretsError, ValueError, TypeError):
            return None


def _box(spent: RefreshToken) -> SecretBox:
    """Return what seals the answer to a spent token: under a key that nobody else can derive."""
    derived = HKDF(SHA256(), KEY_BYTES, salt=None, info=b"latchgate refresh answer")
    return SecretBox([derived.derive(spent.text.encode())])
