"""From `schemes:` of the configuration to schemes that can judge, with what they are connected to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from proxy.adapters.jwe import TokenCipher
from proxy.adapters.keys import KeySource, StaticKeys
from proxy.adapters.store import Store, StoreAddress, address_of
from proxy.adapters.store.tracked_store import TrackedStore
from proxy.config.login_models import bare_name
from proxy.config.models import (
    Config,
    JwtSchemeConfig,
    KeysConfig,
    MtlsSchemeConfig,
    SchemeConfig,
    SessionSchemeConfig,
)
from proxy.core.formats.native import native_origin
from proxy.core.formats.port import Format
from proxy.core.revocation import History, RevocationKeys
from proxy.errors import KeysUnavailable, StoreUnavailable
from proxy.services import compile as compiling
from proxy.services.audit import Audit
from proxy.services.coherence import Coherence
from proxy.services.deny_list import DenyList, common_keys
from proxy.services.foreign_people import foreign_prefix, open_foreign_otp
from proxy.services.keyrings import open_box
from proxy.services.marker_lives import longest_marker_life_s
from proxy.services.revocations import Revocations
from proxy.services.schemes.foreign_formats import format_of
from proxy.services.schemes.foreign_records import ForeignRecords
from proxy.services.schemes.jwt import JwtScheme
from proxy.services.schemes.mtls import MtlsScheme
from proxy.services.schemes.port import Place, Scheme
from proxy.services.schemes.records import NativeRecords, SessionRecords
from proxy.services.schemes.session import SessionScheme
from proxy.services.session_factors import SessionFactors
from proxy.services.session_reading import session_key
from proxy.services.sessions import Sessions
from proxy.services.subjects import Subjects
from proxy.services.uses import Uses


def open_sessions(config: Config, scheme: SessionSchemeConfig, store: Store) -> Sessions:
    """Return the native sessions of `scheme`."""
    native = [
        other.idle_timeout
        for other in config.schemes.values()
        if isinstance(other, SessionSchemeConfig) and other.format == "native"
    ]
    login = config.login
    is_login = login is not None and config.schemes.get(login.scheme) is scheme
    return Sessions(
        store,
        prefix=config.store.prefix,
        idle_timeout_s=scheme.idle_timeout,
        lifetime_s=scheme.lifetime,
        longest_idle_s=max(native),
        per_user=login.sessions.per_user if login is not None and is_login else None,
        remember_s=login.sessions.remember if login is not None and is_login else None,
    )


def open_login_sessions(config: Config, store: Store) -> Sessions:
    """Return the sessions of the scheme that people sign in to."""
    if config.login is None:
        raise ValueError("the configuration has no `login:`")
    scheme = config.schemes[config.login.scheme]
    assert isinstance(scheme, SessionSchemeConfig)  # noqa: S101 - the configuration was checked
    return open_sessions(config, scheme, store)


def open_subjects(config: Config, store: Store) -> Subjects:
    """Return what ends everything that people who sign in have been given."""
    tokens = config.tokens
    keys = RevocationKeys(config.store.prefix)
    return Subjects(
        store=store,
        prefix=config.store.prefix,
        sessions=open_login_sessions(config, store),
        revocations=None if tokens is None else Revocations(store, keys),
        origin=native_origin(None if tokens is None else tokens.issuer),
        keep_s=longest_marker_life_s(config),
    )


def own_lifetimes(config: Config) -> list[float]:
    """Return how long the gate's own tokens may live, in seconds, by each scheme that accepts them."""
    return [
        scheme.max_lifetime
        for scheme in config.schemes.values()
        if isinstance(scheme, JwtSchemeConfig) and scheme.keys.local
    ]


