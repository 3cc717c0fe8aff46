"""The main comparison on the embedded world: co-training against warm-ups, joint training and all target labels.

    python -m experiments.compare run        every world and seed, two jobs at a time; rows go to results/compare.csv
    python -m experiments.compare run 103 3  world 103 with seed 3 alone
    python -m experiments.compare table      the table of README

Settings were chosen on world 0 with seed 0. The table is of worlds 101 to 105 with seeds 1 to 5, not looked at before.
Every baseline has two runs, one of a warm-up's iterations and one of as many as the whole pipeline spends; the better
counts. Co-training and the baselines that matter are there with and without class weights (`co_train.class_weights`; the
warm-ups have none), and co-training also with the differentiated combination switched off, which costs most of its score.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from dstc.config.params import read_params
from experiments.folders import PROJECT, borrow, co_trained, folder_with_params, run, run_once
from experiments.rows import Rows, in_pairs
from experiments.statistics import mean_and_spread, paired_difference

PAIRS = tuple((100 + seed, seed) for seed in range(1, 6))
ROWS = Rows("compare", ("world", "seed", "row", "iterations", "class_weights"))
WEIGHTS = ("inverse_log", "none")
AVERAGE = ("average", "inverse_log")  # what all else is compared with
TITLES = {
    ("source", "none"): "source labels alone",
    ("target", "none"): "target labels alone",
    ("joint", "none"): "joint training, source + labeled target",
    ("joint", "inverse_log"): "joint training with class weights",
    ("source_biased", "inverse_log"): "source-biased branch",
    ("target_biased", "inverse_log"): "target-biased branch",
    AVERAGE: "**co-training, average of both branches**",
    ("average", "none"): "co-training without class weights, average",
    ("average_whole_images", "none"): "... and without the differentiated combination",
    ("average_whole_images", "inverse_log"): "co-training without the differentiated combination, average",
    ("all_labels", "none"): "all target labels, without class weights",
    ("all_labels", "inverse_log"): "all target labels with class weights",
}
BORROWED = ("world", "index", "split", "warm_up_source", "warm_up_target")


def iterations() -> tuple[int, int]:
    """Of a warm-up, and of the whole pipeline."""
    params = read_params(PROJECT / "params.yaml")
    warm_ups = params.warm_up.source.iterations + params.warm_up.target.iterations
    return params.warm_up.target.iterations, warm_ups + params.co_train.iterations


def of_pair(world: int, seed: int) -> dict[str, Any]:
    """The parameters, by dotted key, that make a run one of this world and seed."""
    return {"data.world.seed": world, "seed": seed, "split.seed": seed}


def prepared(world: int, seed: int) -> Path:
    """A folder with this world indexed and split, and both warm-ups in it."""
    folder = folder_with_params(f"world_{world}_seed_{seed}", of_pair(world, seed))
    run_once(folder, "data/index/target_val.json", "stages.prepare_data")
    run_once(folder, "data/split", "stages.make_split")
    run_once(folder, "data/warm_up_source/network.pt", "stages.warm_up", "source")
    run_once(folder, "data/warm_up_target/network.pt", "stages.warm_up", "target")
    return folder


def co_training(world: int, seed: int, weights: str, combination: str = "differentiated") -> None:
    """With the warm-ups, which are the same in every case."""
    short, whole = iterations()
    suffix = "" if combination == "differentiated" else f"_{combination}"
    if ROWS.has(world=world, seed=seed, row=f"average{suffix}", class_weights=weights):
        return
    began = time.perf_counter()
    lender = prepared(world, seed)
    folder = folder_with_params(
        f"co_trained_{combination}_{weights}_{world}_seed_{seed}",
        {**of_pair(world, seed), "co_train.class_weights": weights, "co_train.combination": combination},
    )
    borrow(folder, lender, BORROWED)
    scores = co_trained(folder)
    shared = {"world": world, "seed": seed, "minutes": round((time.perf_counter() - began) / 60, 1)}
    rows = [
        {**shared, "row": f"{name}{suffix}", "iterations": whole, "class_weights": weights, "miou": scores[name]}
        for name in ("source_biased", "target_biased", "average")
    ]
    warm_ups = [
        {**shared, "row": name, "iterations": short, "class_weights": "none", "miou": scores[f"warm_up_{name}"]}
        for name in ("source", "target")
        if not ROWS.has(world=world, seed=seed, row=name, iterations=short)
    ]
    ROWS.add(rows + warm_ups)
    print(f"world {world} seed {seed}, {combination}, class weights {weights}: {scores}", flush=True)


def baseline(world: int, seed: int, name: str, count: int, weights: str = "none") -> None:
    if ROWS.has(world=world, seed=seed, row=name, iterations=count, class_weights=weights):
        return
    began = time.perf_counter()
    folder = prepared(world, seed)
    run(folder, "experiments.baseline", name, str(count), weights)
    miou = json.loads((folder / f"{name}_{count}_{weights}.json").read_text(encoding="utf-8"))["miou"]
    row = {"world": world, "seed": seed, "row": name, "iterations": count, "class_weights": weights, "miou": miou}
    ROWS.add([{**row, "minutes": round((time.perf_counter() - began) / 60, 1)}])
    print(f"world {world} seed {seed}: {name} after {count} iterations, weights {weights}: {miou:.2f}", flush=True)


def jobs(pairs: tuple[tuple[int, int], ...]) -> Iterator[Callable[[], None]]:
    short, whole = iterations()
    for weights in WEIGHTS:
        for world, seed in pairs:
            yield partial(co_training, world, seed, weights)
    for name, count, weights in (
        ("joint", whole, "inverse_log"),
        ("all_labels", whole, "inverse_log"),
        ("joint", whole, "none"),
        ("target", whole, "none"),
        ("all_labels", whole, "none"),
        ("source", whole, "none"),
        ("joint", short, "none"),
        ("all_labels", short, "none"),
    ):
        for world, seed in pairs:
            yield partial(baseline, world, seed, name, count, weights)
    for weights in WEIGHTS:
        for world, seed in pairs:
            yield partial(co_training, world, seed, weights, "whole_images")


def best_per_row() -> pd.DataFrame:
    """mIoU by (world, seed) and (row, class weights), the better of a row's runs."""
    columns = ["row", "class_weights"]
    return ROWS.table().pivot_table(index=["world", "seed"], columns=columns, values="miou", aggfunc="max")


def table() -> str:
    best = best_per_row()
    lines = ["| | mIoU, percent | co-training's average minus this |", "|---|---|---|"]
    for row, title in TITLES.items():
        if row in best:
            gap = "" if row == AVERAGE else paired_difference(best[AVERAGE], best[row])
            worlds = best[row].count()
            only = f" ({worlds} of the worlds)" if worlds < len(best) else ""
            lines.append(f"| {title}{only} | {mean_and_spread(best[row])} | {gap} |")
        if row == ("target", "none"):
            better = best[[("source", "none"), row]].max(axis=1)
            gap = paired_difference(best[AVERAGE], better)
            lines.append(f"| the better of these two, by seed | {mean_and_spread(better)} | {gap} |")
    return "\n".join(lines)


if __name__ == "__main__":
    if sys.argv[1:] == ["table"]:
        print(table())
    elif sys.argv[1:2] != ["run"] or len(sys.argv) not in (2, 4):
        print(__doc__)  # above all where --help is asked for: a run takes hours
    else:
        in_pairs(jobs(PAIRS if sys.argv[1:] == ["run"] else tuple((int(w), int(s)) for w, s in [sys.argv[2:4]])))
