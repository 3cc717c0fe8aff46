"""Semi-supervised domain adaptation for semantic segmentation (DSTC) as a reproducible DVC workflow."""

import os
import sys
from importlib.util import find_spec

__version__ = "0.1.0"  # pyproject.toml reads it here

# Torch's OpenMP threads wait for each other between any two operations. Where they spin for long, as they do unless this is
# set before torch is imported, a step takes six times as long beside one busy process. Where they sleep at once, it takes
# half as long again when nothing else runs. So they spin for some microseconds, then sleep (`python -m bench busy`).
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

if find_spec("torch") is None:  # a stage's `python` is the first on PATH, also where dvc was started by its whole path
    raise SystemExit(
        f"error: {sys.executable} has no torch, so it is not the project's environment. Type `. .venv/bin/activate` "
        "(after `make env`), or, in an environment of yours, `pip install -r requirements/pinned.txt`"
    )
