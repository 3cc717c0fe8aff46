"""Co-training again with one thing changed: each part of the method off, and each silent decision as released.

The worlds, seeds and warm-ups are the first three of `compare`, so only co-training differs. To make so many runs
affordable, all of them are shorter than the main job and in bf16, the whole method among them; and without class
weights, which are none of the method's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from experiments.studies.compare import WORLDS, of_world
from experiments.study import SCORED, Job, Study
from experiments.tables import Layout
from experiments.tasks import Run

WHOLE = "the whole method"
SHORTENED: dict[str, Any] = {
    "co_train.iterations": 600,
    "co_train.validate_every": 200,
    "model.precision": "bf16",
    "co_train.class_weights": "none",
}
SWITCHED_OFF: dict[str, dict[str, Any]] = {
    "no domain-specific initialization (both from the target warm-up)": {"co_train.initialization": "both_from_target"},
    "no domain-specific initialization (both from the source warm-up)": {"co_train.initialization": "both_from_source"},
    "no differentiated combination (both branches see combination 1)": {"co_train.combination": "whole_images"},
    "no target-preferred alignment": {"co_train.alignment_weight": 0.0},
    "no ClassMix (cross supervision on unmixed images)": {"co_train.class_mix": False},
    "no cross supervision (no unlabeled images)": {"co_train.cross_supervision": False},
}
RELEASED: dict[str, dict[str, Any]] = {
    "the branches themselves label (no averaged weights)": {"co_train.teachers": "branches"},
    "every pseudo-label counts fully (no confidence weight)": {"co_train.confidence_threshold": 0.0},
    "unlabeled images from the first iteration on": {"co_train.cross_supervision_start": 0.0},
    "B1 steps before it labels for B2": {"co_train.update": "sequential"},
    "source classes drawn with replacement": {"co_train.paste_with_replacement": True},
    "void counts as a class of the alignment": {"co_train.alignment_counts_void": True},
    "backbone at three times the learning rate": {"optim.backbone_multiplier": 3.0},
    "learning rate at 0.555 of its start at the end": {"co_train.schedule_iterations": 1250},
}
EVERY_RELEASED_SIDE = {key: value for changes in RELEASED.values() for key, value in changes.items()}
RELEASED |= {
    "every released side together": EVERY_RELEASED_SIDE,
    # where averages label, a step of B1 changes nothing before the next one; to be read beside "the branches themselves"
    "B1 steps before it labels, and the branches themselves label": {
        "co_train.update": "sequential",
        "co_train.teachers": "branches",
    },
    "a fiftieth of the source images held out": {"data.source.held_out": 8},
}
OURS: dict[str, dict[str, Any]] = {
    "pseudo-labels with running statistics (as in the presets)": {"co_train.teacher_batch_norm": "running"},
    # The name is that of the committed rows: what was strong then is mild now.
    "strong color augmentation": {"co_train.color_augmentation": "mild"},
    "class weights of the cross entropy": {"co_train.class_weights": "inverse_log"},
    "class weights, both branches see combination 1": {
        "co_train.class_weights": "inverse_log",
        "co_train.combination": "whole_images",
    },
    "co-training in fp32": {"model.precision": "fp32"},
}
VARIANTS: dict[str, dict[str, Any]] = {WHOLE: {}} | SWITCHED_OFF | RELEASED | OURS


def jobs() -> Iterator[Job]:
    for variant, changes in VARIANTS.items():
        for world in WORLDS[:3]:
            rows = {name: {"variant": variant, **world, "row": name} for name in SCORED}
            yield Job(Run({**of_world(world), **SHORTENED, **changes}), rows)


STUDY = Study(
    "each part of the method off, each silent decision as released, on three worlds",
    ("variant", "world", "seed", "minutes", "row", "miou"),
    Layout(("variant",), ("world", "seed"), across="row", base=WHOLE, compared="average"),
    jobs,
)
