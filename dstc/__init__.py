"""Semi-supervised domain adaptation for semantic segmentation (DSTC) as a reproducible DVC workflow."""

import os

__version__ = "0.1.0"  # pyproject.toml reads it here

# Torch's OpenMP threads are to sleep while they wait for each other: spinning, as they do unless this is set before torch is
# imported, they make a step ten times as long beside one busy process.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
