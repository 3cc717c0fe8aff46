from pathlib import Path

import pytest

from dstc.core.errors import UserError
from dstc.core.names import stays_inside
from dstc.preparation.layouts import list_images, list_pairs, list_suffix_pairs
from tests.preparation import trees


def test_gta5_pairs_images_and_labels_of_the_same_name_and_passes_over_hidden_files(tmp_path: Path) -> None:
    trees.gta5(tmp_path, 3)
    (tmp_path / "images/._00001.png").write_bytes(b"a Mac's")
    (tmp_path / "labels/00003.png").unlink()
    pairs = list_pairs("gta5", tmp_path, "train")
    assert [(pair.image, pair.label) for pair in pairs] == [
        ("images/00001.png", "labels/00001.png"),
        ("images/00002.png", "labels/00002.png"),
        ("images/00003.png", None),
    ]
    assert pairs[2].wanted == "labels/00003.png"


def test_synthia_pairs_rgb_and_gt_labels(tmp_path: Path) -> None:
    pairs = list_pairs("synthia", trees.synthia(tmp_path), "train")
    assert [(pair.image, pair.label) for pair in pairs] == [
        ("RGB/0000000.png", "GT/LABELS/0000000.png"),
        ("RGB/0000001.png", "GT/LABELS/0000001.png"),
    ]


def test_cityscapes_takes_label_ids_of_the_split_and_none_where_a_label_is_missing(tmp_path: Path) -> None:
    pairs = list_pairs("cityscapes", trees.cityscapes(tmp_path, train=3, labeled=1), "train")
    assert [(pair.image, pair.label) for pair in pairs] == [
        (
            "leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png",
            "gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png",
        ),
        ("leftImg8bit/train/aachen/aachen_000002_000019_leftImg8bit.png", None),
        ("leftImg8bit/train/bremen/bremen_000001_000019_leftImg8bit.png", None),
    ]


def test_folders_pairs_by_path_without_ending_at_any_depth(tmp_path: Path) -> None:
    trees.write_photo(tmp_path / "train/images/day/frame.01.jpg")
    trees.write_photo(tmp_path / "train/images/night/frame.01.JPEG")
    trees.write(tmp_path / "train/labels/day/frame.01.png")
    (tmp_path / "train/images/notes.txt").write_text("no image")
    pairs = list_pairs("folders", tmp_path, "train")
    assert [(pair.image, pair.label) for pair in pairs] == [
        ("train/images/day/frame.01.jpg", "train/labels/day/frame.01.png"),
        ("train/images/night/frame.01.JPEG", None),
    ]
    assert pairs[1].wanted == "train/labels/night/frame.01.png"


