from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML

from dstc.core.errors import UserError
from dstc.own_data import draft, find, main
from dstc.preparation.label_values import find_values, values_of
from dstc.preparation.layouts import list_pairs
from tests.preparation import trees

SIZE = (48, 30)
SPLITS = (("s/train", 2), ("t/train", 2), ("t/val", 1))
Write = Callable[[Path, str], Any]


def gray(*values: int) -> np.ndarray:
    """A label of these ids, side by side."""
    return np.repeat(np.array(values, np.uint8), -(-SIZE[0] // len(values)))[None, : SIZE[0]].repeat(SIZE[1], axis=0)


def colors(*values: tuple[int, int, int]) -> np.ndarray:
    return np.array(values, np.uint8)[gray(*range(len(values)))]


def data(root: Path, label: Callable[[str, int], np.ndarray | Image.Image] = lambda *_: gray(3, 4)) -> Path:
    """Folders s and t below `root` with one or two images a split; all but one have labels."""
    for split, count in SPLITS:
        for number in range(count):
            trees.write_photo(root / split / f"images/{number}.jpg", size=SIZE)
            if (split, number) != ("t/train", 1):
                found, path = label(split, number), root / split / f"labels/{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                (found if isinstance(found, Image.Image) else Image.fromarray(found)).save(path)
    return root


def drafted(root: Path, suffix: str | None = None, tolerance: int = 0) -> dict[str, Any]:
    text = draft(find(root / "s", ["train"], suffix), find(root / "t", ["train", "val"], suffix), tolerance=tolerance)[
        1
    ]
    return YAML(typ="safe").load(text)


def refusal(root: Path, **options: Any) -> str:
    with pytest.raises(UserError) as refused:
        drafted(root, **options)
    return str(refused.value)


def own(root: Path, **options: Any) -> tuple[Any, ...]:
    section = drafted(root, **options)["data"]["own"]
    return section["labels"], section["ignored"], section["target_labels"], section["target_ignored"]


def test_values_are_counted_by_id_or_by_color() -> None:
    assert values_of(np.array([[1, 1, 7]])) == Counter({1: 2, 7: 1})
    assert values_of(np.array([[[0, 0, 142], [0, 0, 142], [255, 1, 0]]], np.uint8)) == Counter(
        {"#00008e": 2, "#ff0100": 1}
    )


def test_images_labels_and_pixels_of_a_split_are_found(tmp_path: Path) -> None:
    root = data(tmp_path) / "t"
    (found,) = find_values(root, {"train": list_pairs("folders", root, "train")})
    assert (found.split, found.images, found.labels) == ("t/train", 2, 1)
    assert (found.pixels, found.files) == ({3: 24 * 30, 4: 24 * 30}, {3: 1, 4: 1})


def test_the_draft_is_a_preset_that_names_every_value_once(tmp_path: Path) -> None:
    preset = drafted(data(tmp_path, lambda split, _: gray(3, 4, 255) if split == "t/val" else gray(3, 4)))
    assert preset["data"]["own"] == {
        "class_names": ["class_3", "class_4"], "labels": {"class_3": [3], "class_4": [4]}, "ignored": [255],
        "target_labels": None, "target_ignored": [], "tolerance": 0, "colors": {},
    }  # fmt: skip
    assert preset["split"]["size"] == 1
    assert preset["paths"]["target"] == str(tmp_path / "t")
    assert preset["data"]["source"] == {"layout": "folders", "resize": None, "held_out": 0}


@pytest.mark.parametrize(
    ("width", "height", "crop"), [(96, 64, [96, 64]), (300, 150, [192, 150]), (640, 480, None), (1242, 375, [192, 145])]
)
def test_crops_are_no_larger_than_small_images(tmp_path: Path, width: int, height: int, crop: list[int] | None) -> None:
    for path in data(tmp_path).rglob("*.jpg"):
        trees.write_photo(path, size=(width, height))
    preset = drafted(tmp_path)
    found = [
        preset.get("joint"),
        preset.get("co_train"),
        *preset.get("warm_up", {"source": None, "target": None}).values(),
    ]
    assert found == [crop and {"crop": crop}] * 4


def test_colors_are_drafted_as_colors_and_black_as_void(tmp_path: Path) -> None:
    data(tmp_path, lambda *_: colors((0, 0, 0), (3, 3, 3), (128, 64, 128)))
    assert own(tmp_path) == ({"class_030303": ["#030303"], "class_804080": ["#804080"]}, ["#000000"], None, [])


@pytest.mark.parametrize(
    ("label", "labels"),
    [
        (gray(0, 255), {"class_0": [0], "class_255": [255]}),
        (colors((0, 0, 0), (255, 255, 255)), {"class_000000": ["#000000"], "class_ffffff": ["#ffffff"]}),
    ],
)
def test_both_values_of_a_binary_mask_are_classes(tmp_path: Path, label: np.ndarray, labels: dict[str, Any]) -> None:
    assert own(data(tmp_path, lambda *_: label)) == (labels, [], None, [])


def test_labels_of_one_value_are_refused(tmp_path: Path) -> None:
    assert "the labels hold one value alone (3); there must be at least two classes" in refusal(
        data(tmp_path, lambda *_: gray(3))
    )


def test_where_the_domains_share_no_value_the_target_gets_a_table_to_fill_in(tmp_path: Path) -> None:
    data(tmp_path, lambda split, _: gray(7, 10, 255) if split == "s/train" else gray(0, 1, 2, 255))
    empty = {"class_7": [], "class_10": []}
    assert own(tmp_path) == ({"class_7": [7], "class_10": [10]}, [255], empty, [255])
    _, text = draft(find(tmp_path / "s", ["train"], None), find(tmp_path / "t", ["train", "val"], None))
    assert "target_labels: # which of 0, 1, 2, 255 mean the class?\n" in text


def test_colors_in_one_domain_and_ids_in_the_other_are_two_tables(tmp_path: Path) -> None:
    data(tmp_path, lambda split, _: colors((7, 0, 0), (10, 0, 0)) if split == "s/train" else gray(0, 1))
    labels = {"class_070000": ["#070000"], "class_0a0000": ["#0a0000"]}
    assert own(tmp_path) == (labels, [], {name: [] for name in labels}, [])


# --- palettes


def indexed(*values: tuple[int, int, int]) -> Image.Image:
    """A palette file that numbers these colors from 0."""
    image = Image.fromarray(gray(*range(len(values)))).convert("P")
    image.putdata(gray(*range(len(values))).ravel().tolist())
    image.putpalette([channel for color in values for channel in color])
    return image


SKY, TREE = (70, 130, 180), (107, 142, 35)
SKY_AND_TREE = {"class_4682b4": ["#4682b4"], "class_6b8e23": ["#6b8e23"]}


def test_palettes_that_agree_are_drafted_as_ids(tmp_path: Path) -> None:
    assert own(data(tmp_path, lambda *_: indexed(SKY, TREE)))[0] == {"class_0": [0], "class_1": [1]}


def test_palettes_that_contradict_each_other_are_drafted_as_colors(tmp_path: Path) -> None:
    data(tmp_path, lambda split, n: indexed(SKY, TREE) if n or split == "t/val" else indexed(TREE, SKY))
    assert own(tmp_path) == (SKY_AND_TREE, [], None, [])


def test_palettes_beside_colors_are_drafted_as_colors(tmp_path: Path) -> None:
    assert own(data(tmp_path, lambda _, n: colors(SKY, TREE) if n else indexed(SKY, TREE)))[0] == SKY_AND_TREE


def test_palettes_that_contradict_each_other_beside_gray_ids_are_refused(tmp_path: Path) -> None:
    files = {("t/train", 0): indexed(SKY, TREE), ("t/val", 0): indexed(TREE, SKY)}
    root = data(tmp_path, lambda *of: files.get(of, gray(0, 1)))
    trees.write(root / "t/train/labels/1.png", gray(0, 1))
    message = refusal(root)
    assert (
        f"{root}/t/val/labels/0.png: its palette gives an id another color than that of another label does" in message
    )
    assert f"id 0 is #6b8e23, but #4682b4 in {root}/t/train/labels/0.png" in message


# --- what is refused


@pytest.mark.parametrize("odd", ["ids", "colors"])
def test_the_few_files_of_another_kind_are_named(tmp_path: Path, odd: str) -> None:
    one, others = (gray(0, 1), colors(SKY, TREE)) if odd == "ids" else (colors(SKY, TREE), gray(0, 1))
    root = data(tmp_path, lambda split, n: one if (split, n) == ("t/val", 0) else others)
    trees.write(root / "t/train/labels/1.png", others)
    kinds = ("gray ids", "colors") if odd == "ids" else ("colors", "gray ids")
    assert refusal(root).startswith(
        f"{root}/t/val/labels/0.png: holds {kinds[0]}, while 2 other labels hold {kinds[1]} (such"
    )


def test_photos_among_the_labels_are_named_together(tmp_path: Path) -> None:
    root = data(tmp_path)
    for name in ("t/train/labels/0.png", "t/train/labels/1.png", "t/val/labels/0.png"):
        trees.write_photo(root / name, size=SIZE)
    message = refusal(root)
    assert message.startswith(
        f"{root}/t/train/labels/0.png and 2 more files: holds more than 254 different label values"
    )


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        (
            "s/train/labels/0.png",
            "s/train: 1 images have no label, such as train/images/0.jpg; only target train images",
        ),
        ("t/train/labels/0.png", "t/train: no image has a label; the method needs a few labeled target images"),
    ],
)
def test_labels_that_training_could_not_do_without_are_asked_for(tmp_path: Path, missing: str, message: str) -> None:
    (data(tmp_path) / missing).unlink()
    assert refusal(tmp_path).startswith(message)


