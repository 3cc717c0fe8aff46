"""Co-training against warm-ups, joint training and all target labels, on worlds not looked at while settings were chosen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from experiments.study import SCORED, Job, Study, baseline_scores
from experiments.tables import Layout
from experiments.tasks import Run, baseline

WORLDS = tuple({"world": 100 + seed, "seed": seed} for seed in range(1, 6))
WARM_UP, CO_TRAINING = 400, 1000  # iterations
WHOLE = 2 * WARM_UP + CO_TRAINING
BASELINES = (  # of which the better of two lengths counts
    ("joint", WHOLE, "inverse_log"),
    ("all_labels", WHOLE, "inverse_log"),
    ("joint", WHOLE, "none"),
    ("target", WHOLE, "none"),
    ("all_labels", WHOLE, "none"),
    ("source", WHOLE, "none"),
    ("joint", WARM_UP, "none"),
    ("all_labels", WARM_UP, "none"),
)
AS_THEN = {  # what params.yaml had when the first rows were measured
    "evaluate.weights": "last",
    "co_train.combination": "differentiated",
    "co_train.color_augmentation": "none",
}
COMBINATIONS = {"": "differentiated", "_whole_images": "whole_images"}
BETTER = "the better of source and target, by seed"


def of_world(world: dict[str, int]) -> dict[str, Any]:
    """The parameters that make a run one of this world and seed."""
    lengths = {
        "warm_up.source.iterations": WARM_UP,
        "warm_up.target.iterations": WARM_UP,
        "co_train.iterations": CO_TRAINING,
    }
    seeds = {"data.world.seed": world["world"], "seed": world["seed"], "split.seed": world["seed"]}
    return {**seeds, **lengths, **AS_THEN}


def jobs() -> Iterator[Job]:
    for suffix in COMBINATIONS:
        for weights in ("inverse_log", "none"):
            yield from (co_training(world, weights, suffix) for world in WORLDS)
        if not suffix:
            for name, iterations, weights in BASELINES:
                row = {"row": name, "iterations": iterations, "class_weights": weights}
                for world in WORLDS:
                    run = baseline(name, iterations, weights, of_world(world))
                    yield Job(run, {"": {**world, **row}}, baseline_scores)


def co_training(world: dict[str, int], weights: str, suffix: str) -> Job:
    """With both warm-ups, which are the same in every case."""
    rows = {
        f"warm_up_{domain}": {**world, "row": domain, "iterations": WARM_UP, "class_weights": "none"}
        for domain in ("source", "target")
    } | {name: {**world, "row": name + suffix, "iterations": WHOLE, "class_weights": weights} for name in SCORED}
    changes = {"co_train.class_weights": weights, "co_train.combination": COMBINATIONS[suffix]}
    return Job(Run({**of_world(world), **changes}), rows)


def with_the_better_domain(rows: pd.DataFrame) -> pd.DataFrame:
    alone = rows[rows["row"].isin(["source", "target"])]
    return pd.concat([rows, alone.assign(row=BETTER)])


STUDY = Study(
    "co-training, warm-ups, joint training and all labels on five worlds of the built-in data",
    ("world", "seed", "row", "iterations", "class_weights", "miou", "minutes"),
    Layout(
        lines=("row", "class_weights"),
        seeds=("world", "seed"),
        base="average, inverse_log",
        base_first=True,
        prepare=with_the_better_domain,
    ),
    jobs,
)
