"""Some of `budget` and `levers` again on carla_camvid, in fp32: for a CPU that has no arithmetic for bf16.

Joint training, its variants, the target alone and all its labels have three seeds; the levers have seed 0, and so have a
longer joint training and other numbers of labels: all 468 with no unlabeled images is what their true labels bring, 5 is
where unlabeled images might have the most to add. Scores are compared within this study, but for all labels, which is
the ceiling in `budget`'s pictures.
"""

from __future__ import annotations

from collections.abc import Iterator

from experiments.studies import levers
from experiments.studies.budget import (
    CARLA_CAMVID,
    COLUMNS,
    SEEDS,
    VARIANTS,
    alone,
    co_training,
    joint,
    joint_variant,
)
from experiments.studies.levers import ITERATIONS
from experiments.study import Job, Study
from experiments.tables import Layout

FP32 = {"model.precision": "fp32"}
NO_UNLABELED = "no unlabeled images"
LEVERS = (
    levers.BASE,
    "no alignment",
    NO_UNLABELED,
    "weight of the unlabeled terms doubled",
    "4 unlabeled images instead of 2",
    "no class weights in co-training",
    "both see whole images of both domains",
    "both start from 600 iterations of joint training",
)
OF_LABELS = ((468, NO_UNLABELED), (5, levers.BASE), (5, NO_UNLABELED))  # what 15 labels have is among the levers


def jobs() -> Iterator[Job]:
    for seed in SEEDS[:3]:
        yield joint(CARLA_CAMVID, seed, ITERATIONS, changes=FP32)
        yield from (joint_variant(CARLA_CAMVID, seed, ITERATIONS, variant, changes=FP32) for variant in VARIANTS)
        yield from (alone(CARLA_CAMVID, seed, name, ITERATIONS, changes=FP32) for name in ("target", "all_labels"))
    for lever in LEVERS:
        changes = {**levers.RECOMMENDED, **levers.LEVERS[lever], **FP32}
        yield co_training(CARLA_CAMVID, 0, ITERATIONS, lever, changes=changes)
    yield joint(CARLA_CAMVID, 0, 4000, changes=FP32)
    for labels, lever in OF_LABELS:
        changes = {**levers.RECOMMENDED, **levers.LEVERS[lever], **FP32}
        yield co_training(CARLA_CAMVID, 0, ITERATIONS, lever, labels, changes)
    for labels in (5, 468):
        yield joint(CARLA_CAMVID, 0, ITERATIONS, labels, FP32)


STUDY = Study(
    "some of budget and levers again in fp32, for CPUs without bf16 arithmetic",
    COLUMNS,
    Layout(("method", "labels", "iterations"), across="network", prepare=levers.averaged_weights),
    jobs,
)
