import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dstc.core.index import digest
from dstc.core.taxonomy import CITYSCAPES_19, IGNORE, SYNTHIA_16
from dstc.preparation.checks import Checked, Rules, check_pair
from dstc.preparation.label_rules import LabelRules, label_rules, task_classes
from dstc.preparation.layouts import Pair
from dstc.preparation.problems import told
from tests.preparation import trees

GTA5 = Rules(19, label_rules("gta5", CITYSCAPES_19, {}, []), labels_required=True)
OWN = task_classes("own", ["road", "rail"], {})
PAIR = Pair("images/00001.png", "labels/00001.png")


def check(root: Path, rules: Rules = GTA5, pair: Pair = PAIR) -> Checked:
    return check_pair(rules, root, 0, pair)


@pytest.mark.parametrize("number", [1, 2])
def test_an_entry_holds_sizes_digests_and_the_pixels_of_palette_and_gray_labels(tmp_path: Path, number: int) -> None:
    trees.gta5(tmp_path, 2, size=(13, 7))
    names = f"images/0000{number}.png", f"labels/0000{number}.png"
    entry = check(tmp_path, pair=Pair(*names)).entry
    assert entry is not None
    assert (entry.image, entry.label) == names
    assert (entry.width, entry.height) == (13, 7)
    assert entry.image_digest == digest((tmp_path / names[0]).read_bytes())
    assert entry.label_digest == digest((tmp_path / names[1]).read_bytes())
    assert entry.pixels is not None
    assert len(entry.pixels) == 19
    assert (entry.pixels[0], entry.pixels[10], sum(entry.pixels)) == (6 * 7, 7 * 7, 13 * 7)


@pytest.mark.parametrize("number", [0, 1])
def test_16_bit_synthia_labels_of_three_and_four_channels_are_read_by_their_first(tmp_path: Path, number: int) -> None:
    trees.synthia(tmp_path)
    rules = Rules(16, label_rules("synthia", SYNTHIA_16, {}, []), labels_required=True)
    entry = check(tmp_path, rules, Pair(f"RGB/000000{number}.png", f"GT/LABELS/000000{number}.png")).entry
    assert entry is not None
    assert entry.pixels is not None
    found = {SYNTHIA_16.names[i]: count for i, count in enumerate(entry.pixels) if count}
    assert found == {"road": 48, "car": 48}


def test_rgb_labels_are_read_by_own_colors(tmp_path: Path) -> None:
    trees.write_photo(tmp_path / PAIR.image, size=(2, 1))
    trees.write(tmp_path / "labels/00001.png", np.array([[[1, 2, 3], [0, 0, 0]]], np.uint8))
    rules = Rules(2, LabelRules(colors={"#010203": 1, "#000000": IGNORE}), labels_required=True)
    entry = check(tmp_path, rules).entry
    assert entry is not None
    assert entry.pixels == (0, 1)


def problems(checked: Checked) -> str:
    assert checked.entry is None
    return "\n".join(told(checked.problems))


def test_a_truncated_image_and_an_unknown_label_id_of_one_pair_are_both_told(tmp_path: Path) -> None:
    trees.gta5(tmp_path, 1)
    image = tmp_path / PAIR.image
    image.write_bytes(image.read_bytes()[:-60])
    trees.write(tmp_path / "labels/00001.png", fill=77)
    lines = problems(check(tmp_path)).splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"{image}: cannot be decoded as an image")
    assert "truncated" in lines[0]
    assert lines[1].startswith(f"{tmp_path}/labels/00001.png: unknown label id 77 (known are")


def test_an_unknown_id_in_own_data_names_the_parameter(tmp_path: Path) -> None:
    trees.gta5(tmp_path, 1)
    rules = Rules(2, label_rules("folders", OWN, {"road": [trees.ROAD]}, []), labels_required=True)
    assert "unknown label id 23 (known are 7); name it in data.own.labels or data.own.ignored" in problems(
        check(tmp_path, rules)
    )


def test_a_truncated_16_bit_label_is_a_fault(tmp_path: Path) -> None:
    trees.synthia(tmp_path, 1)
    label = tmp_path / "GT/LABELS/0000000.png"
    label.write_bytes(label.read_bytes()[:50])
    rules = Rules(16, label_rules("synthia", SYNTHIA_16, {}, []), labels_required=True)
    assert f"{label}: cannot be decoded" in problems(
        check(tmp_path, rules, Pair("RGB/0000000.png", "GT/LABELS/0000000.png"))
    )


def test_a_label_of_other_size_is_a_fault_naming_both_sizes(tmp_path: Path) -> None:
    trees.gta5(tmp_path, 1)
    trees.write(tmp_path / "labels/00001.png", size=(12, 9), fill=trees.ROAD)
    assert problems(check(tmp_path)) == f"{tmp_path}/labels/00001.png: is 12x9, but its image is 12x8"


def test_a_gta5_label_of_nearly_the_same_aspect_is_accepted_only_where_both_are_resized(tmp_path: Path) -> None:
    trees.write_photo(tmp_path / PAIR.image, size=(191, 120))
    trees.write(tmp_path / "labels/00001.png", size=(191, 119), fill=trees.ROAD)
    assert "Layout gta5 accepts it as it is where data.source.resize is set" in problems(check(tmp_path))
    near = Rules(19, GTA5.labels, labels_required=True, near_sizes=True)
    accepted = check(tmp_path, near)
    assert accepted.size_differs
    assert accepted.entry is not None
    assert accepted.entry.height == 120
    trees.write(tmp_path / "labels/00001.png", size=(191, 118), fill=trees.ROAD)
    assert "is 191x118, but its image is 191x120" in problems(check(tmp_path, near))


