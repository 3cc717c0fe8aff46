"""The stage in a folder that looks as after `evaluate`."""

import json
import shutil
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from dstc.core.costs import measured
from dstc.core.errors import UserError
from dstc.core.index import save_index
from dstc.core.places import (
    CO_TRAIN,
    INDEX_SOURCE,
    INDEX_TARGET_TRAIN,
    INDEX_TARGET_VAL,
    MADE_BY,
    METRICS,
    REPORT,
    SPLIT,
)
from dstc.reporting.reading import table
from stages.report import TRAININGS, report
from tests.reporting.conftest import results

ROOT = Path(__file__).parents[2]
__all__ = ["results"]  # the fixture


@pytest.fixture
def project(results, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    shutil.copy(ROOT / "params.yaml", ".")
    for index, path in (
        (results.source, INDEX_SOURCE),
        (results.target_train, INDEX_TARGET_TRAIN),
        (results.target_val, INDEX_TARGET_VAL),
    ):
        save_index(index, path)
    SPLIT.mkdir()
    (SPLIT / "labeled.txt").write_text("0.png\n")
    (SPLIT / "unlabeled.txt").write_text("1.png\n")
    for folder in TRAININGS:
        folder.mkdir()
        curves = results.losses.get(folder.name, results.losses["co_train"]), results.validation[folder.name]
        for name, curve in zip(("losses", "validation"), curves, strict=True):
            curve.to_csv(folder / f"{name}.csv", index=False)
    METRICS.mkdir()
    (METRICS / "scores.json").write_text(json.dumps({**results.scores, "trained_with": results.trained_with}))
    (METRICS / "summary.json").write_text(json.dumps({"chosen_on_val": 1}))
    results.confusion.to_csv(METRICS / "confusion.csv", index=False)
    shutil.copytree(results.pictures[0].parent, METRICS / "pictures")
    shutil.copytree(results.mixing[0].parent, CO_TRAIN / "mixing")
    return tmp_path


@pytest.mark.usefixtures("project")
def test_the_same_results_give_the_same_bytes_and_the_size_is_told(capsys):
    report()
    first = REPORT.read_bytes()
    assert f"{REPORT}: 0." in capsys.readouterr().out
    assert b"chosen on the very images" in first
    assert b"co_train.alignment_weight" in first
    assert b"embedded" not in first  # paths and runtime are nobody else's business
    report()
    assert REPORT.read_bytes() == first


@pytest.mark.usefixtures("project")
def test_costs_are_found_by_what_the_stages_made():
    for stage, made in list(MADE_BY.items())[:-1]:
        with measured(stage, made):
            pass
    report()
    text = REPORT.read_text()
    assert text.count("no record here") == 2  # of evaluate: on top and in the table
    assert "built-in data set" in text
    (CO_TRAIN / "losses.csv").write_text("iteration,source_biased/alignment\n1,0.5\n")
    report()
    assert REPORT.read_text().count("no record here") == 3
    with measured("evaluate", MADE_BY["evaluate"]):
        pass
    report()
    assert "date, commit" not in REPORT.read_text()


@pytest.mark.usefixtures("project")
def test_real_data_are_called_by_their_layouts_and_where_they_lie_stays_out():
    content = YAML().load(Path("params.yaml"))
    content["paths"].update(source="/secret/gta5", target="/secret/cityscapes")
    YAML().dump(content, Path("params.yaml"))
    report()
    assert "gta5 to cityscapes" in REPORT.read_text()
    assert "secret" not in REPORT.read_text()


DAMAGED = {
    "cut": (METRICS / "scores.json", b'{"half": {', "evaluate"),
    "a list": (METRICS / "scores.json", b"[]", "evaluate"),
    "without its key": (METRICS / "summary.json", b"{}", "evaluate"),
    "not text": (METRICS / "summary.json", b"\xff", "evaluate"),
    "an empty table": (METRICS / "confusion.csv", b"", "evaluate"),
    "another table": (METRICS / "confusion.csv", b"a,b\n1,2\n", "evaluate"),
    "an empty curve": (CO_TRAIN / "losses.csv", b"", "co_train"),
    "a page for a curve": (TRAININGS[0] / "validation.csv", b"<html>404</html>\n", "warm_up_source"),
    "bytes for a curve": (TRAININGS[1] / "losses.csv", bytes(range(256)), "warm_up_target"),
    "half a picture": (METRICS / "pictures/broken.png", b"\x89PNG\r\n\x1a\n", "evaluate"),
    "no picture of mixing": (CO_TRAIN / "mixing/broken.png", b"", "co_train"),
}


@pytest.mark.parametrize("name", DAMAGED)
@pytest.mark.usefixtures("project")
def test_a_damaged_result_is_named_with_the_stage_that_makes_it_anew(name):
    path, content, stage = DAMAGED[name]
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"^{path}: cannot be shown \(.+\); run `dvc repro -f {stage}`$"):
        report()
    assert not REPORT.exists()


def test_classes_whose_names_are_numbers_keep_them(tmp_path):
    (tmp_path / "confusion.csv").write_text("actual,predicted,rate\n1,01,20.0\n")
    assert table(tmp_path / "confusion.csv", "rate").to_dict("list") == {
        "actual": ["1"],
        "predicted": ["01"],
        "rate": [20.0],
    }


@pytest.mark.parametrize("file", ["scores.json", "summary.json", "confusion.csv"])
@pytest.mark.usefixtures("project")
def test_a_missing_result_is_named_with_the_command_that_makes_it(file):
    (METRICS / file).unlink()
    with pytest.raises(UserError, match=f"metrics/{file}: no such file; run `dvc repro evaluate` first"):
        report()
    assert not REPORT.exists()
