"""Who started this process. Without torch, which most stages need not load."""

import os

STARTED_BY = ("DVC_STAGE", "DSTC_STUDY")
"""Environment variables that dvc and `python -m experiments` set for what they start, and wait for."""


def was_launched() -> bool:
    """Whether torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ and "RANK" in os.environ
