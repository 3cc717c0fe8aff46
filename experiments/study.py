"""What a study is: the jobs that make its rows, and how its table is laid out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from dstc.core.places import VALIDATION
from dstc.evaluation.rows import main_protocol
from experiments.rows import Row
from experiments.tables import Layout
from experiments.tasks import BASELINE, Run

SCORED = ("source_biased", "target_biased", "average")


def scores(folder: Path) -> Mapping[str, Row]:
    """A row for each network of a whole run: its mIoU, percent; of the branches also the best of their validations."""
    miou = _mious(folder)
    best = pd.read_csv(folder / "metrics/validation_co_train.csv").max().round(2)
    return {name: {"miou": miou[name], "best_on_val": best.get(f"{name}_miou", "")} for name in miou}


def scores_in_one_row(folder: Path) -> Mapping[str, Row]:
    """A single row with a column for each network."""
    return {"": _mious(folder)}


def _mious(folder: Path) -> dict[str, float]:
    summary = json.loads((folder / "metrics/summary.json").read_text())
    scores: dict[str, float] = summary[main_protocol(summary)]
    return scores


def baseline_scores(folder: Path) -> Mapping[str, Row]:
    """The single row of a baseline: its last validation, and its best one."""
    curve = pd.read_csv(folder / BASELINE / VALIDATION)["target_miou"].round(2)
    return {"": {"miou": curve.iloc[-1], "best_on_val": curve.max()}}


@dataclass(frozen=True, eq=False)
class Job:
    """A run, the keys of the rows that come of it by name, and what measures them in the folder of its last stage."""

    run: Run
    rows: Mapping[str, Row]
    measure: Callable[[Path], Mapping[str, Row]] = scores


@dataclass(frozen=True)
class Study:
    """The rows of experiments/results/NAME.csv.

    The columns `minutes`, `commit` and `digest` (of all that decides a result, so part of the key) fill themselves.
    """

    about: str
    columns: tuple[str, ...]
    layout: Layout | None = None
    jobs: Callable[[], Iterable[Job]] = tuple
    draw: Callable[[pd.DataFrame, str, Path], None] | None = None  # rows, over which of their columns, to a file
