"""The admin API of a gate, which the supervisor answers itself."""

from __future__ import annotations

from proxy.adapters.store import Store
from proxy.config.models import AdminConfig, Config
from proxy.edge.admin import AdminJudge, AdminServices, Guard
from proxy.services.administration import Administration, FamilyAdministration
from proxy.services.audit import Audit
from proxy.services.choice import pick_session_scheme
from proxy.services.issuing import open_family_records
from proxy.services.schemes.build import open_sessions
from proxy.services.token_revocation import TokenRevocation


def make_admin_judge(
    config: Config, settings: AdminConfig, store: Store, audit: Audit
) -> AdminJudge:
    """Return what answers the admin API of `settings`, which `config` has."""
    return AdminJudge(Guard(settings), _services(config, store, audit))


def _services(config: Config, store: Store, audit: Audit) -> AdminServices:
    """Return what the admin API works with."""

    def administration(scheme: str | None) -> Administration:
        login = None if config.login is None else config.login.scheme
        _, found = pick_session_scheme(config, scheme or login)
        return Administration(open_sessions(config, found, store), audit, records)

    records = open_family_records(config, store)
    families = None if records is None else FamilyAdministration(records, audit)
    return AdminServices(administration, families, TokenRevocation(config, store), audit)
