"""How long a credential still opens after the store has confirmed that it is taken back."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field

from benchmarks.rig.report import quantile

CREDENTIALS = 250
"""Of each kind, used by the load beside the credential that is watched."""
LIMIT_S = 0.005
"""The promise: p99, to every worker (design.md §1)."""
SCHEMES = {
    "session, deleted": ("session", None),
    "token, by `jti`": ("token", "jti"),
    "token, by subject": ("token", "subject"),
}


@dataclass
class Lag:
    """Of each revocation: the time until the sending of the last request that was let through."""

    since_answer: list[float] = field(default_factory=list)
    """Since the store's answer; 0 where no later request was let through."""
    since_command: list[float] = field(default_factory=list)
    """Since the command was sent: no clock is read too late for this one."""
    unheard: int = 0
    """Revocations that a worker never took notice of."""
    wanted: int = 0
    """So many revocations were to be measured."""

    def summary(self):
        found = {}
        for name in ("since_answer", "since_command"):
            values = getattr(self, name)
            found[name] = [quantile(values, part) for part in (0.5, 0.99, 1.0)]
        return found | {"count": len(self.since_answer), "unheard": self.unheard}

    @property
    def is_complete(self):
        """False where the machine was too busy for as many as were wanted."""
        return len(self.since_answer) >= self.wanted

    @property
    def is_kept(self):
        return not self.unheard and quantile(self.since_answer, 0.99) < LIMIT_S


def background(maker):
    """Return the requests of many people of both kinds, in turn."""
    pairs = zip(maker.many("session", CREDENTIALS), maker.many("token", CREDENTIALS), strict=True)
    return [credential.raw for pair in pairs for credential in pair]


def measure(load, maker, scheme, count, bound_s):
    """Take `count` credentials back, one after the other, while they are in use.

    A machine that is too busy for so many within `bound_s` measures fewer: see `is_complete`.
    """
    kind, how = SCHEMES[scheme]
    lag = Lag(wanted=count)
    ends_at = time.monotonic() + bound_s
    for number, credential in enumerate(maker.many(kind, count)):
        if time.monotonic() > ends_at:
            break
        label = f"{scheme} {number}"
        load.watch(label, credential.raw)
        time.sleep(random.uniform(0, 0.02))  # at no fixed point of anybody's turn
        sent_at, answered_at = maker.revoke(credential, how)
        records, is_over = load.until_refused()
        lag.unheard += not is_over
        passed = [r.sent_at for r in records if r.label == label and r.status == 200]
        last = max(passed, default=sent_at)
        lag.since_answer.append(max(0.0, last - answered_at))
        lag.since_command.append(max(0.0, last - sent_at))
    return lag
