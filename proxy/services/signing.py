"""The gate's signing keys in the store: made once, shared by every worker, rotated without a gap.

There is one record for each purpose, sealed (security.md, S10). What never belongs here: what is
signed, and for whom.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final, Literal

from proxy.adapters.boot_clock import boot_time
from proxy.adapters.jwe import TokenCipher
from proxy.adapters.secrets import SecretBox
from proxy.adapters.store.port import Script, Store
from proxy.core.compact import encode_segment, sign_compact, to_json
from proxy.core.keyring import KeyRing, Rotation, SigningKey, make_key
from proxy.core.keyset import KeySet, make_signer
from proxy.errors import KeysUnavailable, SecretsError, StoreUnavailable

Purpose = Literal["token", "assertion"]
"""Tokens and assertions have keys of their own, so that neither passes for the other (K4)."""

DEFAULT_ROTATION: Final = Rotation(period_s=30 * 86_400.0, token_life_s=86_400.0)

_ATTEMPTS: Final = 5
_REREAD_S: Final = 10.0
_EXCHANGE: Final = Script(
    "if redis.call('GET', KEYS[1]) == ARGV[1] then"
    " redis.call('SET', KEYS[1], ARGV[2]) return 1 end return 0"
)

_log = logging.getLogger("latchgate.keys")


class SigningKeys:
    """The keys of one purpose. A `KeySource` too: what they signed can be verified with them."""

    def __init__(
        self,
        store: Store,
        box: SecretBox,
        record_key: str,
        algorithm: str,
        rotation: Rotation,
        *,
        clock: Callable[[], float] = boot_time,
    ) -> None:
        self._store = store
        self._box = box
        self._record_key = record_key
        self._algorithm = algorithm
        self._rotation = rotation
        self._clock = clock
        self._read_at = -_REREAD_S
        self._ring = KeyRing()
        self._public = KeySet([])
        self._signers: dict[tuple[str, str], tuple[bytes, Callable[[bytes], bytes]]] = {}

    @classmethod
    async def load(
        cls,
        store: Store,
        box: SecretBox,
        *,
        prefix: str,
        purpose: Purpose,
        algorithm: str,
        now: float,
        rotation: Rotation = DEFAULT_ROTATION,
    ) -> SigningKeys:
        """Read the keys of `purpose`, or make them where there are none yet.

        Raises `StoreUnavailable`, or `SecretsError` if what stands there was not sealed by this
        gate for this record: nothing is signed with a planted key, and it is not overwritten.
        """
        keys = cls(store, box, f"{prefix}signing:{purpose}", algorithm, rotation)
        await keys.refresh(now)
        return keys

    async def refresh(self, now: float) -> None:
        """Read the record again, and rotate what is due: call it about once a minute.

        Every worker may do so at the same time: one change wins, the others read it.
        """
        for _ in range(_ATTEMPTS):
            sealed = await self._fetch()
            ring = KeyRing() if sealed is None else self._unseal(sealed)
            due = await self._due(ring, now)
            is_stale_seal = sealed is not None and not self._box.is_current(
                sealed, self._record_key
            )
            if due == ring and not is_stale_seal:
                self._use(ring)
                return
            new = self._box.seal(due.encode(), self._record_key)
            if await self._exchange(sealed, new):
                self._announce(ring, due)
                self._use(due)
                return
        raise StoreUnavailable(f"{self._record_key} changes again and again")

    async def rotate(self, now: float) -> SigningKey:
        """Publish a new key now, whatever the age of the old one; it signs once everybody knows it.

        Returns the key that is to come: the new one, or one that was published before and does not
        sign yet, since two of them would only shorten each other's time. Raises as `refresh`.
        """
        for _ in range(_ATTEMPTS):
            await self.refresh(now)
            pending = self._ring.pending_key(self._algorithm, now)
            if pending is not None:
                return pending
            sealed = await self._fetch()
            if sealed is None or self._unseal(sealed) != self._ring:
                continue
            signs_from = now + self._rotation.publish_s
            new = await asyncio.to_thread(make_key, self._algorithm, now=now, signs_from=signs_from)
            ring = self._ring.with_key(new, self._rotation)
            if await self._exchange(sealed, self._box.seal(ring.encode(), self._record_key)):
                self._announce(self._ring, ring)
                self._use(ring)
                return new
        raise StoreUnavailable(f"{self._record_key} changes again and again")

    def current(self) -> KeySet:
        """Return the public keys; raises `KeysUnavailable` before `load` or after a loss."""
        if not self._public:
            raise KeysUnavailable("there are no signing keys")
        return self._public

    async def refreshed(self, kid: str) -> KeySet | None:
        """Read the record again for a key called `kid`, at most once in ten seconds."""
        if not self._public.has_kid(kid) and self._clock() - self._read_at >= _REREAD_S:
            self._read_at = self._clock()
            sealed = await self._fetch()
            if sealed is not None:
                try:
                    self._use(self._unseal(sealed))
                except SecretsError as error:
                    _log.error("signing keys in the store are not accepted: %s", error)
        return self._public if self._public.has_kid(kid) else None

    def published(self) -> tuple[SigningKey, ...]:
        """Return the keys to publish: also those that sign later, or did."""
        return self._ring.keys

    def state_of(self, key: SigningKey, now: float) -> str:
        """Return what a published key does at `now`: `signs`, `waits` to, or only `verifies`."""
        if key == self._ring.signing_key(self._algorithm, now):
            return "signs"
        return "waits" if key.signs_from > now else "verifies"

    def public_jwks(self) -> dict[str, list[dict[str, str]]]:
        """Return the JWK Set to publish."""
        return {"keys": [key.public_jwk() for key in self._ring.keys]}

    def sign(self, claims: dict[str, Any], typ: str, now: float) -> str:
        """Return `claims` as a signed token of type `typ`; raises `KeysUnavailable` without keys."""
        key = self._ring.signing_key(self._algorithm, now)
        if key is None:
            raise KeysUnavailable(f"there is no key to sign with {self._algorithm}")
        known = self._signers.get((key.kid, typ))
        if known is None:
            known = self._signers[key.kid, typ] = _prepare(key, typ)
        header, signer = known
        return sign_compact(header, to_json(claims), signer).decode()

    async def _fetch(self) -> bytes | None:
        (sealed,) = await self._store.fetch([self._record_key])
        return sealed

    def _unseal(self, sealed: bytes) -> KeyRing:
        try:
            return KeyRing.decode(self._box.open(sealed, self._record_key))
        except ValueError as error:
            raise SecretsError(f"{self._record_key}: {error}") from error

    async def _due(self, ring: KeyRing, now: float) -> KeyRing:
        """Return what the ring has to be at `now`."""
        ring = ring.pruned(self._algorithm, self._rotation, now)
        if not ring.is_due(self._algorithm, self._rotation, now):
            return ring
        # The first key of an algorithm has nobody to take over from, and signs at once.
        is_first = ring.signing_key(self._algorithm, now) is None
        signs_from = now if is_first else now + self._rotation.publish_s
        new = await asyncio.to_thread(make_key, self._algorithm, now=now, signs_from=signs_from)
        return ring.with_key(new, self._rotation)

    async def _exchange(self, old: bytes | None, new: bytes) -> bool:
        if old is None:
            return await self._store.put(self._record_key, new, only="new")
        return bool(await self._store.run(_EXCHANGE, [self._record_key], [old, new]))

    def _announce(self, old: KeyRing, new: KeyRing) -> None:
        """Log the keys that are there now: one of a lost exchange never was."""
        for key in new.keys:
            if all(key.kid != known.kid for known in old.keys):
                _log.info("a new signing key is published: %s %s", self._record_key, key.kid)

    def _use(self, ring: KeyRing) -> None:
        if ring == self._ring:
            return
        self._ring = ring
        self._signers.clear()
        algorithms = {key.algorithm for key in ring.keys}
        self._public = (
            KeySet.from_jwks(self.public_jwks(), algorithms=algorithms)
            if algorithms
            else KeySet([])
        )


class EncryptingSigner:
    """Signs with `keys`, and encrypts what is signed: its holder cannot read it."""

    def __init__(self, keys: SigningKeys, cipher: TokenCipher) -> None:
        self._keys = keys
        self._cipher = cipher

    def sign(self, claims: dict[str, Any], typ: str, now: float) -> str:
        """Return `claims` as a signed and encrypted token; raises `KeysUnavailable` without keys."""
        return self._cipher.encrypt(self._keys.sign(claims, typ, now))


def _prepare(key: SigningKey, typ: str) -> tuple[bytes, Callable[[bytes], bytes]]:
    header = {"alg": key.algorithm, "typ": typ, "kid": key.kid}
    return encode_segment(to_json(header)), make_signer(key.algorithm, key.private)
