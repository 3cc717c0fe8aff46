"""Two processes (gloo, on the CPU) train what one trains."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dstc.core import processes
from tests.training.in_processes import counts
from tests.training.trained import largest_difference, trained

REPOSITORY = Path(__file__).parents[2]
RUNNING = {"model": {"batch_norm_statistics": "running"}}
CASES: dict[str, dict[str, Any]] = {
    "plain": RUNNING,
    "other sizes": RUNNING | {"batch": {"source": 6, "labeled_target": 4, "unlabeled_target": 2}},
    "void counts": RUNNING | {"alignment_counts_void": True},
    "switched": RUNNING
    | {
        "teachers_run": "first",
        "update": "sequential",
        "confidence_threshold": 0.4,
        "color_augmentation": "mild",
        "class_weights": "inverse_log",
    },
    "averaged, checkpointed": RUNNING | {"teachers": "averaged", "runtime": {"gradient_checkpointing": True}},
}

ROUNDING = 5e-3  # of three iterations; a wrong share of a loss is off by a tenth and more
Numbers = Mapping[str, Tensor]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """As the processes have: more threads add up in another order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folder_of_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes write."""
    folder = tmp_path_factory.mktemp("two")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [*command, "-m", "tests.training.in_processes", str(folder), json.dumps(CASES)],
        check=True,
        env=environment,
        timeout=600,
    )
    return folder


@pytest.fixture(scope="module")
def in_two(folder_of_two: Path) -> dict[str, tuple[Numbers, Numbers]]:
    """By case what each of two processes ends with."""
    first, second = ({name: torch.load(folder_of_two / f"{name}.{rank}.pt") for name in CASES} for rank in (0, 1))
    return {name: (first[name], second[name]) for name in CASES}


def test_processes_that_a_program_has_joined_by_itself_each_train_on_their_own_batches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in (("is_initialized", True), ("get_world_size", 2), ("get_rank", 1)):
        monkeypatch.setattr(f"torch.distributed.{name}", lambda value=value: value)
    batch = torch.arange(4)
    assert (processes.count(), processes.rank()) == (1, 0)
    assert processes.share(batch) is processes.gather(batch) is processes.total(batch) is batch


@pytest.mark.parametrize("case", CASES)
def test_two_processes_train_what_one_trains(
    in_two: dict[str, tuple[Numbers, Numbers]], tmp_path: Path, case: str
) -> None:
    """Losses, weights, momentum and scores, with running statistics: mixing partners are those of the whole batch."""
    difference, where = largest_difference(trained(tmp_path, **CASES[case]), in_two[case][0])
    print(f"largest deviation, {case}: {difference:.1e} in {where}")  # shown by pytest -rP
    assert difference < ROUNDING, where
    assert difference > 0  # or nothing was divided


@pytest.mark.parametrize("case", CASES)
def test_both_processes_hold_the_same_bits(in_two: dict[str, tuple[Numbers, Numbers]], case: str) -> None:
    first, second = in_two[case]
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


def test_shared_validation_counts_exactly_what_one_process_counts(folder_of_two: Path, tmp_path: Path) -> None:
    """Seven images: one process has one more than the other."""
    alone = counts(tmp_path)
    assert torch.equal(torch.load(folder_of_two / "counts.0.pt"), alone)
    assert torch.equal(torch.load(folder_of_two / "counts.1.pt"), alone)


def test_a_fault_in_one_process_is_found_by_all_and_the_first_keeps_the_whole_batch(folder_of_two: Path) -> None:
    first, second = ((folder_of_two / f"fault.{rank}.txt").read_text() for rank in (0, 1))
    assert first == second
    assert first.startswith("iteration 2: the loss warm_up_source/source_cross_entropy is nan (learning rate")
    (file,) = (folder_of_two / ".work/failures").iterdir()
    snapshot = torch.load(file, weights_only=True)
    images, labels = snapshot["batch"]["source"]
    assert [image.max().item() > 255 for image in images] == [False, False, False, True]
    assert len(labels) == len(snapshot["images"]["source"]) == 4
    assert all(value.isfinite().all() for value in snapshot["networks"]["warm_up_source"].values())


def test_a_process_with_other_parameters_is_refused_by_all(folder_of_two: Path) -> None:
    """As a machine is that has not pulled the commit, or the weights, of the first one."""
    first, second = ((folder_of_two / f"foreign.{rank}.txt").read_text() for rank in (0, 1))
    assert first.endswith("of the first one; another process differs, and says in what")
    assert second.endswith("of the first one; this process differs in parameter seed")
    assert list((folder_of_two / ".work/runs").iterdir()) == []


def test_a_val_image_that_one_process_cannot_read_stops_all(folder_of_two: Path) -> None:
    """Or the others would wait for its counts."""
    first, second = ((folder_of_two / f"unreadable.{rank}.txt").read_text() for rank in (0, 1))
    assert first == "[None]"
    assert "01.png: changed since it was indexed" in second
