"""How many cores a process may use, by what its system says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dstc.core.cores import allowed


@pytest.fixture(autouse=True)
def _bound_to_eight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))


def system(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    return root


V1 = "9:name=systemd:/\n3:cpu,cpuacct:/docker/abc\n2:cpuset:/\n0::/"
CASES = {
    "no control groups": ({}, 8),
    "version 2, no quota": ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "max 100000"}, 8),
    "version 2, a container's": ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "150000 100000"}, 2),
    "version 2, less than one": ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "20000 100000"}, 1),
    "version 2, more than there are": ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "6400000 100000"}, 8),
    "version 2, of a group above": (
        {
            "proc/self/cgroup": "0::/slurm/job/step",
            "sys/fs/cgroup/slurm/job/cpu.max": "300000 100000",
            "sys/fs/cgroup/slurm/job/step/cpu.max": "max 100000",
        },
        3,
    ),
    "version 1, no quota": (
        {
            "proc/self/cgroup": V1,
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
        },
        8,
    ),
    "version 1, a container that sees its own group as the top": (
        {
            "proc/self/cgroup": V1,
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "250000",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
        },
        3,
    ),
    "version 1, a group": (
        {
            "proc/self/cgroup": V1,
            "sys/fs/cgroup/cpu/docker/abc/cpu.cfs_quota_us": "200000",
            "sys/fs/cgroup/cpu/docker/abc/cpu.cfs_period_us": "50000",
        },
        4,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_quota_counts_no_less_than_the_cores_a_process_is_bound_to(tmp_path: Path, case: str) -> None:
    files, expected = CASES[case]
    assert allowed(system(tmp_path, files)) == expected


def test_this_systems_own_files_are_read() -> None:
    allowed()  # raises nothing, whatever this machine has
