"""Semi-supervised domain adaptation for semantic segmentation (DSTC) as a reproducible DVC workflow."""

import os

__version__ = "0.1.0"  # pyproject.toml reads it here

# Torch's OpenMP threads wait for each other between any two operations. Where they spin for long, as they do unless this is
# set before torch is imported, a step takes six times as long beside one busy process. Where they sleep at once, it takes
# half as long again when nothing else runs. So they spin for some microseconds, then sleep (`python -m bench busy`).
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
