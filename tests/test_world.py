"""The built-in data set: the same bytes for the same seed, every class in both domains, files where loaders look."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dstc.core.taxonomy import CITYSCAPES_19, LABEL_IDS, label_id_of
from dstc.world.build import build_world, render_scene

COUNTS = {"source_images": 2, "train_images": 5, "val_images": 1}


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.png"))}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built") / "world"
    build_world(folder, seed=3, workers=1, **COUNTS)
    return folder


def test_the_number_of_workers_changes_no_byte(world: Path, tmp_path: Path) -> None:
    build_world(tmp_path / "world", seed=3, workers=2, **COUNTS)
    assert _contents(tmp_path / "world") == _contents(world)


def test_seed_split_number_and_domain_each_change_the_image() -> None:
    image, _ = render_scene("target", seed=3, split="train", number=0)
    assert np.array_equal(image, render_scene("target", seed=3, split="train", number=0)[0])
    for other in ({"seed": 4}, {"split": "val"}, {"number": 1}):
        changed, _ = render_scene("target", **{"seed": 3, "split": "train", "number": 0, **other})
        assert not np.array_equal(image, changed), other


@pytest.mark.parametrize(("domain", "shape"), [("source", (160, 288)), ("target", (128, 256))])
def test_scenes_show_every_class_and_only_known_ids(domain: str, shape: tuple[int, int]) -> None:
    pixels = np.zeros(256, dtype=np.int64)
    for number in range(40):
        image, labels = render_scene(domain, seed=11, split="train", number=number)
        assert image.dtype == labels.dtype == np.uint8
        assert image.shape == (*shape, 3)
        assert labels.shape == shape
        pixels += np.bincount(labels.ravel(), minlength=256)
        if number >= 12 and all(pixels[label_id_of(name)] > 100 for name in CITYSCAPES_19.names):
            break
    missing = [name for name in CITYSCAPES_19.names if pixels[label_id_of(name)] <= 100]
    assert not missing
    known = {id_ for ids in LABEL_IDS["cityscapes"].values() for id_ in ids}
    assert set(np.flatnonzero(pixels)) <= known
    void = sum(pixels[id_] for id_ in LABEL_IDS["cityscapes"]["void"] if id_ >= 0)
    assert 0 < void < 0.06 * pixels.sum()


def test_source_files_lie_as_in_gta5(world: Path) -> None:
    for folder, mode in (("images", "RGB"), ("labels", "P")):
        files = sorted((world / "gta5" / folder).iterdir())
        assert [file.name for file in files] == ["00001.png", "00002.png"]
        for file in files:
            with Image.open(file) as image:
                assert (image.mode, image.size) == (mode, (288, 160))


def test_source_labels_are_indices_with_the_cityscapes_colors(world: Path) -> None:
    with Image.open(world / "gta5" / "labels" / "00001.png") as image:
        ids, palette = np.asarray(image), image.getpalette()
    assert np.array_equal(ids, render_scene("source", seed=3, split="train", number=1)[1])
    road = label_id_of("road")
    assert palette is not None
    assert tuple(palette[3 * road : 3 * road + 3]) == CITYSCAPES_19.colors[0]


def test_target_files_lie_as_in_cityscapes(world: Path) -> None:
    root = world / "cityscapes"
    for split, count in (("train", 5), ("val", 1)):
        images = sorted((root / "leftImg8bit" / split).glob("*/*_leftImg8bit.png"))
        assert len(images) == count
        for file in images:
            city = file.parent.name
            assert file.name.startswith(f"{city}_")
            name = file.name.replace("_leftImg8bit", "_gtFine_labelIds")
            label = root / "gtFine" / split / city / name
            with Image.open(file) as image, Image.open(label) as ids:
                assert (image.mode, image.size) == ("RGB", (256, 128))
                assert (ids.mode, ids.size) == ("L", (256, 128))
    cities = {split: {path.name for path in (root / "leftImg8bit" / split).iterdir()} for split in ("train", "val")}
    assert not cities["train"] & cities["val"]
