"""`reload:` — how a running gate takes another configuration."""

from __future__ import annotations

from proxy.config.strict import Section
from proxy.config.values import Flag


class ReloadConfig(Section):
    """How a running gate takes another configuration."""

    refuse_opening: Flag = False
    """Takes no configuration that may let in more than the one before, until somebody confirms it."""
    watch: Flag = False
    """Reloads when the file changes. Certificates and key files are read again when they change in
    any case."""