class SchemeBuilder:
    """Builds every scheme of a configuration once, with its verdicts in `coherence`.

    `store` is the gate's own, and `address` where it is; both are `None` where nothing needs one.
    """

    def __init__(
        self,
        config: Config,
        store: Store | None,
        key_sources: Mapping[str, KeySource],
        token_keys: KeySource | None,
        unfit: Callable[[], str | None],
        *,
        address: StoreAddress | None,
        coherence: Coherence,
        cipher: TokenCipher | None = None,
    ) -> None:
        self._config = config
        self._store = store
        self._key_sources = key_sources
        self._token_keys = token_keys
        self._unfit = unfit
        self._address = address
        self._coherence = coherence
        self._cipher = cipher
        self.audit: Audit | None = None
        """Where it is noted that a session ended because it was used elsewhere."""
        self.history = History(is_strict=config.store.on_loss == "revoke_all")
        """Of the revocations, as all jwt schemes of the worker know it."""

    def build(self) -> dict[str, Scheme]:
        """Return the schemes by name."""
        return {name: self._scheme(name, scheme) for name, scheme in self._config.schemes.items()}

    def _scheme(self, name: str, scheme: SchemeConfig) -> Scheme:
        match scheme:
            case JwtSchemeConfig():
                return self._jwt(name, scheme)
            case SessionSchemeConfig():
                return self._session(name, scheme)
            case MtlsSchemeConfig():
                return MtlsScheme.from_config(name, scheme)

    def own_tokens(self, name: str) -> JwtScheme:
        """Return what judges the gate's own tokens for the gate itself, whatever routes accept."""
        tokens = self._config.tokens
        assert tokens is not None  # noqa: S101 - whoever calls has found them
        scheme = JwtSchemeConfig(
            type="jwt",
            issuer=tokens.issuer,
            audience=[tokens.audience],
            algorithms=["EdDSA", "ES256", "RS256"],  # all that a rotation may have left behind
            keys=KeysConfig(local=True),
            max_lifetime=max([tokens.access, *own_lifetimes(self._config)]),
        )
        return self._jwt(name, scheme)

    def _session(self, name: str, scheme: SessionSchemeConfig) -> SessionScheme:
        is_native = scheme.format == "native"
        records = self._native(name, scheme) if is_native else self._foreign(name, scheme)
        login = self._config.login
        is_login = login is not None and login.scheme == name
        local = Place("cookie", bare_name(scheme.cookie)) if is_login else None
        factors = None
        if isinstance(records, ForeignRecords):
            factors = self._factors(name, records.form)
        return SessionScheme(
            name,
            compiling.places_of(scheme),
            is_native,
            records,
            local_place=local,
            factors=factors,
            folding=records.form.folding if isinstance(records, ForeignRecords) else "exact",
        )

    def _factors(self, name: str, form: Format) -> SessionFactors | None:
        """Return the factors beside a scheme's sessions; `None` where no route asks for one."""
        longest_s = compiling.longest_factor_s(self._config, name)
        if longest_s is None:
            return None
        store = self._own_store()
        return SessionFactors(
            ledger=self._coherence.ledger(f"{name}: factors", self._own_tracked()),
            store=store,
            box=open_box(self._config),
            otp=open_foreign_otp(self._config, store),
            prefix=foreign_prefix(self._config),
            scheme=name,
            form=form,
            longest_s=longest_s,
        )

    def _native(self, name: str, scheme: SessionSchemeConfig) -> SessionRecords:
        tokens, login = self._config.tokens, self._config.login
        is_login = login is not None and login.scheme == name
        bound = login.sessions.bind if login is not None and is_login else None
        ledger = self._coherence.ledger(name, self._own_tracked())
        sessions = open_sessions(self._config, scheme, self._own_store())
        return NativeRecords(
            ledger=ledger,
            sessions=sessions,
            uses=Uses(sessions, ledger),
            scheme=name,
            origin=native_origin(tokens.issuer if tokens is not None else None),
            idle_timeout=scheme.idle_timeout,
            lifetime=scheme.lifetime,
            remember=login.sessions.remember if login is not None and is_login else None,
            is_bound=bound is not None,
            ends_moved=bound is None or bound.on_change == "end",
            audit=self.audit,
        )

    def _foreign(self, name: str, scheme: SessionSchemeConfig) -> SessionRecords:
        if scheme.identity is None:
            raise ValueError(f"scheme {name} does not say where a record names its subject")
        if scheme.store is None:
            tracked = self._own_tracked()
        else:
            tracked = self._coherence.track(name, address_of(scheme.store))
        ledger = self._coherence.ledger(name, tracked)
        return ForeignRecords(
            ledger, name, format_of(scheme), compiling.compile_reader(scheme.identity)
        )

    def _jwt(self, name: str, scheme: JwtSchemeConfig) -> JwtScheme:
        issuer = compiling.scheme_issuer(self._config, scheme)
        is_local = scheme.keys.local
        deny_list = None
        if scheme.revocation == "store":
            keys = RevocationKeys(self._config.store.prefix)
            ledger = self._coherence.ledger(name, self._own_tracked(), common_keys(keys, issuer))
            deny_list = DenyList(
                ledger=ledger,
                keys=keys,
                history=self.history,
                issuer=issuer,
                leeway=0.0 if is_local else scheme.leeway,
                unfit=self._unfit,
                session_key=partial(session_key, self._config.store.prefix) if is_local else None,
            )
        else:
            ledger = self._coherence.ledger(name, None)
        return JwtScheme(
            name=name,
            places=compiling.places_of(scheme),
            is_native=is_local,
            issuer=issuer,
            verifier=compiling.compile_verifier(self._config, scheme),
            keys=self._keys(name, scheme),
            reader=compiling.compile_reader(scheme.identity),
            is_email_trusted=is_local or scheme.identity.email != "email",
            deny_list=deny_list,
            ledger=ledger,
            cipher=self._cipher if is_local else None,
        )

    def _keys(self, name: str, scheme: JwtSchemeConfig) -> KeySource:
        static = compiling.static_keys(scheme)
        if static is not None:
            return StaticKeys(static)
        source = self._token_keys if scheme.keys.local else self._key_sources.get(name)
        if source is None:
            raise KeysUnavailable(f"nobody fetches the keys of scheme {name}")
        return source

    def _own_tracked(self) -> TrackedStore:
        if self._address is None:
            raise StoreUnavailable("the configuration needs a store, and none was opened")
        return self._coherence.track("store", self._address)

    def _own_store(self) -> Store:
        if self._store is None:
            raise StoreUnavailable("the configuration needs a store, and none was opened")
        return self._store
