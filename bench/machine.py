"""On what a result was measured."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime

from dstc.core.device import processor


def description() -> str:
    """Date, commit, processor, memory, GPU and versions, a line each."""
    import numpy
    import PIL
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    lines = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": _commit(),
        "processor": f"{processor()}, {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}",
        "memory": f"{memory:.0f} GiB",
        "GPU": gpu,
        "versions": f"Python {platform.python_version()}, torch {torch.__version__}, numpy {numpy.__version__}, "
        f"Pillow {PIL.__version__}",
    }
    return "".join(f"- {key}: {value}\n" for key, value in lines.items())


def _commit() -> str:
    described = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return described.stdout.strip() or "unknown"