def test_folders_refuses_labels_without_image_or_with_another_ending_and_doubled_names_together(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg", "b.png"):
        trees.write_photo(tmp_path / "val/images" / name)
    trees.write(tmp_path / "val/labels/a.png")
    (tmp_path / "val/labels/b.json").write_text("{}")
    trees.write(tmp_path / "val/labels/b_label.png")
    with pytest.raises(UserError) as refused:
        list_pairs("folders", tmp_path, "val")
    message = str(refused.value)
    assert f"{tmp_path}/val/images/a.png: one of several files of this name" in message
    assert f"{tmp_path}/val/labels/b_label.png: no image of this name in val/images" in message
    assert (
        f"{tmp_path}/val/labels/b.json: ends in .json, so it is no label image; convert it to one (.bmp, .png,"
        in message
    )


def test_csv_reads_names_with_commas_and_empty_labels_and_a_spreadsheets_mark(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text('\ufeffimage,label,note\n"b, c.png",l.png,x\n\na.png,,\n', encoding="utf-8")
    pairs = list_pairs("csv", tmp_path, "train")
    assert [(pair.image, pair.label) for pair in pairs] == [("a.png", None), ("b, c.png", "l.png")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,label\n../a.png,\n", ":2: '../a.png' must be a path relative to"),
        ("image,label\na.png,/b.png\n", ":2: '/b.png' must be a path relative to"),
        ("image,label\na.png,\na.png,\n", ":3: 'a.png' is listed already, in line 2"),
        ("image,label\n,b.png\n", ":2: column image is empty"),
        ("picture,label\na.png,b.png\n", r"missing: \['image'\]"),
        ("", "missing:"),
        ("image,label\n", "no images found; layout 'csv' expects train.csv with the columns image and label"),
    ],
)
def test_csv_refuses(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "train.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        list_pairs("csv", tmp_path, "train")


def test_csv_refuses_a_file_that_is_not_utf_8_or_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"val\.csv: no such file; layout 'csv' expects val\.csv"):
        list_pairs("csv", tmp_path, "val")
    (tmp_path / "val.csv").write_bytes("image,label\nä.png,\n".encode("latin-1"))
    with pytest.raises(UserError, match="not a CSV file in UTF-8"):
        list_pairs("csv", tmp_path, "val")


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        ("gta5", r"images: no such folder; layout 'gta5' expects images/\*\.png and labels"),
        ("synthia", r"RGB: no such folder; layout 'synthia' expects RGB/\*\.png and GT/LABELS"),
        ("cityscapes", "leftImg8bit/train: no such folder; layout 'cityscapes' expects leftImg8bit/train/<city>"),
        ("folders", "train/images: no such folder; layout 'folders' expects train/images"),
    ],
)
def test_a_folder_of_another_layout_says_what_was_expected(tmp_path: Path, layout: str, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        list_pairs(layout, tmp_path, "train")


def test_a_folder_without_images_and_a_missing_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    with pytest.raises(UserError, match="no images found; layout 'gta5' expects"):
        list_pairs("gta5", tmp_path, "train")
    with pytest.raises(UserError, match="no images found"):
        list_images(tmp_path)
    for lister in (lambda: list_pairs("gta5", tmp_path / "x", "train"), lambda: list_images(tmp_path / "x")):
        with pytest.raises(UserError, match="x: no such folder"):
            lister()


def test_unlabeled_images_are_found_at_any_depth_through_links_and_link_loops_end(tmp_path: Path) -> None:
    trees.write_photo(tmp_path / "elsewhere/b.jpg")
    trees.write_photo(tmp_path / "mine/deep/a.png")
    (tmp_path / "mine/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "mine/deep/loop").symlink_to(tmp_path / "mine")
    assert [pair.image for pair in list_images(tmp_path / "mine")] == ["deep/a.png", "linked/b.jpg"]


def test_cityscapes_follows_links_to_cities(tmp_path: Path) -> None:
    trees.cityscapes(tmp_path / "here")
    expected = list_pairs("cityscapes", tmp_path / "here", "train")
    for kind in ("leftImg8bit", "gtFine"):
        city = tmp_path / "here" / kind / "train/aachen"
        city.rename(tmp_path / kind)
        city.symlink_to(tmp_path / kind)
    assert list_pairs("cityscapes", tmp_path / "here", "train") == expected


def test_a_split_that_leaves_the_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"split '\.\./val'"):
        list_pairs("cityscapes", tmp_path, "../val")
    assert stays_inside("a/b..c")
    assert not stays_inside("/a")
    assert not stays_inside("a/../..")
    assert not stays_inside("")


CLUTTER = ("__MACOSX", "@eaDir", ".ipynb_checkpoints", "#recycle", ".Trash-1000", "lost+found", "$RECYCLE.BIN")


@pytest.mark.parametrize("layout", ["gta5", "synthia", "cityscapes", "folders"])
def test_what_systems_leave_in_folders_is_passed_over(tmp_path: Path, layout: str) -> None:
    images = {
        "gta5": ("images", "1.png"), "synthia": ("RGB", "1.png"), "folders": ("train/images", "1.png"),
        "cityscapes": ("leftImg8bit/train", "1_leftImg8bit.png"),
    }  # fmt: skip
    folder, name = images[layout]
    for labels in ("labels", "GT/LABELS"):
        (tmp_path / labels).mkdir(parents=True)
    for place in ("", *CLUTTER):
        trees.write_photo(tmp_path / folder / place / name)
        trees.write(tmp_path / "train/labels" / place / "1.png")
    for file in (f"._{name}", "Thumbs.db", "desktop.ini", ".DS_Store"):
        (tmp_path / folder / file).write_bytes(b"")
        (tmp_path / "train/labels" / file).write_bytes(b"")
    assert [pair.image for pair in list_pairs(layout, tmp_path, "train")] == [f"{folder}/{name}"]
    assert [pair.image for pair in list_images(tmp_path / folder)] == [name]


COMPOSED, DECOMPOSED = "f\u00fcnf", "fu\u0308nf"  # the same to see, as Windows and a Mac write it


@pytest.mark.parametrize("layout", ["gta5", "cityscapes", "folders"])
def test_images_and_labels_match_whichever_form_their_names_have(tmp_path: Path, layout: str) -> None:
    image, label = {
        "gta5": ("images/{}.png", "labels/{}.png"),
        "folders": ("train/images/{}.jpg", "train/labels/{}.png"),
        "cityscapes": ("leftImg8bit/train/x/{}_leftImg8bit.png", "gtFine/train/x/{}_gtFine_labelIds.png"),
    }[layout]
    trees.write_photo(tmp_path / image.format(COMPOSED))
    trees.write(tmp_path / label.format(DECOMPOSED))
    (pair,) = list_pairs(layout, tmp_path, "train")
    assert (pair.image, pair.label) == (image.format(COMPOSED), label.format(DECOMPOSED))


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_is_read_as_windows_writes_it(tmp_path: Path, delimiter: str) -> None:
    trees.write_photo(tmp_path / f"bilder/{DECOMPOSED}.png")
    trees.write(tmp_path / f"masken/{COMPOSED}.png")
    rows = [("Image", "Label"), (f"bilder\\{COMPOSED}.png", f"masken\\{COMPOSED}.png"), ("bilder\\b.png", "")]
    text = "\ufeff" + "".join(delimiter.join(row) + "\r\n" for row in rows)
    (tmp_path / "train.csv").write_bytes(text.encode())
    pairs = list_pairs("csv", tmp_path, "train")
    assert [(pair.image, pair.label) for pair in pairs] == [
        ("bilder/b.png", None), (f"bilder/{DECOMPOSED}.png", f"masken/{COMPOSED}.png")
    ]  # fmt: skip


def test_csv_knows_a_file_by_any_spelling(tmp_path: Path) -> None:
    trees.write_photo(tmp_path / "sub/a.png")
    trees.write_photo(tmp_path / "sub/ü.png")
    (tmp_path / "train.csv").write_text("image,label\nsub/a.png,\n./sub//a.png,\nsub/ü.png,\n./sub/ü.png,\n", "utf-8")
    with pytest.raises(UserError, match=r"(?s)train\.csv:3: 'sub/a\.png' is listed .*csv:5: 'sub/ü\.png' is listed"):
        list_pairs("csv", tmp_path, "train")


def test_csv_refuses_a_path_that_goes_up_by_backslashes(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("image,label\n..\\a.png,\n")
    with pytest.raises(UserError, match=r":2: '\.\./a\.png' must be a path relative to"):
        list_pairs("csv", tmp_path, "train")


def test_a_name_with_a_backslash_that_is_there_is_taken_as_it_is(tmp_path: Path) -> None:
    trees.write_photo(tmp_path / "a\\b.png")
    (tmp_path / "train.csv").write_text("image,label\na\\b.png,\n")
    assert [pair.image for pair in list_pairs("csv", tmp_path, "train")] == ["a\\b.png"]


def test_problems_of_one_kind_are_one_line(tmp_path: Path) -> None:
    trees.write_photo(tmp_path / "val/images/0.jpg")
    for number in range(2000):
        (tmp_path / "val/labels").mkdir(exist_ok=True)
        (tmp_path / f"val/labels/{number}_mask.png").write_bytes(b"")
    with pytest.raises(UserError) as refused:
        list_pairs("folders", tmp_path, "val")
    (line,) = str(refused.value).splitlines()
    assert line.startswith(f"{tmp_path}/val/labels/0_mask.png and 1999 more files: no image of this name in val/images")
    assert "--label-suffix _mask" in line


def test_suffixes_that_fit_no_image_or_an_unknown_ending_are_refused(tmp_path: Path) -> None:
    trees.write_photo(tmp_path / "train/a.jpg")
    (tmp_path / "train/a_mask.gif").write_bytes(b"")
    trees.write(tmp_path / "train/b_mask.png")
    with pytest.raises(UserError) as refused:
        list_suffix_pairs(tmp_path, "train", "_mask")
    assert str(refused.value).splitlines() == [
        f"{tmp_path}/train/b_mask.png: no image has this name without its suffix",
        f"{tmp_path}/train/a_mask.gif: ends in .gif, so it is no label image; convert it to one (.bmp, .png, .tif, .tiff)",
    ]


def test_two_labels_of_one_image_are_refused(tmp_path: Path) -> None:
    trees.write_photo(tmp_path / "train/a.jpg")
    for label in ("train/a_mask.png", "train/labels/a_mask.png"):
        trees.write(tmp_path / label)
    with pytest.raises(UserError) as refused:
        list_suffix_pairs(tmp_path, "train", "_mask")
    assert str(refused.value) == (
        f"{tmp_path}/train/labels/a_mask.png: a second label of one image, beside train/a_mask.png; remove one"
    )
    (tmp_path / "train/labels/a_mask.png").rename(tmp_path / "train/a_mask.json")  # what belongs to a label is none
    assert [pair.label for pair in list_suffix_pairs(tmp_path, "train", "_mask")] == ["train/a_mask.png"]
