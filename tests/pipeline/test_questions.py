"""The three questions, asked with the real dvc on a tiny world."""

from __future__ import annotations

import json
import sys

import pandas as pd

from tests.pipeline.project import Project

ASK = (sys.executable, "-m", "experiments.questions")


def test_the_label_curve_runs_what_is_missing_once_and_is_refused_on_changed_code(project: Project) -> None:
    first = project.ok(*ASK, "labels", "--sizes", "4,6", "--seeds", "0")
    assert "0 of 2 experiments are there, 2 to run" in first.text
    again = project.ok(*ASK, "labels", "--sizes", "4,6", "--seeds", "0")
    assert "2 of 2 experiments are there, 0 to run" in again.text
    assert "Running stage" not in again.text
    table = pd.read_csv(project.root / "experiments/results/labels.csv", index_col="group")
    committed = json.loads((project.root / "metrics/summary.json").read_text())["half"]
    assert table.loc[4, "average"] == round(committed["average"], 3)  # seed 0 with 4 labels is the committed run
    for size in (4, 6):
        assert f"| {size} | {table.loc[size, 'warm_up_source']:.1f} (one seed)" in again.text
    assert (project.root / "experiments/results/labels.svg").read_text().lstrip().startswith("<?xml")
    with (project.root / "dstc/core/errors.py").open("a") as file:
        file.write("# changed\n")
    refused = project.call(*ASK, "parts")
    assert refused.code != 0
    assert "changed since the last commit: dstc/core/errors.py" in refused.text
    assert "Traceback" not in refused.text
