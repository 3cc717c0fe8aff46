"""Studies: what has no row yet is computed, and rows become a table.

    python -m experiments                      the studies there are
    python -m experiments compare run          compute what has no row yet in experiments/results/compare.csv
    python -m experiments compare table        the rows as a table
    python -m experiments own run "split.size=200" "optim.momentum=0.95 co_train.class_mix=false" --seeds 0,1,2

`own` compares settings of yours with params.yaml as it is; `parts` among them stands for each part of the method
switched off. docs/experiments.md says more.
"""

from __future__ import annotations

import argparse
import os
import signal
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd
import torch

from dstc.core.errors import UserError, exit_on_user_error, nearest
from experiments.registry import STUDIES
from experiments.rows import Rows, in_words
from experiments.runner import run_missing
from experiments.studies.questions import own
from experiments.study import Job, Study
from experiments.tables import draw_curve, table, values_of
from experiments.tasks import RESULTS, plan

NAMES = {"digest": str, "commit": str}  # of hexadecimal digits, which may look like a number


def main() -> None:
    given = _arguments()
    if given.study is None:
        print(*(f"{name:20}  {study.about}" for name, study in STUDIES.items()), sep="\n")
        return
    if given.study not in STUDIES:
        raise UserError(f"no study '{given.study}'{nearest(given.study, STUDIES)}; there are {', '.join(STUDIES)}")
    study = own(given.settings, given.seeds) if given.study == "own" else STUDIES[given.study]
    path, jobs = RESULTS / f"{given.study}.csv", {}
    if given.do == "run" or "digest" in study.columns:
        jobs = {job: plan(job.run, given.S) for job in _asked(study, given.study, given.only)}
        refuse_unused(given.S, jobs)
    if given.do == "run":
        for number in (signal.SIGINT, signal.SIGTERM):  # die at once: the stages notice it, and save
            signal.signal(number, signal.SIG_DFL)
        slots = given.gpus or [None] * given.processes
        run_missing(jobs, Rows(path, study.columns, given.commit), slots)
    rows = pd.read_csv(path, dtype=NAMES) if path.exists() else pd.DataFrame(columns=study.columns)
    if "digest" in study.columns:
        rows = rows[rows["digest"].isin([task.digest for task in jobs.values()])]
    if rows.empty:
        raise UserError(f"{path} has no such rows yet; `run` in the place of `table` computes them")
    print(table(rows, study.layout))
    if given.curve and study.draw:
        study.draw(rows, given.over, given.curve)
    elif given.curve and study.layout:
        draw_curve(values_of(rows, study.layout), given.curve)


def _asked(study: Study, name: str, only: str) -> list[Job]:
    told = {job: " ".join(map(in_words, job.rows.values())) for job in study.jobs()}
    asked = [job for job, rows in told.items() if only in rows]
    if told and not asked:
        example = in_words(next(iter(next(iter(told)).rows.values())))
        raise UserError(f"--only '{only}': no job of study {name} has such a row; the first one has '{example}'")
    return asked


def refuse_unused(machine: Sequence[str], jobs: Iterable[Job]) -> None:
    """Paths are for runs with a preset: the others have the data of params.yaml, and would pass them over."""
    unused = [typed for typed in machine if not typed.startswith("runtime.")]
    if unused and not any(job.run.preset for job in jobs):
        raise UserError(f"-S {unused[0]}: this study has the data of params.yaml; write it there")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m experiments", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("study", nargs="?", help="without one, they are listed")
    add("do", nargs="?", choices=["run", "table"], default="table")
    add("settings", nargs="*", metavar="SETTING", help="own: 'key=value ...', one setting each")
    add("--seeds", type=_numbers, default=(0, 1, 2), help="own: separated by commas (0,1,2)")
    add("--only", default="", metavar="TEXT", help="run: only jobs with such a row: 'world=103, seed=3'")
    add(
        "-S",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="runtime of this machine; of studies with a preset also its paths and model.initial_weights",
    )
    add("--commit", action="store_true", help="run: commit rows to git as they come")
    add("--curve", type=Path, metavar="FILE.svg", help="draw mIoU over split.size, or as --over says, as well")
    add("--over", choices=("total_iterations", "labels"), default="total_iterations", help="budget: what to draw over")
    add("--processes", type=int, choices=range(1, 65), default=1, metavar="N", help="run: jobs at a time (1)")
    add("--gpus", type=_gpus, help="run: such as 0,1: a job at a time on each; 0,0 is two on GPU 0")
    return parser.parse_intermixed_args()


def _numbers(text: str) -> list[int]:
    """Different whole numbers from 0 on, as argparse takes them."""
    parts = text.split(",")
    if not all(part.isdecimal() for part in parts) or len(set(parts)) < len(parts):
        raise argparse.ArgumentTypeError(f"'{text}': must be different numbers from 0 on, separated by commas (0,1)")
    return [int(part) for part in parts]


def _gpus(text: str) -> list[str]:
    """What CUDA_VISIBLE_DEVICES takes, of the GPUs that this process may use, counted from 0.

    Torch passes over a GPU that is not there, and jobs would train on the CPU.
    """
    parts, there = text.split(","), torch.cuda.device_count()
    if not all(part.isdecimal() and int(part) < there for part in parts):
        raise argparse.ArgumentTypeError(
            f"'{text}': must be numbers of GPUs, separated by commas; here are {there}, counted from 0"
        )
    visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(there)))
    return [visible.split(",")[int(part)] for part in parts]


if __name__ == "__main__":
    with exit_on_user_error():
        main()
