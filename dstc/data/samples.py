"""One image with its label, as the index says it lies on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dstc.core.index import DomainIndex, Entry
from dstc.data.cache import Cache, array_of
from dstc.data.data_files import image_file, label_file

VOID_COLOR = (124, 116, 104)  # close to both normalizations' mean, so padding is close to zero


def read_pair(
    entry: Entry, index: DomainIndex, roots: Sequence[Path], cache: Cache | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Image uint8 (H, W, 3) RGB and label uint8 (H, W) train ids, both at `index.resize`, or at the image's own size.

    Images are resized bicubic, labels nearest, by Pillow, as in the released code. None where there is no label. Both
    are read-only; with a cache they may lie on disk, and what is not looked at is not read.
    """
    image = array_of(image_file(entry, index, roots), cache)
    return image, None if entry.label is None else array_of(label_file(entry, index, roots), cache)


def crop_pair(
    image: np.ndarray,
    label: np.ndarray | None,
    width_height: Sequence[int],
    *,
    fill: int,
    generator: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """The same random window of image (H, W, 3) and label (H, W). Where the image is smaller than the window it is padded
    on the right and below: the image with the mean color, the label with `fill`. No label is one of zeros."""
    width, height = width_height
    top = int(generator.integers(max(image.shape[0] - height, 0) + 1))
    left = int(generator.integers(max(image.shape[1] - width, 0) + 1))
    window = slice(top, top + height), slice(left, left + width)
    image = image[window]
    label = np.zeros(image.shape[:2], np.uint8) if label is None else label[window]
    if label.shape == (height, width):
        return image, label
    padded_image = np.empty((height, width, 3), np.uint8)
    padded_image[:] = VOID_COLOR
    padded_label = np.full((height, width), fill, np.uint8)
    padded_image[: image.shape[0], : image.shape[1]] = image
    padded_label[: label.shape[0], : label.shape[1]] = label
    return padded_image, padded_label