def test_a_missing_label_is_a_fault_only_where_labels_are_required(tmp_path: Path) -> None:
    trees.gta5(tmp_path, 1)
    pair = Pair(PAIR.image, None, wanted="labels/00001.png")
    assert (
        problems(check(tmp_path, pair=pair)) == f"{tmp_path}/{PAIR.image}: has no label (expected is labels/00001.png)"
    )
    entry = check(tmp_path, Rules(19, GTA5.labels, labels_required=False), pair).entry
    assert entry is not None
    assert (entry.label, entry.label_digest, entry.pixels) == (None, None, None)


def test_a_file_that_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    trees.gta5(tmp_path, 1)
    (tmp_path / PAIR.image).unlink()
    assert problems(check(tmp_path)) == f"{tmp_path}/{PAIR.image}: cannot be read (No such file or directory)"


def turned_photo(root: Path, orientation: int, size: tuple[int, int] = (12, 8)) -> None:
    exif, content = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    Image.new("RGB", size).save(content, "JPEG", exif=exif)
    (root / "images").mkdir(exist_ok=True, parents=True)
    (root / "images/00001.png").write_bytes(content.getvalue())


def test_a_photo_without_label_is_as_large_as_it_is_upright(tmp_path: Path) -> None:
    turned_photo(tmp_path, 6)
    checked = check(tmp_path, Rules(19, GTA5.labels, labels_required=False), Pair(PAIR.image, None))
    assert checked.entry is not None
    assert (checked.entry.width, checked.entry.height) == (8, 12)


def test_a_label_of_a_turned_photo_must_fit_the_upright_one(tmp_path: Path) -> None:
    trees.gta5(tmp_path, 1)
    turned_photo(tmp_path, 8)
    message = problems(check(tmp_path))
    assert (
        "labels/00001.png: is 12x8, but its image is 8x12 once it is turned as its EXIF orientation 8 says" in message
    )
    assert "exiftool -Orientation=" in message
    trees.write(tmp_path / PAIR.label, size=(8, 12), fill=trees.ROAD)
    checked = check(tmp_path)
    assert checked.entry is not None
    assert (checked.entry.width, checked.entry.height, checked.turned) == (8, 12, True)


@pytest.mark.parametrize("exif", [b"Exif\0\0no directory", b"Exif\0\0"])
def test_a_damaged_exif_block_is_no_fault(tmp_path: Path, exif: bytes) -> None:
    trees.gta5(tmp_path, 1)
    content = io.BytesIO()
    Image.new("RGB", (12, 8)).save(content, "JPEG", exif=exif)
    (tmp_path / "images/00001.png").write_bytes(content.getvalue())
    assert check(tmp_path).entry is not None


def test_a_label_void_throughout_is_allowed_and_counts_nothing(tmp_path: Path) -> None:
    trees.gta5(tmp_path, 1)
    trees.write(tmp_path / "labels/00001.png", fill=trees.LICENSE_PLATE)
    entry = check(tmp_path).entry
    assert entry is not None
    assert entry.pixels == (0,) * 19


def test_a_lossy_label_is_taken_only_with_a_tolerance(tmp_path: Path) -> None:
    trees.write_photo(tmp_path / PAIR.image, size=(64, 32))
    pixels = np.zeros((32, 64, 3), np.uint8)
    pixels[:, 30:] = (220, 20, 60)
    label = tmp_path / "labels/00001.jpg"
    label.parent.mkdir()
    Image.fromarray(pixels).save(label, quality=60)
    own = {"road": ["#000000"], "rail": ["#dc143c"]}
    pair = Pair(PAIR.image, "labels/00001.jpg")
    exact, far, near = (
        Rules(2, label_rules("folders", OWN, own, [], tolerance=tolerance), labels_required=True)
        for tolerance in (0, 120, 2)
    )
    assert "a label must be stored without loss" in problems(check(tmp_path, exact, pair))
    assert "set data.own.tolerance" in problems(check(tmp_path, exact, pair))
    assert "none within data.own.tolerance 2" in problems(check(tmp_path, near, pair))
    entry = check(tmp_path, far, pair).entry
    assert entry is not None
    assert entry.pixels == (30 * 32, 34 * 32)


def test_each_unknown_value_is_a_problem_and_many_are_one(tmp_path: Path) -> None:
    trees.gta5(tmp_path, 1)
    ids = np.full((8, 12), trees.ROAD, np.uint8)
    ids[0, :2] = 77, 78
    trees.write(tmp_path / "labels/00001.png", ids)
    assert [line.split(": ")[1][:19] for line in problems(check(tmp_path)).splitlines()] == [
        "unknown label id 77", "unknown label id 78"
    ]  # fmt: skip
    rules = Rules(2, label_rules("folders", OWN, {"road": [trees.ROAD]}, []), labels_required=True)
    trees.write(tmp_path / "labels/00001.png", np.arange(96, dtype=np.uint8).reshape(8, 12))
    message = problems(check(tmp_path, rules))
    assert "unknown label values, more than 8 (95, such as id 0; known are 7); is it a photo" in message
    assert message.endswith("For the latter set data.own.tolerance")
