from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from dstc.core.errors import UserError
from dstc.own_data import draft, main
from dstc.preparation.label_values import all_values, find_values, values_of
from tests.preparation import trees


def data(root: Path, *, source: int = 3, target: int = 3, colors: bool = False) -> Path:
    """Folders s and t below `root` with one or two images a split, the labels all of one value."""
    for split, count in (("s/train", 2), ("t/train", 2), ("t/val", 1)):
        for number in range(count):
            trees.write_photo(root / split / f"images/{number}.jpg", size=(640, 400))
            value = source if split.startswith("s") else target
            pixels = np.full((400, 640, 3) if colors else (400, 640), value, np.uint8)
            if (split, number) != ("t/train", 1):
                trees.write(root / split / f"labels/{number}.png", pixels)
    return root


def test_values_are_counted_by_id_or_by_color() -> None:
    assert values_of(np.array([[1, 1, 7]])) == Counter({1: 2, 7: 1})
    assert values_of(np.array([[[0, 0, 142], [0, 0, 142], [255, 1, 0]]], np.uint8)) == Counter(
        {"#00008e": 2, "#ff0100": 1}
    )


def test_images_labels_and_pixels_of_a_split_are_found(tmp_path: Path) -> None:
    found = find_values(data(tmp_path) / "t", "train")
    assert (found.split, found.images, found.labels) == ("t/train", 2, 1)
    assert (found.pixels, found.files) == ({3: 640 * 400}, {3: 1})


@pytest.mark.parametrize(("colors", "name", "value"), [(False, "class_3", 3), (True, "class_030303", "#030303")])
def test_the_draft_is_a_preset_that_names_every_value_once(
    tmp_path: Path, colors: bool, name: str, value: int | str
) -> None:
    data(tmp_path, target=3, colors=colors)
    black = np.zeros((400, 640, 3) if colors else (400, 640), np.uint8)
    trees.write(tmp_path / "t/val/labels/0.png", black if colors else black + 255)
    preset = YAML(typ="safe").load(draft(tmp_path / "s", tmp_path / "t")[1])
    own = preset["data"]["own"]
    assert own["class_names"] == [name]
    assert own["labels"] == {name: [value]}
    assert own["ignored"] == ["#000000" if colors else 255]
    assert preset["split"]["size"] == 1
    assert preset["paths"]["target"] == str(tmp_path / "t")
    assert preset["data"]["source"]["resize"] == [320, 200]


def test_ids_beside_colors_are_refused(tmp_path: Path) -> None:
    data(tmp_path)
    trees.write(tmp_path / "t/val/labels/0.png", np.zeros((400, 640, 3), np.uint8))
    found = [find_values(tmp_path / "t", split) for split in ("train", "val")]
    with pytest.raises(UserError, match=r"some label files hold ids, others colors \(t/train ids, t/val colors\)"):
        all_values(found)


def test_a_photo_among_the_labels_is_named(tmp_path: Path) -> None:
    data(tmp_path)
    trees.write_photo(tmp_path / "t/val/labels/0.png", size=(640, 400))
    with pytest.raises(UserError, match=r"t/val/labels/0\.png: with it there are more than 254 different label values"):
        find_values(tmp_path / "t", "val")


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("s/train/labels/0.png", "s/train: 1 images have no label; only target train images may lack one"),
        ("t/train/labels/0.png", "t/train: no image has a label; the method needs a few labeled target images"),
    ],
)
def test_labels_that_training_could_not_do_without_are_asked_for(tmp_path: Path, missing: str, message: str) -> None:
    (data(tmp_path) / missing).unlink()
    with pytest.raises(UserError) as error:
        draft(tmp_path / "s", tmp_path / "t")
    assert str(error.value) == message


def test_a_preset_that_exists_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "presets").mkdir()
    main(["s", "t"])
    (tmp_path / "presets/own.yaml").write_text("mine")
    with pytest.raises(SystemExit):
        main(["s", "t"])
    assert "presets/own.yaml: exists already; remove it, or name another with --preset" in capsys.readouterr().err
    assert (tmp_path / "presets/own.yaml").read_text() == "mine"
