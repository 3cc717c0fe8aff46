"""The whole pipeline with a small transformer: every command of dvc.yaml, in its order, in one process without dvc."""

from __future__ import annotations

import csv
import json
import math
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from ruamel.yaml import YAML

from dstc import predict
from dstc.models.checkpoints import read_described
from experiments import joint_pair, mean_teacher
from experiments.tasks import BASELINE
from tests.pipeline.project import ROOT, SMALL, edit_params

TRANSFORMER = {
    "model": {"backbone": "timm/test_vit", "head": "dpt"},
    "optim": {
        "optimizer": "adamw",
        "layer_decay": 0.8,
        "classifier_multiplier": 10.0,
        "weight_decay": 0.01,
        "clip_gradient_norm": 1.0,
    },
}
RATE = {"learning_rate": 0.0005, "lr_ramp_iterations": 1}
RUN = """
import json, runpy, sys
for module, *arguments in json.loads(sys.argv[1]):
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__")
"""


def stages() -> list[list[str]]:
    """[module, arguments, ...] of each stage, in the order of dvc.yaml."""
    written = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"].values()
    return [shlex.split(stage["cmd"].partition(" -m ")[2]) for stage in written]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("timm", reason="timm is not installed: pip install timm")
    folder = tmp_path_factory.mktemp("transformer")
    shutil.copy(ROOT / "params.yaml", folder)
    trainings = dict.fromkeys(("warm_up.source", "warm_up.target", "joint", "co_train"), RATE)
    changes = {name: {**SMALL.get(name, {}), **trainings.get(name, {})} for name in {*SMALL, *trainings}}
    edit_params(folder / "params.yaml", changes | TRANSFORMER)
    done = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps(stages())],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return folder


def test_every_network_is_scored_and_says_what_it_is(finished: Path) -> None:
    summary = json.loads((finished / "metrics/summary.json").read_text())
    rows = {"warm_up_source", "warm_up_target", "joint", "source_biased", "target_biased", "average"}
    assert all(0 <= summary["full"][row] <= 100 for row in rows)
    for path in ("warm_up_source/network.pt", "co_train/source_biased.pt", "co_train/target_biased.pt"):
        description, state = read_described(finished / "data" / path)
        assert TRANSFORMER["model"].items() <= description["model"].items()
        assert all(value.isfinite().all() for value in state.values())


def test_every_training_moves_every_part_of_the_network(finished: Path) -> None:
    states = [
        read_described(finished / "data" / path)[1]
        for path in ("warm_up_source/network.pt", "warm_up_target/network.pt", "co_train/source_biased.pt")
    ]
    for key, values in {key: [state[key] for state in states] for key in states[0]}.items():
        assert not any(torch.equal(values[0], other) for other in values[1:]), key


def test_the_learning_rate_of_every_training_is_the_one_asked_for_and_its_losses_are_finite(finished: Path) -> None:
    for stage in ("warm_up_source", "warm_up_target", "joint", "co_train"):
        with (finished / f"metrics/losses_{stage}.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert float(rows[0]["learning_rate"]) == pytest.approx(RATE["learning_rate"])
        assert all(math.isfinite(float(value)) for row in rows for value in row.values())


def test_its_network_predicts(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished)
    photo = next(Path("data").rglob("*.png"))
    predict.main(["data/co_train/source_biased.pt", str(photo), "--device", "cpu"])
    assert next(Path("predictions/train_ids").rglob("*.png")).stat().st_size > 0


def test_the_trainings_of_studies_go_on_from_a_finished_pipeline(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(finished)
    for module, networks in ((joint_pair, ("joint", "pair")), (mean_teacher, ("source_biased",))):
        module.main()
        with Path(BASELINE, "validation.csv").open() as file:
            last = list(csv.DictReader(file))[-1]
        assert {f"{name}{kind}_miou" for name in networks for kind in ("", "_ema")} <= last.keys()
    with Path(BASELINE, "losses.csv").open() as file:  # of Mean Teacher, whose pair has none
        assert list(csv.DictReader(file))[-1]["source_biased/cross_supervision"]  # 0: nobody is sure of anything yet
