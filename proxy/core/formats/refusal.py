"""Why a foreign session is not read: the one exception of every reader.

What never belongs here: an answer to the client, who learns nothing of this.
"""

from __future__ import annotations


class BadSession(ValueError):
    """The session is refused; the text says why, for the log, and never quotes it."""
