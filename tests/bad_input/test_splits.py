"""The table of bad splits: lists of one's own in splits/, and a data/split that does not fit the data."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dstc.core import places
from dstc.core.index import load_index, save_index
from tests.bad_input.conftest import LABELED, TRAIN_IMAGES, run_stage, set_params

A, B = "aachen/aachen_000000_000019", "bremen/bremen_000001_000019"
LINE_1, LIST = "error: splits/mine.txt:1: ", "error: splits/mine.txt: "

TABLE: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", f"{LIST}names no image; write one name a line"),
    "comments alone": ("# a\n\n  # b\n", f"{LIST}names no image; write one name a line"),
    "an unknown name": ("aachen/aachen_000009_000019\n", f"{LINE_1}'aachen/aachen_000009_000019' is no target train"),
    "an image of val": ("munster/munster_000000_000019\n", f"{LINE_1}'munster/munster_000000_000019' is no target"),
    "an image of the source": ("images/00001.png\n", f"{LINE_1}'images/00001.png' is no target train image"),
    "twice": (f"{A}\n{A}\n", f"{LIST}leftImg8bit/train/{A}_leftImg8bit.png is named 2 times"),
    "twice in other words": (f"{A}\n{A}_leftImg8bit.png\n", "is named 2 times"),
    "a path that goes up": ("../bremen_000001_000019\n", f"{LINE_1}'../bremen_000001_000019' is no target train"),
    "not text": (b"\xff\xfe\x00", "error: split.file: splits/mine.txt cannot be read ('utf-8' codec"),
    "fewer than split.size": (
        f"{A}\n",
        "error: split.size is 2, but splits/mine.txt names 1 images; set split.size to 1",
    ),
    "a line of a megabyte": ("a" * 2**20, f"{LINE_1}'aaaaaaaaaaaa...aaaaaaaaaaaaa' is no target train image"),
    "a comma between names": (f"{A}, {B}\n", f"{LINE_1}'{A}, {B}' is no target train image"),
}


@pytest.mark.parametrize("name", TABLE)
def test_a_bad_list_is_refused_with_its_line(project: Path, refusal: Callable[..., str], name: str) -> None:
    text, message = TABLE[name]
    (project / "splits").mkdir()
    (project / "splits/mine.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    set_params(split={"file": "mine.txt"})
    assert message in refusal("make_split")


FILES: dict[str, tuple[str, str]] = {
    "missing": ("mine.txt", "error: split.file: splits/mine.txt cannot be read"),
    "misspelt": ("other.text", "did you mean 'other.txt'?"),
    "outside": ("../params.yaml", "error: split.file: '../params.yaml' must be a file inside the folder splits"),
    "absolute": ("/etc/passwd", "error: split.file: '/etc/passwd' must be a file inside the folder splits"),
    "a link to outside": ("link.txt", "error: split.file: 'link.txt' must be a file inside the folder splits"),
    "a link to itself": ("loop.txt", "error: split.file: splits/loop.txt cannot be read"),
    "a folder": ("folder", "error: split.file: splits/folder cannot be read"),
    "a name too long": ("a" * 5000, "File name too long"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_bad_name_of_a_list_is_refused(project: Path, refusal: Callable[..., str], name: str) -> None:
    file, message = FILES[name]
    (project / "splits/folder").mkdir(parents=True)
    (project / "splits/other.txt").write_text(A)
    (project / "splits/link.txt").symlink_to("/etc/passwd")
    (project / "splits/loop.txt").symlink_to("loop.txt")
    set_params(split={"file": file})
    assert message in refusal("make_split")


def test_more_than_there_are_is_refused(refusal: Callable[..., str]) -> None:
    set_params(split={"size": TRAIN_IMAGES + 1})
    assert refusal("make_split") == "error: split.size is 5, but only 4 target train images have labels"


def _labeled(change: Callable[[str], str | bytes]) -> Callable[[Path], Any]:
    def damage(folder: Path) -> None:
        text = change((folder / "labeled.txt").read_text())
        (folder / "labeled.txt").write_bytes(text if isinstance(text, bytes) else text.encode())

    return damage


def _swapped_for_one_without_label(folder: Path) -> None:
    """The index loses the label of the first labeled image, as if the split were of an earlier one."""
    name = (folder / "labeled.txt").read_text().splitlines()[0]
    index = load_index(places.INDEX_TARGET_TRAIN)
    bare = {entry.name: entry for entry in index.without_labels().entries}
    entries = tuple(bare[name] if entry.name == name else entry for entry in index.entries)
    save_index(replace(index, entries=entries), places.INDEX_TARGET_TRAIN)


STALE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "unknown names": (
        _labeled(lambda _: "nobody.png\n"),
        "'nobody.png' is no image of index target_train; run `dvc repro",
    ),
    "twice": (_labeled(lambda text: text + text), "more than once; run `dvc repro -f make_split`"),
    "empty": (_labeled(lambda _: ""), "data/split/labeled.txt: names no image; run `dvc repro -f make_split`"),
    "not text": (_labeled(lambda _: b"\xff"), "data/split: not a split of this project"),
    "overlapping": (
        lambda folder: (folder / "unlabeled.txt").write_text((folder / "labeled.txt").read_text()),
        "more than once; run `dvc repro -f make_split`",
    ),
    "an image without a label": (_swapped_for_one_without_label, "has no label; run `dvc repro -f make_split`"),
    "half of it": (lambda folder: (folder / "unlabeled.txt").unlink(), "unlabeled.txt: no such file; run `dvc repro"),
}


@pytest.mark.parametrize("name", STALE)
@pytest.mark.parametrize("script", [("warm_up", "target"), ("co_train",)], ids=" ".join)
def test_a_split_that_does_not_fit_the_data_stops_the_training(
    project: Path, refusal: Callable[..., str], name: str, script: tuple[str, ...]
) -> None:
    damage, message = STALE[name]
    damage(project / places.SPLIT)
    assert message in refusal(*script)


def test_a_list_that_may_not_be_read_is_named(unprivileged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (unprivileged / "splits").mkdir()
    (unprivileged / "splits/mine.txt").write_text("\n".join([A, B][:LABELED]))
    (unprivileged / "splits/mine.txt").chmod(0)
    set_params(split={"file": "mine.txt"})
    with pytest.raises(SystemExit) as ended:
        run_stage("make_split")
    assert ended.value.code == 1
    assert "error: split.file: splits/mine.txt cannot be read ([Errno 13] Permission denied" in capsys.readouterr().err
    assert os.geteuid() != 0
