"""Where co-training leads: mIoU over iterations and over labels, beside joint training at budgets where it has converged.

`joint` is one network on source and labeled target; its `pair` is the average of two of them, of another seed, because the
mean of any two networks is better than one. Each of `VARIANTS` differs from it as the target-biased branch does, in its
start or in what it sees of the labels. `mean_teacher` is one network that its own average teaches on the same unlabeled
images. `co_training` is what the preset recommends; `co_training_paper` is that without what was added to the published
method, but for class weights, and `co_training_no_unlabeled` that without cross supervision. Each length is a training of
its own, with a schedule of its own. Seeds differ in split and training. Settings were chosen on carla_camvid's seed 0 alone.

All run in bf16, which a CPU without arithmetic for it imitates in many times the time: `fp32` is for such a one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from dstc.core.places import CO_TRAIN, JOINT, NETWORK, VALIDATION, WARM_UP_TARGET
from experiments.rows import Row
from experiments.study import SCORED, Job, Study
from experiments.tables import Layout, draw_lines
from experiments.tasks import BASELINE, RESULTS, Run, Stage, baseline, pipeline

Changes = Mapping[str, Any]
NOTHING: Changes = MappingProxyType({})

CARLA_CAMVID, EMBEDDED = "carla_camvid", "embedded"
SEEDS = (0, 1, 2, 3)
WARM_UPS = {CARLA_CAMVID: 600, EMBEDDED: 800}  # iterations of both together
AS_PUBLISHED: Changes = {
    "co_train.combination": "differentiated",
    "co_train.teachers": "branches",
    "co_train.confidence_threshold": 0.0,
    "co_train.cross_supervision_start": 0.0,
    "co_train.color_augmentation": "none",
}
VARIANTS: Mapping[str, tuple[str, str]] = {  # of joint training: arguments of experiments/joint_variant.py
    "joint_within_images": ("initial", "within"),
    "joint_after_warm_up": ("warm_up", "whole"),
    "joint_within_images_after_warm_up": ("warm_up", "within"),
}
METHODS: Mapping[str, Changes] = {  # what makes of the recommended setting another one
    "co_training": NOTHING,
    "co_training_paper": AS_PUBLISHED,
    "co_training_no_unlabeled": {"co_train.cross_supervision": False},
}
KINDS = {"last": "", "averaged": "_ema"}  # of weights, and what their columns in a validation curve end with


def jobs() -> Iterator[Job]:
    for seed in SEEDS:
        yield from (joint(CARLA_CAMVID, seed, iterations) for iterations in (500, 1000, 2000))
        yield co_training(CARLA_CAMVID, seed, 1000)
        yield co_training(CARLA_CAMVID, seed, 1000, "co_training_paper")
        yield from (mean_teacher(CARLA_CAMVID, seed, iterations) for iterations in (1000, 2000))
        yield co_training(CARLA_CAMVID, seed, 2000)
        yield from (alone(CARLA_CAMVID, seed, name, 2000) for name in ("target", "all_labels"))
        yield joint_pair(CARLA_CAMVID, seed, 2000)
        yield co_training(CARLA_CAMVID, seed, 2000, "co_training_paper")
        yield co_training(CARLA_CAMVID, seed, 2000, "co_training_no_unlabeled")
        yield from (joint_variant(CARLA_CAMVID, seed, 2000, variant) for variant in VARIANTS)
    yield joint(CARLA_CAMVID, 0, 4000)
    yield co_training(CARLA_CAMVID, 0, 4000)
    for seed in SEEDS[:2]:
        for labels in (5, 50, 150):
            yield joint(CARLA_CAMVID, seed, 1000, labels)
            yield joint(CARLA_CAMVID, seed, 2000, labels)
            yield co_training(CARLA_CAMVID, seed, 1000, labels=labels)
    for seed in SEEDS[:3]:
        yield from (joint(EMBEDDED, seed, iterations, 50) for iterations in (1000, 4000, 8000))
        for method in ("co_training", "co_training_paper"):
            yield from (co_training(EMBEDDED, seed, iterations, method, 50) for iterations in (1000, 4000))


def of_data(data: str, seed: int, labels: int) -> dict[str, Any]:
    """The parameters that make a run one of this data, seed and number of labels."""
    world = {"data.world.seed": 101 + seed} if data == EMBEDDED else {}
    return {"seed": seed, "split.seed": seed, "split.size": labels, "model.precision": "bf16", **world}


def joint(data: str, seed: int, iterations: int, labels: int = 15, changes: Changes = NOTHING) -> Job:
    changes = {**of_data(data, seed, labels), **_length("joint", iterations), **changes}
    key = row_key(data, seed, "joint", labels, iterations)
    return _job(data, changes, pipeline()["joint"], key, JOINT / VALIDATION, {"one": "target"})


def joint_variant(
    data: str, seed: int, iterations: int, variant: str, labels: int = 15, changes: Changes = NOTHING
) -> Job:
    like, (start, combination) = pipeline()["joint"], VARIANTS[variant]
    before = [str(WARM_UP_TARGET / NETWORK)] if start == "warm_up" else []
    deps = (*like.deps, "dstc/method", "experiments/joint_variant.py", *before)
    outs = (str(BASELINE / NETWORK), str(BASELINE / VALIDATION))
    stage = Stage(variant, ("experiments.joint_variant", start, combination), like.params, deps, outs)
    changes = {**of_data(data, seed, labels), **_length("joint", iterations), **changes}
    key = row_key(data, seed, variant, labels, iterations, WARM_UPS[data] // 2 if start == "warm_up" else 0)
    return _job(data, changes, stage, key, BASELINE / VALIDATION, {"one": "target"})


def joint_pair(data: str, seed: int, iterations: int, labels: int = 15) -> Job:
    like = pipeline()["joint"]
    deps = (*like.deps, str(JOINT / NETWORK), "experiments/joint_pair.py")
    stage = Stage("joint_pair", ("experiments.joint_pair",), like.params, deps, (str(BASELINE / VALIDATION),))
    changes = {**of_data(data, seed, labels), **_length("joint", iterations)}
    key = row_key(data, seed, "joint", labels, iterations)
    return _job(data, changes, stage, key, BASELINE / VALIDATION, {"pair": "pair"})


def alone(data: str, seed: int, name: str, iterations: int, labels: int = 15, changes: Changes = NOTHING) -> Job:
    """One network on the labeled target (`target`), or on all labels of the target (`all_labels`)."""
    run = baseline(name, iterations, "inverse_log", {**of_data(data, seed, labels), **changes}, _preset(data))
    key = row_key(data, seed, name, labels, iterations)
    assert run.stage is not None
    return _job(data, run.changes, run.stage, key, BASELINE / VALIDATION, {"one": "target"})


def mean_teacher(data: str, seed: int, iterations: int, labels: int = 15) -> Job:
    like = pipeline()["co_train"]
    data_deps = [dep for dep in like.deps if not dep.endswith("network.pt")]
    deps = (*data_deps, "experiments/mean_teacher.py")
    stage = Stage("mean_teacher", ("experiments.mean_teacher",), like.params, deps, (str(BASELINE / VALIDATION),))
    changes = {**of_data(data, seed, labels), **_length("co_train", iterations)}
    key = row_key(data, seed, "mean_teacher", labels, iterations)
    return _job(data, changes, stage, key, BASELINE / VALIDATION, {"one": "source_biased"})


def co_training(
    data: str, seed: int, iterations: int, method: str = "co_training", labels: int = 15, changes: Changes = NOTHING
) -> Job:
    changes = {**of_data(data, seed, labels), **_length("co_train", iterations), **changes}
    changes |= METHODS.get(method, NOTHING)
    key = row_key(data, seed, method, labels, iterations, WARM_UPS[data])
    return _job(data, changes, pipeline()["co_train"], key, CO_TRAIN / VALIDATION, {name: name for name in SCORED})


def row_key(data: str, seed: int, method: str, labels: int, iterations: int, before: int = 0) -> dict[str, Any]:
    return {
        "data": data,
        "seed": seed,
        "method": method,
        "labels": labels,
        "iterations": iterations,
        "total_iterations": before + iterations,
    }


LINES = {  # methods and networks in the pictures
    ("joint", "one"): "joint training",
    ("joint", "pair"): "two of them averaged, so many each",
    ("mean_teacher", "one"): "mean teacher",
    ("co_training_paper", "average"): "DSTC without additions",
    ("co_training_no_unlabeled", "average"): "recommended, no unlabeled images",
    ("co_training", "average"): "DSTC, recommended setting",
}
OVER_LABELS = {"joint": 2000, "co_training": 1000}  # the iterations that were measured with several numbers of labels
CEILING = "all 468 labels"
AXES = {"total_iterations": "iterations, warm-ups included", "labels": "labeled target images"}


def draw(rows: pd.DataFrame, over: str, path: Path) -> None:
    """carla_camvid, averaged weights: over the iterations with 15 labels, or over the labels with the iterations above."""
    rows = rows[(rows["data"] == CARLA_CAMVID) & (rows["weights"] == "averaged")]
    of_labels = (rows["iterations"] == rows["method"].map(OVER_LABELS)) & (rows["network"] != "pair")
    chosen = rows[rows["labels"] == 15] if over == "total_iterations" else rows[of_labels]
    lines = {
        name: own.set_index(over)["miou"]
        for (method, network), name in LINES.items()
        if len(own := chosen[(chosen["method"] == method) & (chosen["network"] == network)])
    }
    draw_lines(lines, path, over=AXES[over], ceiling=_ceiling(rows))


def _ceiling(rows: pd.DataFrame) -> tuple[str, float]:
    """All labels of the target. Until this study has them, those of `fp32`, after 1,000 iterations."""
    name, own = CEILING, rows[rows["method"] == "all_labels"]
    if own.empty:
        name, fp32 = f"{name} (fp32, 1,000 iterations)", pd.read_csv(RESULTS / "fp32.csv")
        own = fp32[(fp32["method"] == "all_labels") & (fp32["weights"] == "averaged")]
    return name, float(own["miou"].mean())


def _length(training: str, iterations: int) -> dict[str, Any]:
    """Scored at the end alone: on one core, scoring four networks takes as long as fifty iterations."""
    return {f"{training}.iterations": iterations, f"{training}.validate_every": iterations}


def _preset(data: str) -> str | None:
    return None if data == EMBEDDED else data


def _job(data: str, changes: Changes, stage: Stage, key: Row, curve: Path, networks: Mapping[str, str]) -> Job:
    """A row for each network and kind of weights; `networks` gives a network's name in the columns of the curve."""
    rows = {
        f"{name}{suffix}": {**key, "network": network, "weights": kind}
        for network, name in networks.items()
        for kind, suffix in KINDS.items()
    }

    def measure(folder: Path) -> Mapping[str, Row]:
        last = pd.read_csv(folder / curve).iloc[-1]
        return {name: {"miou": round(float(last[f"{name}_miou"]), 2)} for name in rows}

    return Job(Run(changes, stage, _preset(data)), rows, measure)


COLUMNS = (
    "data", "seed", "method", "network", "weights", "labels", "iterations", "total_iterations", "miou", "minutes", "commit",
)  # fmt: skip
STUDY = Study(
    "budgets and labels: mIoU of joint training, mean teacher and co-training where they have converged",
    COLUMNS,
    Layout(("data", "labels", "method", "network", "weights", "iterations")),
    jobs,
    draw,
)
