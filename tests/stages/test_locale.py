"""Stages in a locale that knows no UTF-8, on files whose names need it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from ruamel.yaml import YAML

from dstc.core.index import load_index, read_split
from tests.preparation import trees

NAME = "fünf_東京_ß"  # of which Latin-1 has two letters, and ß ends in a control character when it is read as Latin-1
ASCII = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}  # without the last two, Python helps itself


def run(project: Path, *command: str) -> str:
    environment = {**os.environ, **ASCII, "PYTHONPATH": str(trees.PROJECT)}
    done = subprocess.run(
        [sys.executable, *command], cwd=project, env=environment, capture_output=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def test_names_are_utf8_from_the_folder_to_the_split_in_any_locale(tmp_path: Path) -> None:
    root = tmp_path / "Daten_ü"
    for split in ("train", "val"):
        for number in range(2):
            trees.write_photo(root / split / f"images/{NAME}{split}{number}.jpg")
            trees.write(root / split / f"labels/{NAME}{split}{number}.png", fill=number)
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits/mine.txt").write_text(f"{NAME}train1\n", encoding="utf-8")
    data = {
        "classes": "own", "source.layout": "folders", "target.layout": "folders",
        "own.class_names": ["a", "b"], "own.labels": {"a": [0], "b": [1]},
    }  # fmt: skip
    raw = trees.raw_params(
        paths={"source": str(root), "target": str(root)}, data=data, split={"size": 1, "file": "mine.txt"}
    )
    with (tmp_path / "params.yaml").open("w", encoding="utf-8") as file:
        YAML(typ="safe").dump(raw, file)
    assert f"train/images/{NAME}train0.jpg" in run(tmp_path, "-m", "stages.prepare_data", "--check")
    run(tmp_path, "-m", "stages.prepare_data")
    run(tmp_path, "-m", "stages.make_split")
    labeled, unlabeled = read_split(tmp_path / "data/split")
    assert labeled == [f"train/images/{NAME}train1.jpg"]
    assert len(load_index(tmp_path / "data/index/target_train.json").named([*labeled, *unlabeled])) == 2


def test_a_name_that_a_terminal_cannot_show_is_printed_escaped(tmp_path: Path) -> None:
    code = "from dstc.core.errors import exit_on_user_error\nwith exit_on_user_error():\n    print('\\u00fc \\udcff')"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": str(trees.PROJECT)}
    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert shown.stdout == "\\xfc \\udcff\n"
