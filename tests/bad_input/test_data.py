"""The table of bad data: what prepare_data says of each, and that it writes nothing then."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML

from dstc.config.params import read_params
from dstc.core import places
from dstc.core.index import load_index, read_split, root_folders
from dstc.data.loaders import Stream
from tests.bad_input.conftest import run_stage, set_params
from tests.preparation import trees

IMAGE, LABEL = "gta5/images/00002.png", "gta5/labels/00002.png"
SIZE = (12, 8)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with data that are right, entered."""
    trees.gta5(tmp_path / "gta5")
    trees.cityscapes(tmp_path / "cityscapes")
    paths = {"source": str(tmp_path / "gta5"), "target": str(tmp_path / "cityscapes")}
    YAML().dump(trees.raw_params(paths=paths, split={"size": 2}), tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refusal(root: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        run_stage("prepare_data")
    assert ended.value.code == 1
    assert not (root / "data").exists()
    message = capsys.readouterr().err
    assert "Traceback" not in message
    return [line.removeprefix("error: ") for line in message.splitlines() if line.startswith("error: ")]


Damage = Callable[[Path], Any]


def written(name: str, image: Image.Image, kind: str = "PNG", **options: Any) -> Damage:
    return lambda root: image.save(root / name, kind, **options)


def content(name: str, change: Callable[[bytes], bytes]) -> Damage:
    return lambda root: (root / name).write_bytes(change((root / name).read_bytes()))


def replaced_by(name: str, make: Callable[[Path], Any]) -> Damage:
    def damage(root: Path) -> None:
        (root / name).unlink()
        make(root / name)

    return damage


def with_size(width: int, height: int) -> Callable[[bytes], bytes]:
    """The PNG with another size in its header, checksum included."""

    def change(png: bytes) -> bytes:
        header = b"IHDR" + struct.pack(">II", width, height) + png[24:29]
        return png[:12] + header + struct.pack(">I", zlib.crc32(header)) + png[33:]

    return change


def turned(orientation: int = 6) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def palette_label(path: Path, road: str, sky: str) -> None:
    label = Image.fromarray(np.full(SIZE[::-1], trees.ROAD, np.uint8)).convert("P")
    label.putdata([trees.ROAD] * 48 + [trees.SKY] * 48)
    palette = [0] * 768
    for index, color in ((trees.ROAD, road), (trees.SKY, sky)):
        palette[3 * index : 3 * index + 3] = bytes.fromhex(color[1:])
    label.putpalette(palette)
    label.save(path)


def png_16(_: bytes) -> bytes:
    return trees.png_16_bit(np.full((8, 12, 1), 7, np.uint16))


TABLE: dict[str, tuple[Damage, str]] = {
    # images
    "empty": (content(IMAGE, lambda _: b""), f"{IMAGE}: cannot be decoded as an image"),
    "truncated": (
        content(IMAGE, lambda png: png[:-40]),
        f"{IMAGE}: cannot be decoded as an image (image file is trunc",
    ),
    "a page of text": (content(IMAGE, lambda _: b"<html>404</html>"), f"{IMAGE}: cannot be decoded as an image"),
    "a flipped bit": (
        content(IMAGE, lambda png: png[:60] + bytes([png[60] ^ 1]) + png[61:]),
        f"{IMAGE}: cannot be decoded as an image",
    ),
    "16-bit": (written(IMAGE, Image.new("I;16", SIZE)), f"{IMAGE}: an image must be 8-bit RGB (or gray or palette)"),
    "CMYK": (written(IMAGE, Image.new("CMYK", SIZE), "JPEG"), f"{IMAGE}: an image must be 8-bit RGB"),
    "floating point": (written(IMAGE, Image.new("F", SIZE), "TIFF"), f"{IMAGE}: an image must be 8-bit RGB"),
    "turned by EXIF, its label not": (
        written(IMAGE, Image.new("RGB", SIZE), "JPEG", exif=turned()),
        f"{LABEL}: is 12x8, but its image is 8x12 once it is turned as its EXIF orientation 6 says and viewers show it; "
        "turn the label too",
    ),
    "a header of 10 gigapixels": (
        content(IMAGE, with_size(100_000, 100_000)),
        f"{IMAGE}: Image size (10000000000 pixels) exceeds limit of 178956970 pixels; cut it into tiles",
    ),
    "missing, a dangling link": (
        replaced_by(IMAGE, lambda path: path.symlink_to("nowhere.png")),
        f"{IMAGE}: cannot be read (No such file or directory)",
    ),
    "a link to itself": (
        replaced_by(IMAGE, lambda path: path.symlink_to(path.name)),
        f"{IMAGE}: cannot be read (Too many levels of symbolic links)",
    ),
    "a folder": (replaced_by(IMAGE, Path.mkdir), f"{IMAGE}: is no regular file"),
    "a pipe": (replaced_by(IMAGE, os.mkfifo), f"{IMAGE}: is no regular file"),
    # labels
    "no label": (lambda root: (root / LABEL).unlink(), f"{IMAGE}: has no label (expected is labels/00002.png)"),
    "an empty label": (content(LABEL, lambda _: b""), f"{LABEL}: cannot be decoded as an image"),
    "a label of another size": (
        written(LABEL, Image.new("L", (12, 9), 7)),
        f"{LABEL}: is 12x9, but its image is 12x8",
    ),
    "an unknown id": (written(LABEL, Image.new("L", SIZE, 77)), f"{LABEL}: unknown label id 77 (known are -1, 0, 1"),
    "a palette that numbers the classes otherwise": (
        lambda root: [
            palette_label(path, *(("#6b8e23", "#4682b4") if path.name == Path(LABEL).name else ("#4682b4", "#6b8e23")))
            for path in (root / "gta5/labels").iterdir()
        ],
        f"{LABEL}: its palette gives an id another color than that of another label does (id 7 is #6b8e23, but #4682b4 in",
    ),
    "colors for ids": (
        written(LABEL, Image.new("RGB", SIZE)),
        f"{LABEL}: holds RGB colors, but this data set's labels are ids; wanted is a gray or palette image",
    ),
    "a label with alpha": (
        written(LABEL, Image.new("LA", SIZE)),
        f"{LABEL}: a label must be a gray, palette, 16-bit gray (of PNG also color) or 8-bit RGB image; its mode is LA of 8",
    ),
    "a truncated 16-bit label": (
        content(LABEL, lambda png: png_16(png)[:50]),
        f"{LABEL}: cannot be decoded as a 16-bit PNG; is it truncated?",
    ),
    "a 16-bit label of 10 gigapixels": (
        content(LABEL, lambda png: with_size(100_000, 100_000)(png_16(png))),
        f"{LABEL}: cannot be decoded as a 16-bit PNG",
    ),
    "labels void throughout": (
        lambda root: [Image.new("L", SIZE, 4).save(path) for path in (root / "gta5/labels").iterdir()],
        "paths.source: none of the 4 labels of source holds a pixel of any class",
    ),
    # names
    "a name with a line break": (
        lambda root: (root / IMAGE).rename(root / "gta5/images/a\nb.png"),
        r"gta5: the file name 'images/a\nb.png' holds a line break, a control character or bytes that are not UTF-8",
    ),
    "a name that is not UTF-8": (
        lambda root: (root / IMAGE).rename(root / "gta5/images" / os.fsdecode(b"a\xff.png")),
        r"gta5: the file name 'images/a\udcff.png' holds",
    ),
    # folders
    "no folder": (lambda root: (root / "gta5").rename(root / "gta"), "paths.source: "),
    "a file for a folder": (
        lambda root: ((root / "gta5").rename(root / "gta"), (root / "gta5").write_text("")),
        "gta5: no such folder",
    ),
    "a link loop for a folder": (
        lambda root: ((root / "gta5").rename(root / "gta"), (root / "gta5").symlink_to("gta5")),
        "gta5: no such folder",
    ),
    "no images": (
        lambda root: [path.unlink() for path in (root / "gta5/images").iterdir()],
        "gta5: no images found; layout 'gta5' expects images/*.png and labels/*.png of the same names",
    ),
    "another layout": (
        lambda _: set_params(data__source={"layout": "synthia"}),
        "gta5/RGB: no such folder; layout 'synthia' expects RGB/*.png",
    ),
    "no split of that name": (
        lambda _: set_params(data__target={"val": "test"}),
        "cityscapes/leftImg8bit/test: no such folder",
    ),
    "a split outside": (
        lambda _: set_params(data__target={"val": "../val"}),
        "split '../val': must be the name of a folder or list inside",
    ),
    "val is train": (
        lambda _: set_params(data__target={"val": "train"}),
        "is in both data.target.train and data.target.val; validation would see training images",
    ),
    "all held out": (
        lambda _: set_params(data__source={"held_out": 4}),
        "holds 4 images; data.source.held_out: 4 would leave none",
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_bad_data_are_refused_with_their_message(root: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    damage, message = TABLE[name]
    damage(root)
    assert any(message in line for line in refusal(root, capsys))


CSV: dict[str, tuple[str, str]] = {
    "no column label": ("image\na.png\n", "must name the columns image and label; missing: ['label']"),
    "nothing": ("", "missing: ['image', 'label']"),
    "no row": ("image,label\n", "no images found; layout 'csv' expects train.csv"),
    "a path that goes up": ("image,label\n../a.png,\n", "train.csv:2: '../a.png' must be a path relative to"),
    "an absolute path": ("image,label\n/etc/passwd,\n", "train.csv:2: '/etc/passwd' must be a path relative to"),
    "a label that goes up": ("image,label\na.png,b/../../c.png\n", "train.csv:2: 'b/../../c.png' must be a path"),
    "an image twice": ("image,label\na.png,\na.png,\n", "train.csv:3: 'a.png' is listed already, in line 2"),
    "an empty image": ("image,label\n,b.png\n", "train.csv:2: column image is empty"),
    "a lossy label": ("image,label\na.png,b.jpg\n", "b.jpg: a label must be stored without loss"),
    "a missing image": ("image,label\nnone.png,\n", "none.png: cannot be read (No such file or directory)"),
    "a line break in a name": ('image,label\n"a\nb.png",\n', r"the file name 'a\nb.png' holds a line break"),
    "a NUL in a name": ("image,label\na\0b.png,\n", r"the file name 'a\x00b.png' holds a line break, a control char"),
    "a name of a megabyte": (f"image,label\n{'a' * 2**20},\n", "not a CSV file in UTF-8 (field larger than"),
    "a name too long for a file": (f"image,label\n{'a' * 5000},\n", "cannot be read (File name too long)"),
}


@pytest.mark.parametrize("name", CSV)
def test_a_bad_list_is_refused_with_its_line(root: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    text, message = CSV[name]
    own = root / "own"
    trees.write_photo(own / "a.png")
    (own / "train.csv").write_text(text)
    (own / "val.csv").write_text("image,label\na.png,\n")
    set_params(paths={"target": str(own)}, data__target={"layout": "csv"}, data__own={"labels": {"road": [7]}})
    assert any(message in line for line in refusal(root, capsys))


WELCOME: dict[str, Damage] = {
    "an image with alpha": written(IMAGE, Image.new("RGBA", SIZE)),
    "a gray image": written(IMAGE, Image.new("L", SIZE)),
    "a palette image": written(IMAGE, Image.new("P", SIZE)),
    "an image upside down by EXIF": written(IMAGE, Image.new("RGB", SIZE), "JPEG", exif=turned(3)),
    "what a NAS and an archive leave": lambda root: [
        trees.write_photo(root / folder / "00002.png")
        for folder in ("gta5/images/@eaDir", "cityscapes/leftImg8bit/train/aachen/@eaDir", "gta5/__MACOSX/images")
    ],
    "a label void throughout": written(LABEL, Image.new("L", SIZE, trees.LICENSE_PLATE)),
    "a folder linked into itself": lambda root: (root / "cityscapes/leftImg8bit/train/loop").symlink_to(".."),
}


@pytest.mark.parametrize("name", WELCOME)
def test_what_looks_odd_but_is_right_is_taken(root: Path, name: str) -> None:
    WELCOME[name](root)
    run_stage("prepare_data")
    assert len(load_index(root / places.INDEX_SOURCE)) == 4


NAMES = [
    "a b",
    "it's",
    'say "x"',
    "Straße 東京",
    "comma, semicolon;",
    "-rf",
    "per%cent $HOME `x`",
    "brackets[0]{1}",
    "#1",
]


@pytest.mark.parametrize("name", NAMES)
def test_unusual_names_are_taken_from_the_folder_to_the_batch(root: Path, name: str) -> None:
    folder = root / "cityscapes/leftImg8bit/train/aachen"
    image = next(folder.glob("*.png"))
    scene = image.name.removesuffix("_leftImg8bit.png")
    image.rename(folder / f"{name}_leftImg8bit.png")
    label = root / f"cityscapes/gtFine/train/aachen/{scene}_gtFine_labelIds.png"
    label.rename(label.with_name(f"{name}_gtFine_labelIds.png"))
    (root / "splits").mkdir()
    (root / "splits/mine.txt").write_text(f"aachen/{name}\n")
    set_params(split={"size": 1, "file": "mine.txt"})
    run_stage("prepare_data")
    run_stage("make_split")
    labeled, _ = read_split(root / places.SPLIT)
    assert labeled == [f"leftImg8bit/train/aachen/{name}_leftImg8bit.png"]
    index = load_index(root / places.INDEX_TARGET_TRAIN).named(labeled)
    roots = root_folders(read_params().paths.target, "cityscapes")
    images, _ = Stream(index, roots, 1, [16, 16]).crops(0, seed=0, name="test")
    assert images.shape == (1, 16, 16, 3)


@pytest.mark.parametrize("kind", ["image", "label", "folder", "csv"])
def test_files_and_folders_that_may_not_be_read_are_named(
    unprivileged: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    files = {"image": IMAGE, "label": LABEL, "folder": "cityscapes/leftImg8bit", "csv": "own/train.csv"}
    if kind == "csv":
        trees.write_photo(unprivileged / "own/a.png")
        (unprivileged / files[kind]).write_text("image,label\na.png,\n")
        own = {"paths": {"target": str(unprivileged / "own")}, "data__target": {"layout": "csv"}}
        set_params(**own, data__own={"labels": {"road": [7]}})
    before = (unprivileged / places.INDEX_SOURCE).read_bytes()
    (unprivileged / files[kind]).chmod(0)
    with pytest.raises(SystemExit) as ended:
        run_stage("prepare_data")
    assert ended.value.code == 1
    message = capsys.readouterr().err
    assert "Traceback" not in message
    assert files[kind] in message
    assert "Permission denied" in message
    assert (unprivileged / places.INDEX_SOURCE).read_bytes() == before
