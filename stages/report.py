"""Stage report: one page of the whole run, metrics/report.html, that opens without a network.

    python -m stages.report

Reads what the other stages wrote, and the records of time, memory and commit that they left in .work/costs, if there are
any.
Without these records the same results give the same bytes.
"""

from __future__ import annotations

import argparse
import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

from dstc.config.params import Params, read_params
from dstc.core.costs import recorded
from dstc.core.errors import exit_on_user_error
from dstc.core.files import write_text
from dstc.core.index import load_index, read_split
from dstc.core.places import (
    CO_TRAIN,
    INDEX_SOURCE,
    INDEX_TARGET_TRAIN,
    INDEX_TARGET_VAL,
    JOINT,
    LOSSES,
    MADE_BY,
    METRICS,
    REPORT,
    SPLIT,
    VALIDATION,
    WARM_UP_SOURCE,
    WARM_UP_TARGET,
)
from dstc.evaluation.rows import TRAINED_WITH
from dstc.reporting.page import page
from dstc.reporting.reading import mapping, pictures_in, table
from dstc.reporting.results import Results

TRAININGS = (WARM_UP_SOURCE, WARM_UP_TARGET, JOINT, CO_TRAIN)
PACKAGES = ("torch", "torchvision", "numpy", "pillow", "dvc", "matplotlib")


def report() -> None:
    params = read_params()
    source, target_train, target_val = map(load_index, (INDEX_SOURCE, INDEX_TARGET_TRAIN, INDEX_TARGET_VAL))
    labeled, unlabeled = read_split(SPLIT)
    scores = mapping(METRICS / "scores.json", TRAINED_WITH)
    results = Results(
        data=_data(params),
        trained_with=scores.pop(TRAINED_WITH),
        scores=scores,
        chosen_on_val=bool(mapping(METRICS / "summary.json", "chosen_on_val")["chosen_on_val"]),
        confusion=table(METRICS / "confusion.csv", "actual", "predicted", "rate"),
        losses={folder.name: table(folder / LOSSES, "iteration") for folder in TRAININGS},
        validation={folder.name: table(folder / VALIDATION, "iteration") for folder in TRAININGS},
        source=source,
        target_train=target_train,
        target_val=target_val,
        labeled=labeled,
        unlabeled=unlabeled,
        pictures=pictures_in(METRICS / "pictures"),
        mixing=pictures_in(CO_TRAIN / "mixing"),
        params=params.model_dump(exclude={"paths", "runtime"}),
        versions=_versions(),
        records={stage: recorded(stage, made) for stage, made in MADE_BY.items()},
    )
    write_text(REPORT, page(results))
    print(f"{REPORT}: {REPORT.stat().st_size / 1e6:.1f} MB; open it in a browser")


def _data(params: Params) -> str:
    """What people call the data: by layouts, for where they lie is nobody else's business."""
    if params.paths.source == "embedded":
        return "built-in data set"
    return f"{params.data.source.layout} to {params.data.target.layout}"


def _versions() -> dict[str, str]:
    """Of Python and of what computes and draws; without those that are not installed, as dvc need not be."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m stages.report", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    with exit_on_user_error():
        report()


if __name__ == "__main__":
    main()
