"""Whether this process is one of several of a run. Without torch, which most stages need not load."""

import os


def was_launched() -> bool:
    """Whether torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ and "RANK" in os.environ
