from __future__ import annotations

import os
from pathlib import Path

import pytest

from proxy.run import cores
from proxy.run.cores import cgroup_quota, usable_cores


def write(root: Path, files: dict[str, str]) -> Path:
    """Lay out a root directory with `files`."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


V2 = "0::/a/b\n"
V1 = "5:cpu,cpuacct:/docker/x\n1:name=systemd:/\n"
TREE = "sys/fs/cgroup"


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, None),
        ({"proc/self/cgroup": V2}, None),
        ({"proc/self/cgroup": V2, f"{TREE}/a/b/cpu.max": "max 100000\n"}, None),
        ({"proc/self/cgroup": V2, f"{TREE}/a/b/cpu.max": "150000 100000\n"}, 1.5),
        (
            {
                "proc/self/cgroup": V2,
                f"{TREE}/a/b/cpu.max": "400000 100000",
                f"{TREE}/a/cpu.max": "200000 100000",
            },
            2.0,
        ),
        ({"proc/self/cgroup": "0::/\n", f"{TREE}/cpu.max": "50000 100000"}, 0.5),
        ({"proc/self/cgroup": "0::/../../x\n", f"{TREE}/x/cpu.max": "50000 100000"}, 0.5),
        (
            {
                "proc/self/cgroup": V1,
                f"{TREE}/cpu,cpuacct/docker/x/cpu.cfs_quota_us": "300000",
                f"{TREE}/cpu,cpuacct/docker/x/cpu.cfs_period_us": "100000",
            },
            3.0,
        ),
        (
            {
                "proc/self/cgroup": V1,  # the host's path, as a container sees it
                f"{TREE}/cpu/cpu.cfs_quota_us": "200000",
                f"{TREE}/cpu/cpu.cfs_period_us": "100000",
            },
            2.0,
        ),
        (
            {
                "proc/self/cgroup": V1,
                f"{TREE}/cpu/cpu.cfs_quota_us": "-1",
                f"{TREE}/cpu/cpu.cfs_period_us": "100000",
            },
            None,
        ),
        ({"proc/self/cgroup": "nonsense", f"{TREE}/cpu.max": "nonsense"}, None),
        ({"proc/self/cgroup": V2, f"{TREE}/a/b/cpu.max": "100000 0"}, None),
    ],
)
def test_the_quota_is_the_smallest_of_the_groups_and_their_parents(tmp_path, files, quota):
    """Both versions of cgroups are read, and what cannot be read bounds nothing."""
    assert quota == cgroup_quota(write(tmp_path, files))


@pytest.mark.parametrize(
    ("quota", "affinity", "workers"),
    [("max", 4, 4), ("150000", 4, 2), ("50000", 4, 1), ("800000", 4, 4), ("100000", 4, 1)],
)
def test_workers_are_the_started_cores_of_the_quota(
    tmp_path, monkeypatch, quota, affinity, workers
):
    """At least one, at most what affinity allows."""
    monkeypatch.setattr(cores, "_affinity", lambda: affinity)
    files = {"proc/self/cgroup": "0::/\n", f"{TREE}/cpu.max": f"{quota} 100000"}
    assert workers == usable_cores(write(tmp_path, files))


def test_this_machine_has_a_core():
    """Whatever the machine says, there is one worker, and not more than it has cores."""
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)
