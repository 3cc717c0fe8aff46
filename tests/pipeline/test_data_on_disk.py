"""Data in folders of the user's, with the real `dvc`: what their moving, changing and vanishing reruns."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML

from tests.pipeline.conftest import Change, Run
from tests.pipeline.project import ALWAYS_RUN, Project


@pytest.fixture(scope="session")
def moved(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Change:
    """The world's files lie in folders of the user's, outside the project."""
    folder = tmp_path_factory.mktemp("moved")
    project = run.project.copy(folder)
    for half in ("gta5", "cityscapes"):
        shutil.copytree(project.root / "data/world" / half, folder / half)
    project.edit_params({"paths": {"source": str(folder / "gta5"), "target": str(folder / "cityscapes")}})
    return Change(project, project.dvc("repro", "prepare_data"))


def copy_with_data(change: Change, folder: Path) -> tuple[Project, Path]:
    """The project, its data folder beside it, and its paths pointing there."""
    project = change.project.copy(folder)
    for half in ("gta5", "cityscapes"):
        shutil.copytree(change.project.root.parent / half, folder / half)
    project.edit_params({"paths": {"source": str(folder / "gta5"), "target": str(folder / "cityscapes")}})
    return project, folder / "cityscapes"


def first_labeled(project: Project) -> str:
    return (project.root / "data/split/labeled.txt").read_text().splitlines()[0]


def test_moving_a_data_set_reruns_its_preparation_alone(moved: Change) -> None:
    assert moved.reply.ran == ["prepare_data"]
    would = moved.project.dvc("repro", "--dry", "--allow-missing")
    assert would.ran == would.restored == []


def test_outside_data_are_neither_an_output_nor_a_dependency_of_dvcs(moved: Change) -> None:
    assert [file.name for file in (moved.project.root / "data/world").iterdir()] == ["README.txt"]
    lock = YAML(typ="safe").load(moved.project.root / "dvc.lock")
    hashed = [dep["path"] for stage in lock["stages"].values() for dep in stage.get("deps", [])]
    assert hashed
    assert [path for path in hashed if Path(path).is_absolute()] == []


def png_files_of_the_cache(project: Project) -> set[str]:
    files = (file for file in (project.root / ".dvc/cache").rglob("*") if file.is_file())
    return {file.name for file in files if file.read_bytes()[:4] == b"\x89PNG"}


def label_of(image: str) -> str:
    return image.replace("leftImg8bit/", "gtFine/").replace("_leftImg8bit.png", "_gtFine_labelIds.png")


def test_a_changed_target_label_stops_training_and_then_reruns_all_but_the_source_warm_up(
    moved: Change, tmp_path: Path
) -> None:
    project, cityscapes = copy_with_data(moved, tmp_path)
    label = cityscapes / label_of(first_labeled(project))
    Image.fromarray(np.roll(np.asarray(Image.open(label)), 1, axis=0)).save(label)
    refused = project.call("dvc", "repro", "-f", "-s", "warm_up_target")
    assert refused.code != 0
    assert f"error: {label}: changed since it was indexed; run `dvc repro -f prepare_data`" in refused.text
    assert "Traceback" not in refused.text
    assert project.dvc("repro", "-f", "prepare_data").ran == ["prepare_data"]
    assert png_files_of_the_cache(project) == png_files_of_the_cache(moved.project)  # the user's new label is not there
    reply = project.dvc("repro", "warm_up_source", "warm_up_target")
    assert "warm_up_target" in reply.ran
    assert "warm_up_source" not in reply.ran + reply.restored
    assert "co_train" in project.dvc("status", "co_train").text


# --- data that change on disk


@dataclass(frozen=True)
class Outside:
    """A project whose data lie in folders of the user's: 4 of 10 target train images have labels, stored uncompressed."""

    project: Project
    source: Path
    target: Path

    @property
    def labels(self) -> list[Path]:
        return sorted((self.target / "gtFine/train").rglob("*_labelIds.png"))

    @property
    def images(self) -> list[Path]:
        return sorted((self.target / "leftImg8bit/train").rglob("*.png"))

    def indexes(self) -> dict[str, bytes]:
        return {path.stem: path.read_bytes() for path in (self.project.root / "data/index").iterdir()}


@pytest.fixture
def outside(moved: Change, tmp_path: Path) -> Iterator[Outside]:
    project, target = copy_with_data(moved, tmp_path)
    data = Outside(project, tmp_path / "gta5", target)
    labeled = set((project.root / "data/split/labeled.txt").read_text().splitlines())
    for image in data.images:
        label = target / label_of(image.relative_to(target).as_posix())
        if image.relative_to(target).as_posix() in labeled:
            Image.open(label).save(label, compress_level=0)
        else:
            label.rename(tmp_path / label.name)
    assert project.dvc("repro", "make_split").ran == ["prepare_data", "make_split"]
    yield data
    shutil.rmtree(tmp_path, ignore_errors=True)


