"""Trainings in two processes: `torchrun --nproc-per-node 2 -m tests.training.in_processes FOLDER CASES`.

CASES is a JSON object of keyword arguments for `trained`, by name. Writes FOLDER/NAME.RANK.pt: every number of the state in
each process, and the pixels that its validation counted.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from dstc import processes
from tests.training.trained import trained


def main(folder: Path, cases: str) -> None:
    with processes.joined(torch.device("cpu")):
        for name, more in json.loads(cases).items():
            images = folder / f"{name}.{processes.rank()}"
            torch.save(trained(images, **more), folder / f"{name}.{processes.rank()}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
