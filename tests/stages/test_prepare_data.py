import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

from dstc.core.index import load_index
from dstc.world.build import render_scene
from stages import prepare_data
from tests.preparation import trees


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project folder as the current one, beside folders gta5 and cityscapes."""
    trees.gta5(tmp_path / "gta5")
    trees.cityscapes(tmp_path / "cityscapes")
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setattr(sys, "argv", ["prepare_data"])
    return tmp_path / "project"


def run(project: Path, **sections: dict[str, Any]) -> None:
    paths = {"source": str(project.parent / "gta5"), "target": str(project.parent / "cityscapes")}
    raw = trees.raw_params(paths=paths | sections.pop("paths", {}), **sections)
    YAML(typ="safe").dump(raw, project / "params.yaml")
    prepare_data.main()


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_three_indexes_and_a_note_in_place_of_the_world_are_written(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(project, data={"source.resize": [64, 32], "source.held_out": 1})
    assert files(project / "data") == [
        "index/source.json",
        "index/target_train.json",
        "index/target_val.json",
        "world/README.txt",
    ]
    source = load_index(project / "data/index/source.json")
    assert (source.resize, len(source)) == ((64, 32), 3)
    assert "target_train  4       4" in capsys.readouterr().out


def test_what_dvc_left_for_git_in_the_folder_of_the_indexes_stays(project: Path) -> None:
    ignored = project / "data/index/.gitignore"
    ignored.parent.mkdir(parents=True)
    ignored.write_text("/source.json\n")
    run(project)
    assert ignored.read_text() == "/source.json\n"
    assert files(project / "data/index") == [".gitignore", "source.json", "target_train.json", "target_val.json"]


def test_the_embedded_world_is_built_and_indexed(project: Path) -> None:
    run(
        project,
        paths={"source": "embedded", "target": "embedded"},
        data={"world.source_images": 2, "world.train_images": 2, "world.val_images": 1},
    )
    for domain, count in (("source", 2), ("target_train", 2), ("target_val", 1)):
        index = load_index(project / f"data/index/{domain}.json")
        assert len(index) == count
        assert all(entry.pixels is not None and sum(entry.pixels) > 0 for entry in index.entries)
    assert (project / "data/world/gta5/images/00001.png").is_file()


def test_an_interrupted_world_leaves_the_one_before(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embedded = {"source": "embedded", "target": "embedded"}
    counts = {"world.source_images": 2, "world.train_images": 2, "world.val_images": 1}
    run(project, paths=embedded, data=counts)
    before, rendered = files(project / "data"), []

    def render_two(*arguments: str, **more: Any) -> Any:
        rendered.append(more)
        if len(rendered) == 3:
            raise KeyboardInterrupt
        return render_scene(*arguments, **more)

    monkeypatch.setattr("dstc.world.build.render_scene", render_two)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        run(project, paths=embedded, data=counts | {"world.source_images": 4}, runtime={"workers": 0})
    assert files(project / "data") == before
    assert {path.name for path in (project / "data").iterdir()} == {"index", "world"}


def test_unlabeled_folders_are_entries_of_their_own_root(project: Path) -> None:
    trees.write_photo(project.parent / "more/deep/x.jpg")
    run(project, paths={"unlabeled": [str(project.parent / "more")]})
    last = load_index(project / "data/index/target_train.json").entries[-1]
    assert (last.name, last.root, last.label) == ("unlabeled[0]/deep/x.jpg", 1, None)


def test_own_data_in_folders_and_lists_are_indexed_by_own_labels(project: Path) -> None:
    root = project.parent / "own"
    for split in ("train", "val"):
        for name in "ab":
            trees.write_photo(root / f"{split}/images/{name}.jpg")
            trees.write(root / f"{split}/labels/{name}.png", fill=3)
        (root / f"{split}.csv").write_text(f"image,label\n{split}/images/a.jpg,{split}/labels/a.png\n")
    own = {"own.class_names": ["road", "rail"], "own.labels": {"road": [1], "rail": [3]}, "own.ignored": [0]}
    layouts = {"source.layout": "folders", "target.layout": "csv"}
    paths = {"source": str(root), "target": str(root)}
    run(project, paths=paths, data={"classes": "own", **own, **layouts})
    assert [entry.pixels for entry in load_index(project / "data/index/source.json").entries] == [(0, 96), (0, 96)]
    assert len(load_index(project / "data/index/target_val.json")) == 1


def own_folders(project: Path, source: np.ndarray, target: np.ndarray) -> dict[str, Any]:
    """Two data sets in layout folders, of one label each a split; their paths."""
    for name, label in (("rendered", source), ("photos", target)):
        for split in ("train", "val"):
            trees.write_photo(project.parent / f"{name}/{split}/images/{split}.jpg")
            trees.write(project.parent / f"{name}/{split}/labels/{split}.png", label)
    return {"source": str(project.parent / "rendered"), "target": str(project.parent / "photos")}


OWN_FOLDERS = {
    "classes": "own",
    "source.layout": "folders",
    "target.layout": "folders",
    "own.class_names": ["road", "sky"],
}


def test_each_domain_may_number_or_color_its_classes_in_its_own_way(project: Path) -> None:
    colors = np.array([(128, 64, 128), (70, 130, 180)], np.uint8)[np.repeat([[0, 1]], 8, axis=0).repeat(6, axis=1)]
    ids = np.repeat([[1, 0]], 8, axis=0).repeat(6, axis=1).astype(np.uint8)
    ids[0, 0] = 200
    tables = {
        "own.labels": {"road": ["#804080"], "sky": ["#4682b4"]},
        "own.target_labels": {"road": [1], "sky": [0]},
        "own.target_ignored": [200],
    }
    run(project, paths=own_folders(project, colors, ids), data=OWN_FOLDERS | tables)
    source, train, val = (
        load_index(project / f"data/index/{name}.json") for name in ("source", "target_train", "target_val")
    )
    assert [entry.pixels for entry in source.entries] == [(48, 48)]
    assert [entry.pixels for entry in (*train.entries, *val.entries)] == [(47, 48), (47, 48)]
    assert (train.label_id_of_class(), source.label_id_of_class()) == ([1, 0], None)  # what predict writes as label_ids


@pytest.mark.parametrize("table", [{}, {"own.target_labels": {"road": [], "sky": []}}])
def test_a_value_of_the_target_that_no_table_names_says_where_to_name_it(
    project: Path, capsys: pytest.CaptureFixture[str], table: dict[str, Any]
) -> None:
    paths = own_folders(project, np.full((8, 12), 7, np.uint8), np.full((8, 12), 9, np.uint8))
    with pytest.raises(SystemExit):
        run(project, paths=paths, data=OWN_FOLDERS | {"own.labels": {"road": [7], "sky": [8]}} | table)
    told = capsys.readouterr().err
    if table:
        assert "data.own.target_labels and data.own.target_ignored name no value; say which" in told
    else:
        assert (
            "train.png and 1 more file: unknown label id 9 (known are 7, 8); name it in data.own.labels or data.own.ignored"
            in told
        )


def test_problems_end_it_with_status_1_and_leave_nothing(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project.parent / "gta5/labels/00002.png").write_bytes(b"")
    trees.write(next((project.parent / "cityscapes/gtFine/val").rglob("*_labelIds.png")), fill=99)
    with pytest.raises(SystemExit) as ended:
        run(project)
    assert ended.value.code == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert errors[0] == "error: 2 problems in the data; nothing was written:"
    assert "gta5/labels/00002.png: cannot be decoded" in errors[1]
    assert "unknown label id 99" in errors[2]
    assert not (project / "data").exists()


def test_a_path_that_does_not_exist_names_its_parameter(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(project, paths={"target": "/no/such/folder"})
    assert capsys.readouterr().err == "error: paths.target: /no/such/folder: no such folder\n"


def test_a_crash_while_writing_leaves_nothing_half_written(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = iter(range(2))

    def crash_at_the_third(*_: object) -> None:
        next(written)

    monkeypatch.setattr(prepare_data, "save_index", crash_at_the_third)
    with pytest.raises(StopIteration):
        run(project)
    assert files(project / "data") == ["world/README.txt"]


def test_an_output_folder_that_cannot_be_written_is_told(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "data").write_text("a file where a folder should be")
    with pytest.raises(SystemExit):
        run(project)
    assert "\nerror: data: File exists\n" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_told(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "data").mkdir(mode=0o500)
    with pytest.raises(SystemExit):
        run(project)
    assert "\nerror: data/world: Permission denied\n" in capsys.readouterr().err


def test_a_check_tells_what_is_found_and_writes_nothing(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["prepare_data", "--check"])
    run(project)
    out = capsys.readouterr().out
    assert "target_train  4       4" in out
    assert "\nroad           50 % in 4  -             -\n" in out
    assert "look at: target_train: 4 labels hold one class alone: leftImg8bit/train/aachen/" in out
    assert out.endswith("No file breaks a rule; nothing was written.\n")
    assert not (project / "data").exists()


def test_a_check_misses_a_file_of_weights_before_it_reads_the_data(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["prepare_data", "--check"])
    monkeypatch.delattr("stages.prepare_data.index_domains")
    with pytest.raises(SystemExit):
        run(project, model={"initial_weights": "/nowhere/weights.pth"})
    assert "error: model.initial_weights: there is no file /nowhere/weights.pth; give" in capsys.readouterr().err


def test_a_check_of_the_embedded_world_is_refused(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["prepare_data", "--check"])
    with pytest.raises(SystemExit):
        run(project, paths={"source": "embedded", "target": "embedded"})
    assert "--check is for folders of yours" in capsys.readouterr().err


def test_help_prints_what_the_stage_does() -> None:
    command = [sys.executable, "-m", "stages.prepare_data", "--help"]
    shown = subprocess.run(command, cwd=trees.PROJECT, capture_output=True, text=True, check=True).stdout
    assert "write an index of each domain to data/index" in " ".join(shown.split())


@pytest.mark.skipif("DSTC_REAL_DATA" not in os.environ, reason="DSTC_REAL_DATA names no folder of real images")
def test_real_images_are_indexed_with_the_classes_that_camvid_has(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    real = Path(os.environ["DSTC_REAL_DATA"])
    run(project, paths={"source": str(real / "gta5"), "target": str(real / "cityscapes")}, runtime={"workers": 2})
    sizes = [len(load_index(project / f"data/index/{d}.json")) for d in ("source", "target_train", "target_val")]
    assert sizes == [699, 468, 233]
    out = capsys.readouterr().out
    assert "source has no pixel of: rider, bus, train" in out
    assert "target_val has no pixel of: wall, traffic light, terrain, truck, bus, train, motorcycle, bicycle" in out
