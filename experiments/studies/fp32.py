"""Some of `budget` and `levers` again on carla_camvid, seed 0, in fp32: for a CPU that has no arithmetic for bf16.

Scores are compared within this study alone.
"""

from __future__ import annotations

from collections.abc import Iterator

from experiments.studies import levers
from experiments.studies.budget import CARLA_CAMVID, COLUMNS, VARIANTS, alone, co_training, joint, joint_variant
from experiments.study import Job, Study
from experiments.tables import Layout

FP32 = {"model.precision": "fp32"}
LEVERS = (
    levers.BASE,
    "no alignment",
    "both see whole images of both domains",
    "no unlabeled images",
    "both start from 600 iterations of joint training",
)


def jobs() -> Iterator[Job]:
    for iterations in (1000, 2000):
        yield alone(CARLA_CAMVID, 0, "target", iterations, changes=FP32)
        yield joint(CARLA_CAMVID, 0, iterations, changes=FP32)
        yield from (joint_variant(CARLA_CAMVID, 0, iterations, variant, changes=FP32) for variant in VARIANTS)
    for lever in LEVERS:
        changes = {**levers.RECOMMENDED, **levers.LEVERS[lever], **FP32}
        yield co_training(CARLA_CAMVID, 0, levers.ITERATIONS, lever, changes=changes)


STUDY = Study(
    "some of budget and levers again in fp32, for CPUs without bf16 arithmetic",
    COLUMNS,
    Layout(("method", "iterations"), across="network", prepare=levers.averaged_weights),
    jobs,
)
