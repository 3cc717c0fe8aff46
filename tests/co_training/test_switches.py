"""Whatever else is chosen, a switch of co_train reaches the weights exactly if no note says that it has no effect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from dstc.config.notes import OFF, notes
from tests.co_training.test_trainer import co_train, params, weights

OTHERS: dict[str, dict[str, Any]] = {
    "nothing else": {},
    "no cross supervision": {"cross_supervision": False},
    "cross supervision begins too late": {"cross_supervision_start": 0.9},
    "no alignment": {"alignment_weight": 0.0},
    "neither": {"cross_supervision": False, "alignment_weight": 0.0},
    "whole images": {"combination": "whole_images"},
    "averaged teachers": {"teachers": "averaged"},
    "averaged teachers of batch statistics": {"teachers": "averaged", "teacher_batch_norm": "batch"},
    "teachers run first": {"teachers_run": "first"},
    "sequential": {"update": "sequential", "teacher_batch_norm": "batch"},
    "running statistics": {"student_batch_norm": "running"},
}
SWITCHES: dict[str, Any] = {  # on; they are off in OFF or as here
    "paste_with_replacement": True,
    "alignment_counts_void": True,
    "class_mix": True,
    "color_augmentation": "mild",
    "cross_supervision_weight": 0.5,
    "cross_supervision_start": 0.5,
    "confidence_threshold": 0.5,
    "teachers": "averaged",
    "teachers_run": "first",
    "update": "sequential",
    "lr_ramp_iterations": 1,
    "teacher_batch_norm": "batch",
}
OFF_HERE = dict(OFF) | {"teacher_batch_norm": "running", "class_mix": False}


def test_all_switches_of_co_train_are_tried() -> None:
    assert set(SWITCHES) == set(OFF_HERE) - {"choose_checkpoint"}  # tests/co_training/test_trainer.py


# An average begins as a copy of its branch after the first iteration, so the third is the first to tell it; and the
# alignment, whose gradient has the signs of differences alone, tells it where steps are many and large.
LENGTH = {"iterations": 6, "schedule_iterations": 12, "ema_decay": 0.9, "learning_rate": 0.02, "validate_every": 100}
QUICK = ("nothing else", "averaged teachers")  # each takes a dozen trainings


@pytest.mark.parametrize(
    "others", [pytest.param(one, marks=() if one in QUICK else pytest.mark.slow) for one in OTHERS]
)
def test_a_switch_reaches_the_weights_exactly_if_no_note_names_it(
    others: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tried = {switch: on for switch, on in SWITCHES.items() if switch not in OTHERS[others] and allowed(others, switch)}
    off = {**LENGTH, **{switch: OFF_HERE[switch] for switch in SWITCHES}, **OTHERS[others]}
    base = trained(tmp_path_factory, off)
    wrong = [
        switch
        for switch, on in tried.items()
        if is_told(off | {switch: on}, switch) != same(base, trained(tmp_path_factory, off | {switch: on}))
    ]
    assert wrong == []


def allowed(others: str, switch: str) -> bool:
    """Whether the schema does not refuse the two (tests/config/test_notes.py)."""
    return not (others == "running statistics" and switch == "teacher_batch_norm")


def is_told(changes: dict[str, Any], switch: str) -> bool:
    told = [note.split(": no effect")[0] for note in notes(params(**changes), ["co_train"])]
    return any(f"co_train.{switch}" in keys.split(", ") for keys in told)


def trained(folders: pytest.TempPathFactory, changes: dict[str, Any]) -> Mapping[str, Tensor]:
    return weights(co_train(folders.mktemp("run"), **changes)[0])


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())
