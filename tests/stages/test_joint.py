"""The stage, in the small project of tests/bad_input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch

from dstc.core.places import JOINT, LOSSES, METRICS, NETWORK, REPORT, VALIDATION
from tests.bad_input.conftest import LABELED, project, refusal, run_stage, set_params, warmed_up

__all__ = ["project", "refusal", "warmed_up"]  # the fixtures


@pytest.mark.usefixtures("project")
def test_one_network_is_trained_on_both_domains_for_as_many_iterations_as_the_others_together() -> None:
    set_params(joint={"iterations": None, "schedule_iterations": None, "batch": {"source": 3, "labeled_target": 1}})
    run_stage("joint")
    description = torch.load(JOINT / NETWORK, weights_only=True)["description"]
    assert description["trained"] == "joint"
    assert description["schedule"]["iterations"] == 2 + 2 + 2
    assert description["schedule"]["class_weights"] == "inverse_log"
    assert description["schedule"]["batch"] == {"source": 3, "labeled_target": 1}
    assert description["data"]["labeled_target"]["images"] == LABELED
    assert set(description["data"]) == {"source", "labeled_target"}
    losses, validation = (pd.read_csv(JOINT / curve) for curve in (LOSSES, VALIDATION))
    assert losses["iteration"].tolist() == [1, 2, 3, 4, 5, 6]
    assert validation["iteration"].tolist() == [2, 4, 6]
    assert losses["joint/source_cross_entropy"].gt(0).all()
    assert losses["joint/labeled_target_cross_entropy"].ge(0).all()


@pytest.mark.usefixtures("project")
def test_another_batch_is_another_run_and_not_the_rest_of_an_interrupted_one() -> None:
    first = (JOINT / NETWORK).read_bytes()
    set_params(joint={"batch": {"source": 1, "labeled_target": 1}})
    run_stage("joint")
    assert (JOINT / NETWORK).read_bytes() != first


@pytest.mark.usefixtures("project")
def test_left_out_it_writes_empty_curves_and_a_line_that_says_so_and_the_others_do_without(
    capsys: pytest.CaptureFixture[str],
) -> None:
    columns = {curve: (JOINT / curve).read_text().splitlines()[0] for curve in (LOSSES, VALIDATION)}
    set_params(joint={"iterations": 0, "schedule_iterations": None})
    run_stage("joint")
    assert "joint: joint.iterations is 0: no network was trained" in capsys.readouterr().out
    assert (JOINT / NETWORK).read_text() == "joint.iterations is 0: no network was trained\n"
    assert {curve: (JOINT / curve).read_text() for curve in columns} == {c: f"{head}\n" for c, head in columns.items()}
    for stage in ("co_train", "evaluate", "report"):
        run_stage(stage)
    missing = "Joint training was left out (joint.iterations is 0)"
    assert missing in capsys.readouterr().out
    assert missing in REPORT.read_text()
    summary = json.loads((METRICS / "summary.json").read_text())
    assert list(summary["half"]) == ["warm_up_source", "warm_up_target", "source_biased", "target_biased", "average"]


@pytest.mark.usefixtures("project")
def test_both_branches_can_start_from_it_and_no_other_network_is_read() -> None:
    set_params(co_train={"initialization": "both_from_joint", "learning_rate": 1e-12})
    for warm_up in ("source", "target"):
        Path(f"data/warm_up_{warm_up}/{NETWORK}").write_bytes(b"read by nobody")
    run_stage("co_train")
    start = torch.load(JOINT / NETWORK, weights_only=True)["state"]
    for branch in ("source_biased", "target_biased"):
        checkpoint = torch.load(f"data/co_train/{branch}.pt", weights_only=True)
        weight = "backbone.conv1.weight"
        assert torch.allclose(checkpoint["state"][weight], start[weight], atol=1e-6)
        assert f"{JOINT / NETWORK}" in checkpoint["description"]["inputs"]


def test_a_network_that_was_left_out_by_hand_is_refused_as_a_start(refusal: Callable[..., str]) -> None:
    set_params(co_train={"initialization": "both_from_joint"}, joint={"iterations": 0, "schedule_iterations": None})
    assert "joint.iterations 0 leaves out; set joint.iterations: null" in refusal("co_train")


def test_predicting_with_what_was_left_out_says_that_it_is_no_checkpoint(refusal: Callable[..., str]) -> None:
    (JOINT / NETWORK).write_text("joint.iterations is 0: no network was trained\n")
    assert f"error: {JOINT / NETWORK}: joint.iterations is 0: no network was trained" in refusal("evaluate")
