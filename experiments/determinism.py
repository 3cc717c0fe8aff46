"""What the same seed gives on the same machine: which settings leave every byte as it is, and how far the others lead.

    python -m experiments.determinism run        trains what is not there yet; rows go to results/determinism.csv
    python -m experiments.determinism table      the table of README

A target warm-up and a co-training of a few dozen iterations each on a small embedded world, always from the same source
warm-up. Each is compared with the run on one thread, or with the first of its pair. After a change to the code, remove
.work/experiments/determinism_* first.
"""

from __future__ import annotations

import json
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from experiments.folders import WORK, borrow, folder_with_params, run, run_once
from experiments.rows import Row, Rows

ITERATIONS = 40
SCHEDULE = {"iterations": ITERATIONS, "schedule_iterations": ITERATIONS, "validate_every": ITERATIONS}
SMALL: dict[str, Any] = {
    **{f"data.world.{images}": count for images, count in
       {"source_images": 40, "train_images": 40, "val_images": 20}.items()},
    "split.size": 10,
    **{f"{stage}.{key}": value for stage in ("warm_up.source", "warm_up.target", "co_train")
       for key, value in SCHEDULE.items()},
    "co_train.cross_supervision_start": 0.0,
    "evaluate.pictures": 0,
    "runtime.device": "cpu",
}  # fmt: skip
ROWS = Rows("determinism", ("run", "stage"))
NETWORKS = {
    "warm_up_target": ("data/warm_up_target/network.pt",),
    "co_train": ("data/co_train/source_biased.pt", "data/co_train/target_biased.pt"),
}
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
REFERENCE = "one thread, no worker, cache"


@dataclass(frozen=True)
class Trial:
    title: str
    changes: dict[str, Any] = field(default_factory=dict)
    against: str = REFERENCE
    beside: bool = False  # another run of the same machine, which is started at the same time


TRIALS = (
    Trial(REFERENCE),
    Trial("the same again"),
    Trial("1 worker", {"runtime.workers": 1}),
    Trial("3 workers", {"runtime.workers": 3}),
    Trial("no cache", {"runtime.cache": "none"}),
    Trial("beside another run", beside=True),
    Trial("2 threads", {"runtime.threads": 2}),
    Trial("2 threads again, against 2 threads", {"runtime.threads": 2}, against="2 threads"),
    Trial("bf16", {"model.precision": "bf16"}),
    Trial("bf16 again, against bf16", {"model.precision": "bf16"}, against="bf16"),
)


def name_of(title: str) -> str:
    return "determinism_" + "_".join(title.replace(",", "").split())


def folder_of(title: str, changes: dict[str, Any]) -> Path:
    return folder_with_params(name_of(title), {**SMALL, **changes})


def lender() -> Path:
    folder = folder_of("lender", {})
    run_once(folder, "data/index/target_val.json", "stages.prepare_data")
    run_once(folder, "data/split", "stages.make_split")
    run_once(folder, "data/warm_up_source/network.pt", "stages.warm_up", "source")
    return folder


def train(title: str, changes: dict[str, Any]) -> None:
    """Both trainings and their scores, from nothing: neither a state nor a cached image of an earlier run is there."""
    folder = folder_of(title, changes)
    for left in ("data/warm_up_target", "data/co_train", "metrics", ".work"):
        shutil.rmtree(folder / left, ignore_errors=True)
    borrow(folder, lender(), ("world", "index", "split", "warm_up_source"))
    run(folder, "stages.warm_up", "target")
    run(folder, "stages.co_train")
    run(folder, "stages.evaluate")


def weights(folder: Path, file: str) -> torch.Tensor:
    """What is learnt; BatchNorm's running statistics, which are of another scale, are left out."""
    state = torch.load(folder / file, weights_only=True)["state"]
    learnt = [tensor for name, tensor in state.items() if not name.endswith(STATISTICS)]
    return torch.cat([tensor.flatten().double() for tensor in learnt])


def miou(folder: Path, stage: str) -> pd.Series:
    scores = pd.Series(json.loads((folder / "metrics/summary.json").read_text(encoding="utf-8"))["half"])
    return scores[["warm_up_target"]] if stage == "warm_up_target" else scores[["source_biased", "target_biased"]]


def compared(stage: str, one: Path, other: Path) -> Row:
    """Largest differences, and whether every byte of networks and curves is the same."""
    folder = f"data/{stage}"
    files = [*NETWORKS[stage], f"{folder}/losses.csv", f"{folder}/validation.csv"]
    losses = [pd.read_csv(run / folder / "losses.csv").drop(columns="learning_rate") for run in (one, other)]
    return {
        "same_bytes": all((one / file).read_bytes() == (other / file).read_bytes() for file in files),
        "weight": max(float((weights(one, file) - weights(other, file)).abs().max()) for file in NETWORKS[stage]),
        "loss": round(float((losses[0] - losses[1]).abs().max().max()), 5),
        "miou": round(float((miou(one, stage) - miou(other, stage)).abs().max()), 2),
    }


def measure(trial: Trial) -> None:
    """Train what is not there yet, and compare."""
    titles = [trial.title, f"{trial.title}, the other"] if trial.beside else [trial.title]
    folders = [WORK / name_of(title) for title in titles]
    if not all((folder / "metrics/summary.json").exists() for folder in folders):
        with ThreadPoolExecutor(len(titles)) as pool:
            list(pool.map(lambda title: train(title, trial.changes), titles))
    against = WORK / name_of(trial.against)
    for stage in NETWORKS:
        rows = [compared(stage, folder, against) for folder in folders]
        row = {key: min(each[key] for each in rows) if key == "same_bytes" else max(each[key] for each in rows)
               for key in rows[0]}  # fmt: skip
        ROWS.add([{"run": trial.title, "stage": stage, "torch": torch.__version__, **row}])
        print(trial.title, stage, row, flush=True)


def table() -> str:
    lines = ["| | stage | bytes | largest weight difference | loss | mIoU, points |", "|---|---|---|---|---|---|"]
    for row in ROWS.table().itertuples():
        if row.run != REFERENCE:
            same = "the same" if row.same_bytes else "others"
            figures = "0 | 0 | 0" if row.same_bytes else f"{row.weight:.1g} | {row.loss:.1g} | {row.miou:.2f}"
            lines.append(f"| {row.run} | {row.stage} | {same} | {figures} |")
    return "\n".join(lines)


if __name__ == "__main__":
    if sys.argv[1:] == ["table"]:
        print(table())
    else:
        lender()
        for trial in TRIALS:
            measure(trial)
