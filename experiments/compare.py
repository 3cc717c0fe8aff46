"""The main comparison on the embedded world: co-training against warm-ups, joint training and all target labels.

    python -m experiments.compare run        every world and seed, two jobs at a time; rows go to results/compare.csv
    python -m experiments.compare run 103 3  world 103 with seed 3 alone
    python -m experiments.compare table      the table of README

Settings were chosen on world 0 with seed 0. The table is of worlds 101 to 105 with seeds 1 to 5, not looked at before.
Every baseline has two runs, one of a warm-up's iterations and one of as many as the whole pipeline spends; the better
counts. Last comes co-training with the differentiated combination switched off, which costs most of the method's score here.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pandas as pd

from dstc.params import read_params
from experiments.folders import PROJECT, borrow, co_trained, folder_with_params, run, run_once
from experiments.rows import Rows, in_pairs
from experiments.statistics import mean_and_spread, paired_difference

PAIRS = tuple((100 + seed, seed) for seed in range(1, 6))
ROWS = Rows("compare", ("world", "seed", "row", "iterations"))
TITLES = {
    "source": "warm-up source",
    "target": "warm-up target",
    "joint": "joint training, source + labeled target",
    "source_biased": "source-biased branch",
    "target_biased": "target-biased branch",
    "average": "**co-training, average of both branches**",
    "all_labels": "all target labels (upper bound)",
    "average_whole_images": "co-training without the differentiated combination, average",
}
BORROWED = ("world", "index", "split", "warm_up_source", "warm_up_target")


def iterations() -> tuple[int, int]:
    """Of a warm-up, and of the whole pipeline."""
    params = read_params(PROJECT / "params.yaml")
    warm_ups = params.warm_up.source.iterations + params.warm_up.target.iterations
    return params.warm_up.target.iterations, warm_ups + params.co_train.iterations


def prepared(world: int, seed: int) -> Path:
    """A folder with this world indexed and split, and both warm-ups in it."""
    folder = folder_with_params(
        f"world_{world}_seed_{seed}", {"data.world.seed": world, "seed": seed, "split.seed": seed}
    )
    run_once(folder, "data/index/target_val.json", "stages.prepare_data")
    run_once(folder, "data/split", "stages.make_split")
    run_once(folder, "data/warm_up_source/network.pt", "stages.warm_up", "source")
    run_once(folder, "data/warm_up_target/network.pt", "stages.warm_up", "target")
    return folder


def pipeline(world: int, seed: int) -> None:
    short, whole = iterations()
    if ROWS.has(world=world, seed=seed, row="average"):
        return
    began = time.perf_counter()
    folder = prepared(world, seed)
    scores = co_trained(folder)
    spent = {"warm_up_source": short, "warm_up_target": short}
    ROWS.add(
        {
            "world": world,
            "seed": seed,
            "row": name.removeprefix("warm_up_"),
            "iterations": spent.get(name, whole),
            "miou": score,
            "minutes": round((time.perf_counter() - began) / 60, 1),
        }
        for name, score in scores.items()
    )
    print(f"world {world} seed {seed}: {scores}", flush=True)


def whole_images(world: int, seed: int) -> None:
    """Co-training from the same warm-ups, but both branches see data combination 1."""
    _, whole = iterations()
    if ROWS.has(world=world, seed=seed, row="average_whole_images"):
        return
    began = time.perf_counter()
    lender = prepared(world, seed)
    changes = {"data.world.seed": world, "seed": seed, "split.seed": seed, "co_train.combination": "whole_images"}
    folder = folder_with_params(f"whole_images_{world}_seed_{seed}", changes)
    borrow(folder, lender, BORROWED)
    scores = co_trained(folder)
    minutes = round((time.perf_counter() - began) / 60, 1)
    shared = {"world": world, "seed": seed, "iterations": whole, "minutes": minutes}
    branches = ("source_biased", "target_biased", "average")
    ROWS.add({**shared, "row": f"{branch}_whole_images", "miou": scores[branch]} for branch in branches)
    print(f"world {world} seed {seed}: on whole images {scores}", flush=True)


def baseline(world: int, seed: int, name: str, count: int) -> None:
    if ROWS.has(world=world, seed=seed, row=name, iterations=count):
        return
    began = time.perf_counter()
    folder = folder_with_params(
        f"world_{world}_seed_{seed}", {"data.world.seed": world, "seed": seed, "split.seed": seed}
    )
    run(folder, "experiments.baseline", name, str(count))
    miou = json.loads((folder / f"{name}_{count}.json").read_text())["miou"]
    minutes = round((time.perf_counter() - began) / 60, 1)
    ROWS.add([{"world": world, "seed": seed, "row": name, "iterations": count, "miou": miou, "minutes": minutes}])
    print(f"world {world} seed {seed}: {name} after {count} iterations {miou:.2f}", flush=True)


def jobs(pairs: tuple[tuple[int, int], ...]) -> Iterator[Callable[[], None]]:
    short, whole = iterations()
    for world, seed in pairs:
        yield partial(pipeline, world, seed)
    for name, count in (
        ("joint", whole),
        ("target", whole),
        ("all_labels", whole),
        ("source", whole),
        ("joint", short),
        ("all_labels", short),
    ):
        for world, seed in pairs:
            yield partial(baseline, world, seed, name, count)
    for world, seed in pairs:
        yield partial(whole_images, world, seed)


def best_per_row() -> pd.DataFrame:
    """mIoU by (world, seed) and row, the better of a row's runs."""
    return ROWS.table().pivot_table(index=["world", "seed"], columns="row", values="miou", aggfunc="max")


def table() -> str:
    best = best_per_row()
    lines = ["| | mIoU, percent | co-training's average minus this |", "|---|---|---|"]
    for row, title in TITLES.items():
        if row in best:
            gap = "" if row == "average" else paired_difference(best["average"], best[row])
            lines.append(f"| {title} | {mean_and_spread(best[row])} | {gap} |")
    better = best[["source", "target"]].max(axis=1)
    lines.append(
        f"| better warm-up of each seed | {mean_and_spread(better)} | {paired_difference(best['average'], better)} |"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    if sys.argv[1:] == ["table"]:
        print(table())
    elif sys.argv[1:2] != ["run"] or len(sys.argv) not in (2, 4):
        print(__doc__)  # above all where --help is asked for: a run takes hours
    else:
        in_pairs(jobs(PAIRS if sys.argv[1:] == ["run"] else tuple((int(w), int(s)) for w, s in [sys.argv[2:4]])))
