"""What a listing sees, file by file; that `dvc repro` acts on it: tests/pipeline/test_data_on_disk.py."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dstc.preparation.layouts import FOLDERS, list_pairs
from dstc.preparation.listing import listing, read_folders
from tests.preparation import trees


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a/1.png", "a/b/2.png", "3.png"):
        trees.write(tmp_path / "data" / name)
    return tmp_path / "data"


def rename(folder: Path) -> None:
    (folder / "a/1.png").rename(folder / "a/0.png")


def touch(folder: Path) -> None:
    os.utime(folder / "a/b/2.png", ns=(0, 0))


def grow(folder: Path) -> None:
    with (folder / "3.png").open("ab") as file:
        file.write(b"x")


def rewrite_and_set_the_time_back(folder: Path) -> None:
    path, before = folder / "3.png", (folder / "3.png").stat()
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def add_behind_a_link(folder: Path) -> None:
    trees.write(folder.parent / "elsewhere/4.png")
    (folder / "more").symlink_to(folder.parent / "elsewhere")


@pytest.mark.parametrize("change", [rename, touch, grow, rewrite_and_set_the_time_back, add_behind_a_link])
def test_every_change_of_a_file_changes_the_listing(folder: Path, change: Callable[[Path], None]) -> None:
    before = listing([folder])
    assert listing([folder]) == before
    change(folder)
    assert listing([folder]) != before


def test_reading_a_file_changes_nothing(folder: Path) -> None:
    before = listing([folder])
    (folder / "3.png").read_bytes()
    assert listing([folder]) == before


def test_a_missing_folder_is_an_empty_one(folder: Path) -> None:
    (folder.parent / "empty").mkdir()
    assert listing([folder.parent / "gone"]) == listing([folder.parent / "empty"]) == listing([])
    assert listing([]).startswith("0 data files")


def test_links_that_lead_nowhere_or_in_circles_end(folder: Path) -> None:
    (folder / "circle").symlink_to(folder)
    (folder / "itself.png").symlink_to("itself.png")
    (folder / "nothing.png").symlink_to("gone.png")
    assert listing([folder, folder / "a"]).startswith("5 data files")


def test_a_name_that_is_not_utf_8_is_listed(folder: Path) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/\xe9.png")).touch()
    assert listing([folder]).startswith("4 data files")


def test_a_split_that_leaves_its_folder_is_not_walked(folder: Path) -> None:
    assert list(read_folders("folders", folder, ["../..", "train"])) == [
        folder / "train/images",
        folder / "train/labels",
    ]


@pytest.mark.parametrize("layout", FOLDERS)
def test_every_file_that_is_read_lies_below_the_folders_that_are_listed(layout: str, tmp_path: Path) -> None:
    {"gta5": trees.gta5, "synthia": trees.synthia, "cityscapes": trees.cityscapes}.get(layout, own)(tmp_path)
    folders = list(read_folders(layout, tmp_path, ["train"]))
    for pair in list_pairs(layout, tmp_path, "train"):
        for name in filter(None, (pair.image, pair.label)):
            assert any(folder in (tmp_path / name).parents for folder in folders), name
    assert layout != "csv" or (tmp_path / "train.csv").parent in folders


def own(root: Path) -> None:
    """Both layouts of one's own data, in one folder."""
    trees.write(root / "train/images/sub/1.png")
    trees.write(root / "train/labels/sub/1.png")
    (root / "train.csv").write_text("image,label\ntrain/images/sub/1.png,train/labels/sub/1.png\n")
