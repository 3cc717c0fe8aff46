"""A domain of a few small images on disk, each telling by its colors which one it is and where a pixel lies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from dstc.core.index import DomainIndex, Entry, digest
from dstc.core.taxonomy import IGNORE

LABEL_IDS = {0: IGNORE, 7: 0, 8: 1, 11: 2}


def image_array(number: int, height: int, width: int) -> np.ndarray:
    """uint8 (H, W, 3): the image's number, the row, the column."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([np.full_like(rows, number), rows, columns], axis=-1).astype(np.uint8)


def label_array(number: int, height: int, width: int) -> np.ndarray:
    """uint8 (H, W) of ids; the train id is a function of the pixel's place."""
    rows, columns = np.mgrid[:height, :width]
    return np.array([0, 7, 8, 11], np.uint8)[(rows // 3 + columns // 3 + number) % 4]


def small_domain(
    root: Path, count: int, *, size: tuple[int, int] = (24, 16), resize: tuple[int, int] | None = None
) -> DomainIndex:
    """Write `count` images of size (width, height) with labels; later ones are each a pixel wider.

    The pixels per class are not those of the labels, whose classes are about equal.
    """
    root.mkdir(parents=True, exist_ok=True)
    entries = []
    for number in range(count):
        width, height = size[0] + number, size[1]
        image, label = f"{number:02d}.png", f"{number:02d}_label.png"
        Image.fromarray(image_array(number, height, width)).save(root / image)
        Image.fromarray(label_array(number, height, width)).save(root / label)
        digests = [digest((root / name).read_bytes()) for name in (image, label)]
        entries.append(Entry(image, digests[0], width, height, label, digests[1], (60, 30, 10)))
    return DomainIndex(
        domain="source",
        class_names=("road", "sidewalk", "building"),
        class_colors=((128, 64, 128), (244, 35, 232), (70, 70, 70)),
        label_ids=LABEL_IDS,
        entries=tuple(entries),
        resize=resize,
    )
