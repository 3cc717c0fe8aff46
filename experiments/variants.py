"""Co-training again with one thing changed: each part of the method off, and each silent decision as released.

    python -m experiments.variants run [NAME ...]      all of them, or the named; rows go to results/variants.csv
    python -m experiments.variants table

The warm-ups are those of `experiments.compare`, its first three worlds and seeds, so only co-training differs. To make so
many runs affordable, all of them are shorter than the main job and in bf16 (`SHORTENED`), the whole method among them; and
without class weights, which are none of the method's.
"""

from __future__ import annotations

import sys
import time
from functools import partial
from typing import Any

from experiments.compare import BORROWED, PAIRS, of_pair, prepared
from experiments.folders import borrow, co_trained, folder_with_params, run_once
from experiments.rows import Rows, in_pairs
from experiments.statistics import mean_and_spread, paired_difference

# what changes, by the key in params.yaml; the title is what the table says
WHOLE = "the whole method"
SHORTENED: dict[str, Any] = {
    "co_train.iterations": 600,
    "co_train.schedule_iterations": 600,
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
    "the branches themselves label (no averaged weights)": {"co_train.ema_decay": 0.0},
    "every pseudo-label counts fully (no confidence weight)": {"co_train.confidence_threshold": 0.0},
    "unlabeled images from the first iteration on": {"co_train.cross_supervision_start": 0.0},
    "B1 steps before it labels for B2": {"co_train.update": "sequential"},
    "source classes drawn with replacement": {"co_train.paste_with_replacement": True},
    "void counts as a class of the alignment": {"co_train.alignment_counts_void": True},
    "backbone at three times the learning rate": {"optim.backbone_multiplier": 3.0},
    "learning rate at 0.555 of its start at the end": {"co_train.schedule_iterations": 1250},
}
RELEASED |= {
    "every released side together": {key: value for changes in RELEASED.values() for key, value in changes.items()},
    # where averages label, a step of B1 changes nothing before the next one; to be read beside "the branches themselves"
    "B1 steps before it labels, and the branches themselves label": {
        "co_train.update": "sequential",
        "co_train.ema_decay": 0.0,
    },
    "a fiftieth of the source images held out": {"data.source.held_out": 8},
}
OURS: dict[str, dict[str, Any]] = {
    "pseudo-labels with running statistics (as in the presets)": {"co_train.teacher_batch_norm": "running"},
    "strong color augmentation": {"co_train.color_augmentation": True},
    "class weights of the cross entropy": {"co_train.class_weights": "inverse_log"},
    "class weights, both branches see combination 1": {
        "co_train.class_weights": "inverse_log",
        "co_train.combination": "whole_images",
    },
    "co-training in fp32": {"model.precision": "fp32"},
}
VARIANTS: dict[str, dict[str, Any]] = {WHOLE: {}} | SWITCHED_OFF | RELEASED | OURS
ROWS = Rows("variants", ("variant", "world", "seed", "row"))


def variant(name: str, world: int, seed: int) -> None:
    if ROWS.has(variant=name, world=world, seed=seed):
        return
    began = time.perf_counter()
    lender = prepared(world, seed)
    slug = "_".join(f"{key.rpartition('.')[2]}_{value}" for key, value in VARIANTS[name].items()) or "whole"
    folder = folder_with_params(
        f"variant_{slug}_world_{world}",
        {**of_pair(world, seed), **SHORTENED, **VARIANTS[name]},
    )
    if "data.source.held_out" in VARIANTS[name]:  # other images, the same warm-ups
        run_once(folder, "data/index/target_val.json", "stages.prepare_data")
        borrow(folder, lender, BORROWED[2:])
    else:
        borrow(folder, lender, BORROWED)
    scores = co_trained(folder)
    minutes = round((time.perf_counter() - began) / 60, 1)
    branches = ("source_biased", "target_biased", "average")
    shared = {"variant": name, "world": world, "seed": seed, "minutes": minutes}
    ROWS.add({**shared, "row": row, "miou": scores[row]} for row in branches)
    print(f"{name}, world {world}: {scores}", flush=True)


def table() -> str:
    measured = ROWS.table().pivot_table(index=["world", "seed"], columns=["variant", "row"], values="miou")
    whole = measured[WHOLE]
    lines = ["| | B1 | B2 | average | average minus the whole method's |", "|---|---|---|---|---|"]
    for name in VARIANTS:
        if name in measured:
            rows = measured[name]
            cells = [mean_and_spread(rows[row]) for row in ("source_biased", "target_biased", "average")]
            gap = "" if name == WHOLE else paired_difference(rows["average"], whole["average"])
            lines.append(f"| {name} | {' | '.join(cells)} | {gap} |")
    return "\n".join(lines)


if __name__ == "__main__":
    if sys.argv[1:] == ["table"]:
        print(table())
    elif sys.argv[1:2] != ["run"] or set(sys.argv[2:]) - set(VARIANTS):
        print(__doc__, *(f"    {name}" for name in VARIANTS), sep="\n")  # above all for --help: a run takes hours
    else:
        in_pairs(
            partial(variant, name, world, seed) for name in (sys.argv[2:] or VARIANTS) for world, seed in PAIRS[:3]
        )
