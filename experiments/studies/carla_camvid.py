"""Preset carla_camvid on real images (rendered CARLA to photographed CamVid), with 150 iterations of co-training.

`recommended` is the preset as it is. `released` takes the released side of every switch of co-training and of the
optimizer, but not the weights file, strides and normalization, which belong to ResNet. `plain` is the method as the
full-size presets have it. Baselines run as long as the whole pipeline. Rows called `earlier` are of `plain` at an earlier
state of the code, measured by hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from experiments.studies.variants import EVERY_RELEASED_SIDE
from experiments.study import BRANCHES, Job, Study, baseline_scores
from experiments.tables import Layout
from experiments.tasks import Run, baseline

PRESET = "carla_camvid"
WARM_UP, CO_TRAINING = 150, 150  # iterations
WHOLE = 2 * WARM_UP + CO_TRAINING
SHORTENED = {"co_train.iterations": CO_TRAINING, "co_train.validate_every": 75, "evaluate.protocols": ["half"]}
NO_WEIGHTS = {"co_train.class_weights": "none"}
ADDED = {"co_train.teachers": "branches", "co_train.confidence_threshold": 0.0, "co_train.cross_supervision_start": 0.0}
RELEASED = {"co_train.schedule_iterations": 312, "co_train.teacher_batch_norm": "batch"}  # 250,000 of 120,000
SETTINGS: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {  # changes of the preset, and seeds
    "recommended": ({}, (0, 1, 2)),
    "released": ({**EVERY_RELEASED_SIDE, **RELEASED, **NO_WEIGHTS}, (0, 1, 2)),
    "plain": ({**ADDED, **NO_WEIGHTS}, (0,)),
    "averaged_teachers": (NO_WEIGHTS, (0,)),
}
BASELINES = {  # what it trains on, class weights, seeds
    "joint": ("joint", "none", (0, 1, 2)),
    "joint_class_weights": ("joint", "inverse_log", (0, 1, 2)),
    "all_labels": ("all_labels", "none", (0,)),
    "target": ("target", "none", (0, 1, 2)),
}


def jobs() -> Iterator[Job]:
    for setting, (changes, seeds) in SETTINGS.items():
        for seed in seeds:
            rows = {name: _key(setting, name, seed) for name in BRANCHES}
            if setting == "recommended":
                warm_up = {"iterations": WARM_UP}
                rows |= {f"warm_up_{name}": _key(setting, name, seed) | warm_up for name in ("source", "target")}
            yield Job(Run({**SHORTENED, "seed": seed, **changes}, preset=PRESET), rows)
    for name, (data, weights, seeds) in BASELINES.items():
        for seed in seeds:
            yield Job(
                baseline(data, WHOLE, weights, {"seed": seed}, PRESET),
                {"": _key("baseline", name, seed)},
                baseline_scores,
            )


def _key(setting: str, row: str, seed: int) -> dict[str, Any]:
    return {"setting": setting, "row": row, "iterations": WHOLE, "seed": seed, "labels": 15}


STUDY = Study(
    "the preset carla_camvid on real images, beside the released setting and joint training",
    ("setting", "row", "iterations", "seed", "labels", "miou", "best_on_val", "minutes"),
    Layout(("setting", "row", "iterations"), base=f"recommended, average, {WHOLE}", base_first=True),
    jobs,
)
