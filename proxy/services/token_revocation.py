"""Revoking tokens by their names: what the command line and the admin API do alike."""

from __future__ import annotations

from proxy.adapters.store import Store
from proxy.config.models import Config, JwtSchemeConfig
from proxy.core.revocation import RevocationKeys
from proxy.services.choice import pick_jwt_scheme
from proxy.services.compile import scheme_issuer
from proxy.services.marker_lives import longest_marker_life_s, scheme_marker_life_s
from proxy.services.revocations import Revocations


def revocable(config: Config, name: str | None) -> JwtSchemeConfig:
    """Return the jwt scheme called `name`, or the only one.

    Raises `ValueError` where there is none, or where it never asks for revocations.
    """
    name, scheme = pick_jwt_scheme(config, name)
    if scheme.revocation == "none":
        raise ValueError(f"scheme {name} never asks for revocations (revocation: none)")
    return scheme


class TokenRevocation:
    """Refuses tokens of the configuration's schemes from now on.

    Every method returns what was revoked, in words, and raises `StoreUnavailable`, and `ValueError`
    where no scheme, or several, could be meant. `scheme` is a name, or `None` for the only one.
    """

    def __init__(self, config: Config, store: Store) -> None:
        self._config = config
        self._revocations = Revocations(store, RevocationKeys(config.store.prefix))

    async def revoke_all(self, now: float) -> str:
        """Refuse every token of any issuer that was issued until now."""
        await self._revocations.revoke_all(now, keep_s=longest_marker_life_s(self._config))
        return "every token issued until now"

    async def revoke_jti(self, jti: str, now: float, *, scheme: str | None = None) -> str:
        """Refuse one token by its `jti`."""
        issuer, keep_s = self._scheme(scheme)
        await self._revocations.revoke_token(issuer, jti, now, keep_s=keep_s)
        return f"token {jti} of {issuer}"

    async def revoke_subject(self, subject: str, now: float, *, scheme: str | None = None) -> str:
        """Refuse every token of one person that was issued until now."""
        issuer, keep_s = self._scheme(scheme)
        await self._revocations.revoke_subject(issuer, subject, now, keep_s=keep_s)
        return f"every token of {subject} of {issuer} issued until now"

    async def revoke_issuer(self, now: float, *, scheme: str | None = None) -> str:
        """Refuse every token of the scheme's issuer that was issued until now."""
        issuer, keep_s = self._scheme(scheme)
        await self._revocations.revoke_issuer(issuer, now, keep_s=keep_s)
        return f"every token of {issuer} issued until now"

    def _scheme(self, name: str | None) -> tuple[str, float]:
        scheme = revocable(self._config, name)
        keep_s = scheme_marker_life_s(self._config, scheme)
        return scheme_issuer(self._config, scheme), keep_s
