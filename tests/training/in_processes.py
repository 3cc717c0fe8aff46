"""Trainings in two processes: `torchrun --nproc-per-node 2 -m tests.training.in_processes FOLDER CASES`.

CASES is a JSON object of keyword arguments for `trained`, by name. Writes FOLDER/NAME.RANK.pt, every number of the state in
each process, and FOLDER/counts.RANK.pt, the pixels that a validation counted.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from dstc import processes
from dstc.loading.loaders import ValidationImages
from dstc.loading.normalization import NORMALIZATIONS
from dstc.training.validation import count_pixels
from tests.loading.small_domain import small_domain
from tests.models.small import small_network
from tests.training.trained import trained


def counts(folder: Path) -> torch.Tensor:
    """The confusion matrix of a network over seven images, in batches of up to two."""
    device, images = torch.device("cpu"), ValidationImages(small_domain(folder, 7), [folder])
    matrices = count_pixels(
        {"small": small_network()},
        images,
        normalization=NORMALIZATIONS["imagenet_rgb"],
        device=device,
        batch=2,
        workers=0,
    )
    return matrices["small"].counts


def main(folder: Path, cases: str) -> None:
    with processes.joined(torch.device("cpu")):
        torch.save(counts(folder / f"val.{processes.rank()}"), folder / f"counts.{processes.rank()}.pt")
        for name, more in json.loads(cases).items():
            images = folder / f"{name}.{processes.rank()}"
            torch.save(trained(images, **more), folder / f"{name}.{processes.rank()}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
