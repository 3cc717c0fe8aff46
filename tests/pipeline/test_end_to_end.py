"""What lies there after `dvc repro`."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any, NoReturn

import pytest
from PIL import Image
from ruamel.yaml import YAML

from tests.pipeline.conftest import Run
from tests.pipeline.project import Project

ROWS = {"warm_up_source", "warm_up_target", "joint", "source_biased", "target_biased", "average"}
DIFFERENCES = {"average_minus_joint", "better_branch_minus_joint"}
LOSSES = {
    "warm_up_source": ["warm_up_source/source_cross_entropy"],
    "warm_up_target": ["warm_up_target/target_cross_entropy"],
    "joint": ["joint/source_cross_entropy", "joint/labeled_target_cross_entropy"],
    "co_train": [
        "source_biased/source_cross_entropy",
        "source_biased/alignment",
        "source_biased/target_cross_entropy",
        "source_biased/cross_supervision",
        "target_biased/combined_cross_entropy",
        "target_biased/target_cross_entropy",
        "target_biased/cross_supervision",
        "source_biased/confident_share",
        "target_biased/confident_share",
    ],
}


@pytest.fixture(scope="session")
def root(run: Run) -> Path:
    return run.project.root


def strict_json(path: Path) -> Any:
    def refuse(constant: str) -> NoReturn:
        raise AssertionError(f"{path} holds {constant}")

    return json.loads(path.read_text(), parse_constant=refuse)


def test_every_output_of_dvc_yaml_exists_and_is_not_empty(root: Path) -> None:
    stages = YAML(typ="safe").load(root / "dvc.yaml")["stages"].values()
    outputs = [out if isinstance(out, str) else next(iter(out)) for stage in stages for out in stage["outs"]]
    outputs += [next(iter(out)) for stage in stages for out in stage.get("metrics", [])]
    assert len(outputs) > 20
    for output in outputs:
        path = root / output
        assert any(path.iterdir()) if path.is_dir() else path.stat().st_size > 0, output


def test_the_summary_is_strict_json_with_every_row_and_the_number_of_labeled_images(root: Path) -> None:
    summary = strict_json(root / "metrics/summary.json")
    assert set(summary) == {"half", "full", "labeled_images", "chosen_on_val"}
    for protocol in ("half", "full"):
        assert set(summary[protocol]) == ROWS | DIFFERENCES
        assert all(0 <= summary[protocol][row] <= 100 for row in ROWS)
    assert summary["labeled_images"] == 4


def test_the_scores_are_strict_json_and_agree_with_the_summary(root: Path) -> None:
    scores, summary = strict_json(root / "metrics/scores.json"), strict_json(root / "metrics/summary.json")
    for protocol in ("half", "full"):
        assert {row: scores[protocol][row]["miou"] for row in ROWS}.items() <= summary[protocol].items()
        assert len(scores[protocol]["average"]["iou"]) == 19


@pytest.mark.parametrize("stage", LOSSES)
def test_a_loss_curve_has_a_column_for_every_term_and_finite_numbers(root: Path, stage: str) -> None:
    with (root / f"metrics/losses_{stage}.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["iteration", "learning_rate", *LOSSES[stage]]
    iterations = 6 if stage == "joint" else 2
    assert [row["iteration"] for row in rows] == [str(done) for done in range(1, iterations + 1)]
    assert all(math.isfinite(float(value)) for row in rows for value in row.values())


def test_every_column_that_a_plot_names_is_in_its_file(root: Path) -> None:
    named = 0
    for plot in YAML(typ="safe").load(root / "dvc.yaml")["plots"]:
        settings = next(iter(plot.values())) if isinstance(plot, dict) else {}
        for axis in ("x", "y"):
            columns = settings.get(axis, {})
            for file, wanted in columns.items() if isinstance(columns, dict) else ():
                header = (root / file).read_text().splitlines()[0].split(",")
                assert set([wanted] if isinstance(wanted, str) else wanted) <= set(header), file
                named += 1
    assert named > 8


@pytest.mark.parametrize(("folder", "count"), [("metrics/pictures", 1), ("data/co_train/mixing", 2)])
def test_the_pictures_open(root: Path, folder: str, count: int) -> None:
    files = sorted((root / folder).rglob("*.png"))
    assert len(files) == count
    for file in files:
        with Image.open(file) as picture:
            picture.load()
            assert picture.mode == "RGB"
            assert min(picture.size) > 100


def test_the_report_has_scores_pictures_and_the_cost_of_every_stage(root: Path) -> None:
    report = (root / "metrics/report.html").read_text()
    assert "source-biased branch" in report
    assert report.count("data:image/webp;base64,") > 10
    assert "no record here" not in report
    assert len(report) < 2e6


def test_nothing_of_a_half_written_file_is_left_over(root: Path) -> None:
    assert [path for path in root.rglob("*.partial*") if ".git" not in path.parts] == []


def test_the_committed_lock_matches_code_and_parameters(project: Project) -> None:
    would = project.dvc("repro", "--dry", "--allow-missing")
    assert would.ran == would.restored == []


def test_a_clone_without_the_cache_knows_that_nothing_has_to_run(run: Run, tmp_path: Path) -> None:
    run.project.ok("git", "clone", "-q", str(run.project.root), str(tmp_path / "project"))
    clone = Project(tmp_path / "project")
    would = clone.dvc("repro", "--dry", "--allow-missing")
    assert would.ran == would.restored == []
    assert (clone.root / "metrics/summary.json").read_bytes() == (
        run.project.root / "metrics/summary.json"
    ).read_bytes()
