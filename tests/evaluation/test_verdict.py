"""What is said of co-training beside joint training."""

import pandas as pd
import pytest

from dstc.evaluation.verdict import SPREAD, differences, verdict
from experiments.__main__ import RESULTS

IOU = {"road": 90.0, "rider": 10.0, "bus": 30.0, "train": 5.0, "sky": None}


def rows(**miou):
    return {row: {"miou": value, "iou": IOU} for row, value in miou.items()}


BEHIND = rows(joint=38.81, source_biased=37.41, target_biased=33.08, average=36.82)
BEHIND["average"]["iou"] = {"road": 89.5, "rider": 15.31, "bus": 10.0, "train": 5.01, "sky": None}


def test_the_numbers_are_co_training_minus_joint_training():
    miou = {row: scores["miou"] for row, scores in BEHIND.items()}
    assert differences(miou) == {"average_minus_joint": -1.99, "better_branch_minus_joint": -1.4}
    for row in ("joint", "average"):
        assert differences({**miou, row: None}) == {}
        assert differences({name: value for name, value in miou.items() if name != row}) == {}


def test_the_first_sentence_says_it_all_in_short_and_the_others_name_the_better_branch_classes_and_the_seed():
    assert verdict({**rows(warm_up_source=17.0, warm_up_target=15.22), **BEHIND}) == [
        "The average of both branches has 36.8 mIoU, 2.0 below joint training (38.8), 21.6 above the target warm-up "
        "(15.2).",
        "The better branch, the source-biased one (data/co_train/source_biased.pt), reaches 37.4, 1.4 below joint training.",
        "By class, the average is furthest ahead in rider (+5.3), furthest behind in bus (-20.0) and road (-0.5).",
        "One seed: on the built-in data set, the average's lead or lag varies by 1.2 points from seed to seed (standard "
        "deviation), so this run alone does not decide it.",
    ]


def test_a_clear_lead_and_a_tie_are_called_so():
    first, second, last = verdict(rows(joint=30.0, source_biased=29.96, target_biased=34.0, average=36.0))
    assert first == "The average of both branches has 36.0 mIoU, 6.0 above joint training (30.0)."
    assert second.startswith(
        "The better branch, the target-biased one (data/co_train/target_biased.pt), reaches 34.0, "
    )
    assert last.endswith("(standard deviation).")
    first, second, _ = verdict(rows(joint=36.02, source_biased=36.0, target_biased=34.0, average=36.0))
    assert "level with joint training (36.0)" in first
    assert "level with joint training" in second


def test_without_joint_training_the_sentence_says_what_is_missing():
    left_out = {row: scores for row, scores in BEHIND.items() if row != "joint"}
    assert verdict({**left_out, **rows(warm_up_target=None)}) == [
        "The average of both branches has 36.8 mIoU.",
        "Joint training was left out (joint.iterations is 0), so this run does not say whether co-training is ahead of "
        "it.",
    ]


def test_scores_that_are_undefined_are_not_compared():
    (sentence,) = verdict(rows(joint=None, source_biased=None, target_biased=None, average=None))
    assert sentence == "Co-training cannot be compared: mIoU is undefined, for no val pixel has a class."


def test_the_spread_is_that_of_the_measured_seeds():
    measured = pd.read_csv(RESULTS / "compare.csv").query("iterations == 1800 and class_weights == 'inverse_log'")
    by_seed = measured.pivot(index="seed", columns="row", values="miou")
    leads = (by_seed["average"] - by_seed["joint"]).dropna()
    assert len(leads) == 5
    assert leads.std() == pytest.approx(SPREAD, abs=0.05)
