import csv
import io
import json

import pytest
import torch

from dstc.core.taxonomy import CITYSCAPES_19, Classes
from dstc.evaluation.rows import ROWS
from dstc.evaluation.tables import (
    confusion_csv,
    console_table,
    iou_per_class_csv,
    percent,
    scores,
    summary,
    write_tables,
)
from dstc.label_maps.confusion_matrix import ConfusionMatrix

THREE = Classes(("road", "car, parked", "sky"), ((1, 2, 3), (4, 5, 6), (7, 8, 9)))


def matrix_of(label, prediction, num_classes=3):
    matrix = ConfusionMatrix(num_classes)
    matrix.update(torch.tensor(label, dtype=torch.uint8), torch.tensor(prediction))
    return matrix


def confusion_of(matrix):
    return {protocol: dict.fromkeys(ROWS, matrix) for protocol in ("half", "full")}


@pytest.fixture
def without_sky():
    """IoU: road 2/3, car 1/2, sky absent."""
    return matrix_of([0, 0, 0, 1], [0, 0, 1, 1])


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


def strictly(text):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_fractions_become_percent_with_two_decimals_and_nan_becomes_none():
    assert percent(0.123456) == 12.35
    assert percent(float("nan")) is None


def test_summary_holds_one_number_for_each_protocol_and_row_and_the_lead_over_joint_training(without_sky):
    lead = {"average_minus_joint": 0.0, "better_branch_minus_joint": 0.0}
    assert summary(confusion_of(without_sky)) == {p: dict.fromkeys(ROWS, 58.33) | lead for p in ("half", "full")}


def test_scores_say_null_for_a_class_without_a_true_pixel(without_sky):
    assert scores(confusion_of(without_sky), THREE)["half"]["average"] == {
        "miou": 58.33,
        "pixel_accuracy": 75.0,
        "iou": {"road": 66.67, "car, parked": 50.0, "sky": None},
    }
    only_predicted = scores(confusion_of(matrix_of([0, 0], [0, 2])), THREE)["full"]["source_biased"]["iou"]
    assert only_predicted == {"road": 50.0, "car, parked": None, "sky": None}


def test_scores_of_nineteen_classes_hold_the_means_over_sixteen_and_thirteen():
    every = list(range(19))
    wrong_terrain = [0 if k == CITYSCAPES_19.names.index("terrain") else k for k in every]
    row = scores(confusion_of(matrix_of(every, wrong_terrain, 19)), CITYSCAPES_19)["half"]["average"]
    assert row["miou"] == percent(17.5 / 19)
    assert row["miou_16"] == percent(15.5 / 16)
    assert row["miou_13"] == percent(12.5 / 13)


def test_class_table_has_a_column_for_each_row_and_an_empty_cell_for_an_absent_class(without_sky):
    rows = rows_of(iou_per_class_csv(dict.fromkeys(ROWS, without_sky), THREE))
    assert list(rows[0]) == ["class", *ROWS]
    assert [row["average"] for row in rows] == ["66.67", "50.0", ""]
    assert rows[1]["class"] == "car, parked"


def test_confusion_table_holds_percent_of_each_true_class_and_skips_absent_ones(without_sky):
    rows = rows_of(confusion_csv(without_sky, THREE))
    assert [tuple(row.values()) for row in rows[:3]] == [
        ("road", "road", "66.67"),
        ("road", "car, parked", "33.33"),
        ("road", "sky", "0.0"),
    ]
    assert {row["actual"] for row in rows} == {"road", "car, parked"}


def test_written_files_are_strict_json_even_where_nothing_is_labeled(tmp_path):
    nothing = matrix_of([255], [0])
    write_tables(
        tmp_path, confusion_of(nothing), THREE, {"labeled_images": 20, "chosen_on_val": 0}, {"average": {"torch": "2"}}
    )
    assert strictly((tmp_path / "summary.json").read_text())["labeled_images"] == 20
    assert strictly((tmp_path / "scores.json").read_text())["half"]["average"]["miou"] is None
    assert strictly((tmp_path / "scores.json").read_text())["trained_with"] == {"average": {"torch": "2"}}
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "confusion.csv",
        "iou_per_class.csv",
        "scores.json",
        "summary.json",
    ]


def test_tables_for_plots_hold_the_half_protocol_or_else_the_one_there_is(tmp_path, without_sky):
    perfect = matrix_of([0, 1, 2], [0, 1, 2])
    both = {"full": dict.fromkeys(ROWS, perfect), "half": dict.fromkeys(ROWS, without_sky)}
    write_tables(tmp_path, both, THREE, {}, {})
    assert "66.67" in (tmp_path / "iou_per_class.csv").read_text()
    del both["half"]
    write_tables(tmp_path, both, THREE, {}, {})
    assert "66.67" not in (tmp_path / "iou_per_class.csv").read_text()


def test_console_table_has_a_line_for_each_row_under_its_protocols_once_where_they_agree(without_sky):
    head, *lines = console_table(confusion_of(without_sky), THREE).splitlines()
    assert head.split() == ["half", "=", "full", "miou"]
    assert lines[-1].split()[-2:] == ["branches", "58.33"]
    perfect = matrix_of([0, 1, 2], [0, 1, 2])
    differing = {"half": dict.fromkeys(ROWS, perfect), "full": dict.fromkeys(ROWS, without_sky)}
    head, *lines = console_table(differing, THREE).splitlines()
    assert head.split() == ["half", "miou", "full", "miou"]
    assert [line[:22].strip() for line in lines] == list(ROWS.values())
    assert lines[-1].split()[-2:] == ["100.00", "58.33"]
