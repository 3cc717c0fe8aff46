"""How many cores this process may use. A container's quota of CPU time limits it no less than the cores it is bound to."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def allowed(system: Path = Path("/")) -> int:
    """The number of cores that this process is bound to; or its control group's quota, rounded up, if that is less."""
    return min([len(os.sched_getaffinity(0)), *(max(1, math.ceil(quota)) for quota in _quotas(system))])


def _quotas(system: Path) -> Iterator[float]:
    """Every quota that holds, in cores: of the group that this process is in and of those above it."""
    groups = system / "sys/fs/cgroup"
    try:
        memberships = (system / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in memberships:
        version_1, controllers, group = line.split(":", 2)
        if version_1 != "0" and "cpu" not in controllers.split(","):
            continue
        top = groups if version_1 == "0" else groups / "cpu"
        here = top / group.lstrip("/")  # not there where a container sees its own group as the top
        for folder in (here, *here.parents):
            if folder.is_relative_to(top):
                yield from _quota_of(folder)


def _quota_of(folder: Path) -> Iterator[float]:
    """Version 2 writes "QUOTA PERIOD" into one file, version 1 each into its own; none is "max" or -1."""
    with suppress(OSError, ValueError):
        quota, period = (folder / "cpu.max").read_text().split()
        yield int(quota) / int(period)
    with suppress(OSError, ValueError):
        quota, period = ((folder / f"cpu.cfs_{part}_us").read_text() for part in ("quota", "period"))
        if int(quota) > 0:
            yield int(quota) / int(period)
