"""Trainings in two processes: `torchrun --nproc-per-node 2 -m tests.training.in_processes FOLDER CASES`.

CASES is a JSON object of keyword arguments for `trained`, by name. Writes FOLDER/NAME.RANK.pt, every number of the state in
each process, FOLDER/counts.RANK.pt, the pixels that a validation counted, and FOLDER/fault.RANK.txt, what is said of a
training whose second process meets an image that its network does not survive, and FOLDER/foreign.RANK.txt, what is said
where the second process has other parameters, and FOLDER/unreadable.RANK.txt, what ends a training whose second process
cannot read a val image; FOLDER is their project.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from dstc.core import processes
from dstc.core.errors import UserError
from dstc.data.loaders import Crops, Stream, ValidationImages
from dstc.training.context import TrainingContext
from dstc.training.interruption import watched
from dstc.training.validation import count_pixels
from dstc.training.working_folder import WorkingFolder
from tests.co_training.test_trainer import CLASSES, params
from tests.data.small_domain import small_domain
from tests.models.small import small_network
from tests.training.trained import trained


def counts(folder: Path, *, damaged: bool = False) -> torch.Tensor:
    """The confusion matrix of a network over seven images, all of which can be read, or none."""
    images, context = ValidationImages(small_domain(folder, 7), [folder]), TrainingContext.of(params(), CLASSES)
    for entry in images.index.entries if damaged else ():
        (folder / entry.image).write_bytes(b"")
    matrices = count_pixels({"small": small_network()}, images, context)
    return matrices["small"].counts


def unreadable(folder: Path) -> str:
    """With what a training is told to stop, in each process, where the second one cannot read a val image."""
    told: list[Exception | None] = []
    with watched() as interruption, interruption.between_steps(told.append):
        counts(folder, damaged=not processes.is_first())
    return repr(told)


def fault(images: Path) -> str:
    """The error of a training in which the last image of iteration 2 (from 1) is far too bright, in one process alone."""
    crops = Stream.crops

    def too_bright(self: Stream, iteration: int, **where: Any) -> Crops:
        found, labels = crops(self, iteration, **where)
        found = found.float()
        if iteration == 1 and not processes.is_first():
            found[-1] *= 1e38
        return found, labels

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stream, "crops", too_bright)
        with pytest.raises(UserError) as error:
            trained(images, model={"batch_norm_statistics": "running"})
    return str(error.value)


def foreign() -> str:
    """The error of a run whose second process has another seed."""
    working = WorkingFolder("test", params={"seed": processes.rank()}, inputs=[], outputs=Path("out"))
    with pytest.raises(UserError) as error, working.held():
        pass
    return str(error.value)


def main(folder: Path, cases: str) -> None:
    with processes.joined(torch.device("cpu")):
        torch.save(counts(folder / f"val.{processes.rank()}"), folder / f"counts.{processes.rank()}.pt")
        for name, more in json.loads(cases).items():
            images = folder / f"{name}.{processes.rank()}"
            torch.save(trained(images, **more), folder / f"{name}.{processes.rank()}.pt")
        os.chdir(folder)
        message = fault(folder / f"fault.{processes.rank()}")
        (folder / f"fault.{processes.rank()}.txt").write_text(message)
        (folder / f"foreign.{processes.rank()}.txt").write_text(foreign())
        message = unreadable(folder / f"unreadable.{processes.rank()}")
        (folder / f"unreadable.{processes.rank()}.txt").write_text(message)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
