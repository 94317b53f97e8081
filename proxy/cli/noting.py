"""What commands change stands in the audit trail, as what people change does."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Final

from proxy.adapters.store import Store
from proxy.config.models import Config
from proxy.services.administration import Actor
from proxy.services.audit import Audit

COMMAND_LINE: Final = Actor("on the command line")


@contextlib.asynccontextmanager
async def noting(config: Config, store: Store) -> AsyncIterator[Audit]:
    """Give an audit trail; what was noted is written before the command ends, if it can be."""
    audit = Audit(store, prefix=config.store.prefix)
    try:
        yield audit
    finally:
        await audit.close()
