"""Whether the gate may run with the rights that it was started with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

REFUSE_ROOT: Final = "LATCHGATE_REFUSE_ROOT"
"""Set by the image: a variable, because root on a developer's machine is nobody's business."""


def root_problem(environment: Mapping[str, str], uid: int) -> str | None:
    """Return why user `uid` may not run the gate here; `None` when it may."""
    if uid != 0 or environment.get(REFUSE_ROOT, "") in ("", "0"):
        return None
    return (
        f"refuses to run as root ({REFUSE_ROOT} is set, as in the container image): leave the"
        " image's user as it is, or choose one that is not 0"
    )
