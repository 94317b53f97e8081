"""How many cores this process may use: the number of workers where `workers: auto` is written.

In a container the machine's core count is a lie: the cgroup's quota bounds what may be used, and
workers beyond it only add throttling and memory.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Final

_Reader = Callable[[Path], "float | None"]

_V1_MOUNTS: Final = ("cpu,cpuacct", "cpuacct,cpu", "cpu")


def usable_cores(root: Path = Path("/")) -> int:
    """Return the whole cores that affinity and every enclosing cgroup allow; at least one.

    A quota of 1.5 cores gives one worker for the first core and one for the started second.
    `root` is where `proc` and `sys` are found.
    """
    cores = _affinity()
    quota = cgroup_quota(root)
    if quota is not None:
        cores = min(cores, max(1, _round_up(quota)))
    return max(1, cores)


def cgroup_quota(root: Path) -> float | None:
    """Return the smallest quota in cores of this process's cgroup and its parents (v1 and v2)."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    quotas: list[float] = []
    for line in lines:
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if not controllers:
            mount = root / "sys/fs/cgroup"
            quotas += _along(mount, path, _v2_quota)
        elif "cpu" in controllers.split(","):
            for name in _V1_MOUNTS:
                quotas += _along(root / "sys/fs/cgroup" / name, path, _v1_quota)
    return min(quotas, default=None)


def _along(mount: Path, path: str, read: _Reader) -> list[float]:
    """Read the quota of `path` under `mount` and of each parent, up to the mount itself.

    Inside a container the path is often that of the host and not there; its parents' limits are
    then those of the mount point, which is the container's own group.
    """
    parts = [part for part in PurePosixPath(path).parts if part not in ("/", "..")]
    found = [read(mount.joinpath(*parts[:count])) for count in range(len(parts) + 1)]
    return [quota for quota in found if quota is not None]


def _v2_quota(group: Path) -> float | None:
    """Read `cpu.max`: `max 100000` or `150000 100000` (microseconds of quota and period)."""
    quota, _, period = _read(group / "cpu.max").partition(" ")
    return _ratio(quota, period)


def _v1_quota(group: Path) -> float | None:
    """Read `cpu.cfs_quota_us` (-1: none) and `cpu.cfs_period_us`."""
    return _ratio(_read(group / "cpu.cfs_quota_us"), _read(group / "cpu.cfs_period_us"))


def _ratio(quota: str, period: str) -> float | None:
    try:
        cores = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):
        return None  # "max", -1 without a period, or no such file
    return cores if cores > 0 else None


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _round_up(cores: float) -> int:
    return int(-(-cores // 1))
