"""Coherent verdicts: what a worker may remember of credentials, and for how long (design.md §5).

`VerdictCache` keeps verdicts, a `Source` is what one tracked connection says about one store node,
a `Scope` is what the verdicts of one scheme hang on together, and a `Watch` says what open
connections that hang on some have to expect. Pure: no I/O, no clock, no log.
"""

from proxy.core.coherence.attempts import Attempts
from proxy.core.coherence.counters import CoherenceCounters, SourceCounters, StreamCounters
from proxy.core.coherence.forgeries import Forgeries
from proxy.core.coherence.memory import Entry, Key
from proxy.core.coherence.part import Part, Whole
from proxy.core.coherence.pins import Pin, Pins
from proxy.core.coherence.source import Reading, Scope, Source
from proxy.core.coherence.verdict import Finding, Verdict
from proxy.core.coherence.verdicts import VerdictCache
from proxy.core.coherence.watch import Watch

__all__ = [
    "Attempts",
    "CoherenceCounters",
    "Entry",
    "Finding",
    "Forgeries",
    "Key",
    "Part",
    "Pin",
    "Pins",
    "Reading",
    "Scope",
    "Source",
    "SourceCounters",
    "StreamCounters",
    "Verdict",
    "VerdictCache",
    "Watch",
    "Whole",
]
