"""A study that runs for real on a tiny world: killed, resumed, asked again."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import pandas as pd

from experiments.studies.questions import NETWORKS
from tests.pipeline.project import Project

ASK = (sys.executable, "-m", "experiments", "own", "run", "--seeds", "0,1")
ROWS = "experiments/results/own.csv"


def made(project: Project) -> dict[str, int]:
    """When each stage in a folder of its own ended."""
    done = (project.root / ".work/experiments").glob("*/done.json")
    return {path.parent.name: path.stat().st_mtime_ns for path in done}


def kill_after_the_first_commit(project: Project) -> None:
    study = subprocess.Popen([*ASK, "--commit"], cwd=project.root, env=project.env, stdout=subprocess.DEVNULL)
    give_up = time.monotonic() + 300
    while "Rows of own" not in project.ok("git", "log", "-1").text and time.monotonic() < give_up:
        time.sleep(0.1)
    study.send_signal(signal.SIGTERM)
    assert study.wait() == -signal.SIGTERM, "it was over before it could be killed"


def test_a_killed_study_keeps_its_rows_and_computes_the_others_alone(project: Project) -> None:
    kill_after_the_first_commit(project)
    first, stages = (project.root / ROWS).read_text(), made(project)
    assert len(first.splitlines()) == 2
    resumed = project.ok(*ASK, "--commit", "--processes", "2").text
    assert "1 of 2 jobs have their rows, 1 to run" in resumed
    assert (project.root / ROWS).read_text().startswith(first)
    assert stages.items() < made(project).items()
    assert {name.rpartition("-")[0] for name in made(project)} == {
        "prepare_data", "make_split", "warm_up_source", "warm_up_target", "joint", "co_train", "evaluate",
    }  # fmt: skip
    assert len(made(project)) == 13  # prepare_data serves both seeds

    finished, stages = (project.root / ROWS).read_text(), made(project)
    again = project.ok(*ASK).text
    assert "2 of 2 jobs have their rows, 0 to run" in again
    assert (project.root / ROWS).read_text() == finished
    assert made(project) == stages

    rows = pd.read_csv(project.root / ROWS, dtype={"commit": str})  # which may be digits alone
    repro = json.loads((project.root / "metrics/summary.json").read_text())["half"]
    same = {name: repro[name] for name in NETWORKS}  # studies leave joint training out
    assert rows[list(NETWORKS)].iloc[0].to_dict() == same  # `dvc repro` with the same seed
    assert f"| as it is | 2 | {rows['warm_up_source'].mean():.1f} ± " in again
    commits = project.ok("git", "log", "--format=%s", "--name-only", "-2").text
    assert commits.count("Rows of own: group=as it is, seed=") == 2
    assert [line for line in commits.splitlines() if line and not line.startswith("Rows")] == [ROWS, ROWS]
    head = project.ok("git", "log", "-1", "--format=%h", "HEAD~2").text.strip()
    assert set(rows["commit"]) == {head}

    project.edit_params({"evaluate": {"pictures": 0}})  # another question
    refused = project.call(*ASK[:4], "table", "--seeds", "0,1")
    assert refused.code == 1
    assert "has no such rows yet" in refused.text
    assert "Traceback" not in refused.text


BASELINES = """
from pathlib import Path
from experiments.rows import Rows
from experiments.runner import run_missing
from experiments.study import Job, baseline_scores
from experiments.tasks import baseline, plan

names = ("source", "target", "all_labels", "joint")
jobs = [Job(baseline(name, 2, "none", {}), {"": {"data": name}}, baseline_scores) for name in names]
run_missing({job: plan(job.run, []) for job in jobs}, Rows(Path("baselines.csv"), ("data", "miou")), [None, None])
"""


def test_each_baseline_trains_on_what_it_is_named_after(project: Project) -> None:
    project.ok(sys.executable, "-c", BASELINES)
    rows = pd.read_csv(project.root / "baselines.csv", index_col="data")
    images = {
        "source": {"source": 8},
        "target": {"target": 4},
        "all_labels": {"target": 10},
        "joint": {"source": 8, "target": 4},
    }
    assert set(rows.index) == set(images)
    for name, expected in images.items():
        (folder,) = (project.root / ".work/experiments").glob(f"baseline_{name}-*/data/baseline")
        data = project.description(str(folder / "network.pt"))["data"]
        assert {part: seen["images"] for part, seen in data.items()} == expected
        last = pd.read_csv(folder / "validation.csv")["target_miou"].iloc[-1]
        assert rows.loc[name, "miou"] == round(last, 2)