def test_labels_with_another_ending_are_named_and_not_taken_for_missing(tmp_path: Path) -> None:
    label = data(tmp_path) / "t/train/labels/1.gif"
    Image.fromarray(gray(3, 4)).save(label)
    assert f"{label}: ends in .gif, so it is no label image; convert it to one" in refusal(tmp_path)
    Path(label).rename(tmp_path / "t/train/labels/notes.gif")  # of no image: not taken for a label by anybody
    drafted(tmp_path)


def test_jpeg_masks_are_refused_unless_a_tolerance_merges_their_noise(tmp_path: Path) -> None:
    data(tmp_path, lambda *_: colors((220, 20, 60), (128, 64, 128)))
    for label in tmp_path.rglob("labels/*.png"):
        Image.open(label).save(label.with_suffix(".jpg"), quality=70, subsampling=0)
        label.unlink()
    assert (
        "labels/0.jpg and 1 more file: is not stored without loss; of masks that are JPEG files give --tol"
        in refusal(tmp_path)
    )
    section = drafted(tmp_path, tolerance=60)["data"]["own"]
    assert (len(section["class_names"]), section["tolerance"]) == (2, 60)


# --- pairs by suffix


@pytest.mark.parametrize("folder", ["images", "labels"])
def test_labels_with_a_suffix_are_paired_in_lists(
    tmp_path: Path, folder: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = data(tmp_path)
    for label in list(root.rglob("labels/*.png")):
        label.rename(label.parent.with_name(folder) / f"{label.stem}_mask.png")
    assert "--label-suffix _mask" in refusal(root)
    monkeypatch.chdir(root)
    (root / "presets").mkdir()
    main(["s", "t", "--label-suffix", "_mask"])
    assert "t/train: 2 images, 1 of them labeled" in capsys.readouterr().out
    assert (root / "t/train.csv").read_text() == (
        f"image,label\ntrain/images/0.jpg,train/{folder}/0_mask.png\ntrain/images/1.jpg,\n"
    )
    preset = YAML(typ="safe").load(root / "presets/own.yaml")
    assert (preset["data"]["source"]["layout"], preset["data"]["target"]["layout"]) == ("csv", "csv")
    main(["s", "t", "--label-suffix", "_mask", "--preset", "again"])  # its own lists are no obstacle
    assert YAML(typ="safe").load(root / "presets/again.yaml") == preset


def test_lists_are_read_where_there_are_no_folders_of_that_layout(tmp_path: Path) -> None:
    root = data(tmp_path) / "s"
    (root / "train").rename(root / "all")
    (root / "train.csv").write_text(
        "image,label\n" + "".join(f"all/images/{n}.jpg,all/labels/{n}.png\n" for n in range(2))
    )
    preset = drafted(tmp_path)
    assert (preset["data"]["source"]["layout"], preset["data"]["target"]["layout"]) == ("csv", "folders")


def test_a_list_that_is_there_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = data(tmp_path)
    for label in list(root.rglob("labels/*.png")):
        label.rename(label.with_stem(f"{label.stem}_mask"))
    (root / "t/val.csv").write_text("mine")
    monkeypatch.chdir(root)
    (root / "presets").mkdir()
    with pytest.raises(SystemExit):
        main(["s", "t", "--label-suffix", "_mask"])
    assert "t/val.csv: exists already, with other content; remove it" in capsys.readouterr().err
    assert not (root / "presets/own.yaml").exists()


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