def add_a_label(data: Outside) -> None:
    label = next(path for path in data.target.parent.glob("*_labelIds.png"))
    city = data.labels[0].parents[1] / label.name.split("_")[0]
    label.rename(city / label.name)


def remove_an_image(data: Outside) -> None:
    (data.source / "images").joinpath("00001.png").unlink()
    (data.source / "labels").joinpath("00001.png").unlink()


def edit_a_label(data: Outside) -> None:
    """As an annotation tool that unpacks a newer version over the older one: the same size, the same time."""
    label, before = data.labels[0], data.labels[0].stat()
    Image.fromarray(np.roll(np.asarray(Image.open(label)), 1, axis=0)).save(label, compress_level=0)
    os.utime(label, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (label.stat().st_size, label.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def add_a_val_image(data: Outside) -> None:
    image = next((data.target / "leftImg8bit/val").rglob("*.png"))
    for path in (image, data.target / label_of(image.relative_to(data.target).as_posix())):
        shutil.copy2(path, path.with_name(path.name.replace(path.name.split("_")[1], "999999")))


def touch_a_label(data: Outside) -> None:
    data.labels[0].touch()


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        (add_a_label, ["target_train"]),
        (remove_an_image, ["source"]),
        (edit_a_label, ["target_train"]),
        (add_a_val_image, ["target_val"]),
        (touch_a_label, []),
    ],
)
def test_a_change_on_disk_is_noticed_and_changes_the_index_that_it_touches(
    outside: Outside, change: Callable[[Outside], None], changed: list[str]
) -> None:
    before = outside.indexes()
    assert outside.project.dvc("repro", "prepare_data").ran == []
    change(outside)
    assert outside.project.dvc("repro", "prepare_data").ran == ["prepare_data"]
    assert [name for name, content in sorted(outside.indexes().items()) if content != before[name]] == changed
    assert outside.project.dvc("repro", "prepare_data").ran == []


def test_labels_that_come_later_can_be_used_by_the_next_repro(outside: Outside) -> None:
    project = outside.project
    project.edit_params({"split": {"size": 6}})
    assert "error: split.size is 6, but only 4 target train images have labels" in project.call("dvc", "repro").text
    for _ in range(2):
        add_a_label(outside)
    assert project.dvc("repro", "make_split").ran == ["prepare_data", "make_split"]
    would = project.dvc("repro", "--dry", "warm_up_source", "warm_up_target")
    assert would.ran == ["warm_up_target"]


def test_a_disk_that_was_away_costs_nothing_once_it_is_back(outside: Outside) -> None:
    outside.target.rename(outside.target.with_name("away"))
    refused = outside.project.call("dvc", "repro", "make_split")
    assert f"error: paths.target: {outside.target}: no such folder" in refused.text
    outside.target.with_name("away").rename(outside.target)
    back = outside.project.dvc("repro", "make_split")
    assert (back.ran, back.restored) == ([], ["prepare_data"])


def test_a_change_far_from_what_is_read_reruns_nothing(outside: Outside) -> None:
    (outside.target / "leftImg8bit_sequence").mkdir()
    (outside.target / "leftImg8bit_sequence/a.png").write_bytes(b"")
    reply = outside.project.dvc("repro", "prepare_data")
    assert reply.started == [ALWAYS_RUN]


def test_initial_weights_of_other_content_rerun_what_begins_with_them(run: Run, tmp_path: Path) -> None:
    project, weights = run.project.copy(tmp_path), tmp_path / "weights.pt"
    shutil.copy(project.root / "data/warm_up_source/network.pt", weights)
    project.edit_params({"model": {"initial_weights": str(weights)}})
    assert project.dvc("repro", "warm_up_target").ran == ["warm_up_target"]
    shutil.copy(project.root / "data/warm_up_source/network.pt", weights)  # of another time
    assert project.dvc("repro", "warm_up_target").ran == []
    shutil.copy(project.root / "data/joint/network.pt", weights)
    assert project.dvc("repro", "warm_up_target").ran == ["warm_up_target"]


def test_the_lock_holds_no_file_name_or_time_of_the_users_data(outside: Outside) -> None:
    listed = (outside.project.root / "data/listing.txt").read_text()
    assert re.fullmatch(r"\d+ data files outside the project; .*: [0-9a-f]{32}\n", listed)
