"""Coherent verdicts: what a worker may remember of credentials, and for how long (design.md §5).

`VerdictCache` keeps verdicts, a `Source` is what one tracked connection says about one store node,
and a `Scope` is what the verdicts of one scheme hang on together. Pure: no I/O, no clock, no log.
"""

from proxy.core.coherence.attempts import Attempts
from proxy.core.coherence.counters import CoherenceCounters, SourceCounters
from proxy.core.coherence.forgeries import Forgeries
from proxy.core.coherence.memory import Key
from proxy.core.coherence.source import Reading, Scope, Source
from proxy.core.coherence.verdicts import Finding, Verdict, VerdictCache

__all__ = [
    "Attempts",
    "CoherenceCounters",
    "Finding",
    "Forgeries",
    "Key",
    "Reading",
    "Scope",
    "Source",
    "SourceCounters",
    "Verdict",
    "VerdictCache",
]
