"""The three questions that everybody asks, each one command over `dvc exp`; what has been run already is not run again.

    python -m experiments.questions labels --sizes 20,50,200 --seeds 0,1,2     how does mIoU grow with labels?
    python -m experiments.questions parts --seeds 0,1,2                        what does each part of the method bring?
    python -m experiments.questions versus -S co_train.color_augmentation=true --seeds 0,1,2,3,4     is that better?

A seed stands for both the seed of training and the split's (`seed` and `split.seed`). Tables are printed and written to
experiments/results/ as CSV; `labels` also draws its curve. With `--gpus 0,1` experiments run side by side, one per GPU.
Run the baseline (`dvc repro`) first, so that what all have in common is trained once.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from dstc.core.errors import UserError, exit_on_user_error
from experiments.dvc_runs import require_committed, run_missing, scores
from experiments.rows import RESULTS
from experiments.statistics import mean_and_spread, paired_difference
from experiments.variants import SWITCHED_OFF

NETWORKS = ("warm_up_source", "warm_up_target", "source_biased", "target_biased", "average")
Settings = Mapping[str, Any]


def seeded(settings: Settings, seeds: Sequence[int]) -> list[dict[str, Any]]:
    return [{**settings, "seed": seed, "split.seed": seed} for seed in seeds]


def measured(groups: Mapping[str, Settings], seeds: Sequence[int], gpus: Sequence[str]) -> pd.DataFrame:
    """mIoU of every network by group and seed; runs what is missing."""
    require_committed()
    run_missing([wanted for settings in groups.values() for wanted in seeded(settings, seeds)], gpus=gpus)
    tables = {name: scores(seeded(settings, seeds)) for name, settings in groups.items()}
    return pd.concat(tables, names=["group"]).reset_index("group").set_index(["group", "seed"])[list(NETWORKS)]


def labels(sizes: Sequence[int], seeds: Sequence[int], gpus: Sequence[str]) -> str:
    table = measured({str(size): {"split.size": size} for size in sizes}, seeds, gpus)
    table.round(3).to_csv(RESULTS / "labels.csv")
    draw_curve(table, sizes)
    lines = ["| labeled images | " + " | ".join(NETWORKS) + " |", "|---" * (len(NETWORKS) + 1) + "|"]
    for size in sizes:
        rows = table.loc[str(size)]
        lines.append(f"| {size} | " + " | ".join(mean_and_spread(rows[name]) for name in NETWORKS) + " |")
    return "\n".join(lines)


def draw_curve(table: pd.DataFrame, sizes: Sequence[int]) -> None:
    """mIoU over the number of labeled images, mean and standard deviation over seeds, into labels.svg."""
    import matplotlib as mpl

    mpl.use("agg")
    by_size = table.groupby("group")
    mean, spread = by_size.mean(), by_size.std().fillna(0)
    order = [str(size) for size in sorted(sizes)]
    axes = (
        mean.loc[order]
        .set_index(pd.Index(sorted(sizes), name="labeled target images"))
        .plot(
            yerr=spread.loc[order].set_index(pd.Index(sorted(sizes))),
            marker="o",
            capsize=3,
            logx=True,
            figsize=(7, 4.5),
        )
    )
    axes.set_xticks(sorted(sizes), [str(size) for size in sorted(sizes)])
    axes.minorticks_off()
    axes.set_ylabel("mIoU, percent")
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)  # beside the curves, never on one
    axes.figure.savefig(RESULTS / "labels.svg", bbox_inches="tight", metadata={"Date": None})


def parts(seeds: Sequence[int], gpus: Sequence[str]) -> str:
    whole = "the whole method"
    return compared({whole: {}, **SWITCHED_OFF}, whole, seeds, gpus, "parts")


def versus(settings: Settings, seeds: Sequence[int], gpus: Sequence[str]) -> str:
    changed = ", ".join(f"{key}={value}" for key, value in settings.items())
    return compared({"as committed": {}, changed: settings}, "as committed", seeds, gpus, "versus")


def compared(groups: Mapping[str, Settings], base: str, seeds: Sequence[int], gpus: Sequence[str], name: str) -> str:
    """Every group's branches and their average, and the average's paired difference to that of `base`."""
    table = measured(groups, seeds, gpus)
    table.round(3).to_csv(RESULTS / f"{name}.csv")
    columns = NETWORKS[2:]
    lines = ["| | " + " | ".join(columns) + f" | average minus that of {base} |", "|---" * (len(columns) + 2) + "|"]
    for group in groups:
        rows = table.loc[group]
        gap = "" if group == base else paired_difference(rows["average"], table.loc[base]["average"])
        lines.append(f"| {group} | " + " | ".join(mean_and_spread(rows[name]) for name in columns) + f" | {gap} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m experiments.questions", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("question", choices=["labels", "parts", "versus"])
    parser.add_argument("--sizes", type=_numbers, default=[], help="values of split.size, separated by commas")
    parser.add_argument("--seeds", type=_numbers, default=[0, 1, 2], help="separated by commas; 0,1,2 if not given")
    parser.add_argument("--gpus", type=lambda text: text.split(","), default=[], help="such as 0,1")
    parser.add_argument("-S", "--set", action="append", default=[], metavar="KEY=VALUE", help="what `versus` changes")
    given = parser.parse_args()
    with exit_on_user_error():
        if given.question == "labels":
            if not given.sizes:
                raise UserError("labels wants --sizes, such as --sizes 20,50,200")
            print(labels(given.sizes, given.seeds, given.gpus))
        elif given.question == "parts":
            print(parts(given.seeds, given.gpus))
        else:
            settings = dict(part.split("=", 1) for part in given.set if "=" in part)
            if not settings or len(settings) < len(given.set):
                raise UserError("versus wants what to change as -S key=value, such as -S optim.momentum=0.95")
            print(versus(settings, given.seeds, given.gpus))


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


if __name__ == "__main__":
    main()
