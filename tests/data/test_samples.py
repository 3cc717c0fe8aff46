from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dstc.core.errors import UserError
from dstc.core.index import digest
from dstc.core.taxonomy import IGNORE
from dstc.data.cache import array_of
from dstc.data.data_files import label_file
from dstc.data.samples import VOID_COLOR, crop_pair, read_pair
from tests.data.small_domain import LABEL_IDS, image_array, label_array, small_domain


def train_ids(ids: np.ndarray) -> np.ndarray:
    return np.vectorize(LABEL_IDS.get)(ids).astype(np.uint8)


def test_a_pair_is_read_as_it_lies_on_disk_with_train_ids(tmp_path: Path) -> None:
    index = small_domain(tmp_path, 2)
    image, label = read_pair(index.entries[1], index, [tmp_path])
    np.testing.assert_array_equal(image, image_array(1, 16, 25))
    np.testing.assert_array_equal(label, train_ids(label_array(1, 16, 25)))
    assert image.dtype == label.dtype == np.uint8


def test_images_are_resized_bicubic_and_labels_nearest_by_pillow(tmp_path: Path) -> None:
    index = small_domain(tmp_path, 1, resize=(13, 9))
    image, label = read_pair(index.entries[0], index, [tmp_path])
    expected = Image.fromarray(image_array(0, 16, 24)).resize((13, 9), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(image, np.asarray(expected))
    expected = Image.fromarray(label_array(0, 16, 24)).resize((13, 9), Image.Resampling.NEAREST)
    np.testing.assert_array_equal(label, train_ids(np.asarray(expected)))
    on_disk = array_of(label_file(index.entries[0], index, [tmp_path], own_size=True), None)
    np.testing.assert_array_equal(on_disk, train_ids(label_array(0, 16, 24)))


def test_a_label_of_another_size_than_its_image_is_brought_to_the_images(tmp_path: Path) -> None:
    index = small_domain(tmp_path, 1)
    Image.fromarray(label_array(0, 32, 48)).save(tmp_path / "00_label.png")
    entry = replace(index.entries[0], label_digest=digest((tmp_path / "00_label.png").read_bytes()))
    image, label = read_pair(entry, index, [tmp_path])
    assert label.shape == image.shape[:2] == (16, 24)


def test_images_are_found_in_the_folder_that_their_root_counts(tmp_path: Path) -> None:
    index = small_domain(tmp_path / "further", 1)
    image, _ = read_pair(replace(index.entries[0], root=1), index, [tmp_path / "main", tmp_path / "further"])
    np.testing.assert_array_equal(image, image_array(0, 16, 24))


@pytest.mark.parametrize("name", ["00.png", "00_label.png"])
def test_a_file_that_changed_since_it_was_indexed_is_refused(tmp_path: Path, name: str) -> None:
    index = small_domain(tmp_path, 1)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content + b"\0")  # it would still decode to the same pixels
    with pytest.raises(UserError, match=rf"{name}: changed since it was indexed; run `dvc repro -f prepare_data`"):
        read_pair(index.entries[0], index, [tmp_path])


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    index = small_domain(tmp_path, 1)
    (tmp_path / "00.png").unlink()
    with pytest.raises(UserError, match=r"00\.png: No such file.* but the index lists it"):
        read_pair(index.entries[0], index, [tmp_path])


def crop(height: int, width: int, window: tuple[int, int], seed: int = 0, labeled: bool = True):  # type: ignore[no-untyped-def]
    image, label = image_array(9, height, width), train_ids(label_array(9, height, width))
    generator = np.random.default_rng(seed)
    return crop_pair(image, label if labeled else None, window, fill=IGNORE, generator=generator)


def test_a_crop_is_a_window_of_image_and_label_at_the_same_place() -> None:
    label = train_ids(label_array(9, 16, 24))
    for seed in range(30):
        image, cut = crop(16, 24, (10, 7), seed)
        assert image.shape == (7, 10, 3)
        top, left = image[0, 0, 1:]
        np.testing.assert_array_equal(image, image_array(9, 16, 24)[top : top + 7, left : left + 10])
        np.testing.assert_array_equal(cut, label[top : top + 7, left : left + 10])


def test_every_place_of_a_window_occurs_the_last_row_and_column_included() -> None:
    corners = {tuple(crop(5, 6, (4, 3), seed)[0][0, 0, 1:].tolist()) for seed in range(300)}
    assert corners == {(top, left) for top in range(3) for left in range(3)}


def test_a_window_of_the_images_size_takes_all_of_it() -> None:
    image, label = crop(16, 24, (24, 16))
    np.testing.assert_array_equal(image, image_array(9, 16, 24))
    np.testing.assert_array_equal(label, train_ids(label_array(9, 16, 24)))


@pytest.mark.parametrize(("height", "width"), [(5, 30), (30, 5), (5, 5)])
def test_where_the_image_is_smaller_than_the_window_the_label_is_padded_with_ignore(height: int, width: int) -> None:
    image, label = crop(height, width, (12, 10))
    assert image.shape == (10, 12, 3)
    assert label.shape == (10, 12)
    inside = np.zeros((10, 12), bool)
    inside[:height, :width] = True
    assert (label[~inside] == IGNORE).all()
    assert (image[~inside] == VOID_COLOR).all()
    assert (image[inside][:, 0] == 9).all()
    rows, columns = image[0, 0, 1:]
    expected = train_ids(label_array(9, height, width))[rows : rows + 10, columns : columns + 12]
    np.testing.assert_array_equal(label[inside], expected.ravel())


def test_without_a_label_a_crop_is_void_in_its_padding_alone() -> None:
    for height, width in ((16, 24), (4, 24), (4, 4)):
        _, label = crop(height, width, (10, 7), labeled=False)
        inside = np.zeros((7, 10), bool)
        inside[:height, :width] = True
        assert (label[inside] == 0).all()
        assert (label[~inside] == IGNORE).all()
