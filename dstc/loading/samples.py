"""One image with its label, as the index says it lies on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from dstc.errors import UserError
from dstc.image_files import decode_image, decode_label, to_train_ids
from dstc.index import DomainIndex, Entry, digest

VOID_COLOR = (124, 116, 104)  # close to both normalizations' mean, so padding is close to zero


def read_pair(entry: Entry, index: DomainIndex, roots: Sequence[Path]) -> tuple[np.ndarray, np.ndarray | None]:
    """Image uint8 (H, W, 3) RGB and label uint8 (H, W) train ids, both at `index.resize`, or at the image's own size.

    Images are resized bicubic, labels nearest, by Pillow, as in the released code. None where there is no label.
    """
    image = decode_image(_unchanged_bytes(_root(entry, roots) / entry.image, entry.image_digest), entry.image)
    wanted = index.resize or image.size
    if image.size != tuple(wanted):
        image = image.resize(wanted, Image.Resampling.BICUBIC)
    if entry.label is None:
        return np.asarray(image), None
    label = read_label(entry, index, roots)
    if label.shape != (wanted[1], wanted[0]):
        label = np.asarray(Image.fromarray(label).resize(wanted, Image.Resampling.NEAREST))
    return np.asarray(image), label


def read_label(entry: Entry, index: DomainIndex, roots: Sequence[Path]) -> np.ndarray:
    """Label uint8 (H, W) of train ids at its own size."""
    assert entry.label is not None and entry.label_digest is not None
    content = _unchanged_bytes(_root(entry, roots) / entry.label, entry.label_digest)
    return to_train_ids(decode_label(content, entry.label), index.label_ids, index.label_colors, entry.label)


def _root(entry: Entry, roots: Sequence[Path]) -> Path:
    if entry.root >= len(roots):
        raise UserError(f"paths.unlabeled lacks the folder of {entry.name}; run `dvc repro prepare_data`")
    return roots[entry.root]


def _unchanged_bytes(path: Path, expected: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}, but the index lists it; run `dvc repro -f prepare_data`") from None
    if digest(content) != expected:
        raise UserError(f"{path}: changed since it was indexed; run `dvc repro -f prepare_data`")
    return content


def crop_pair(
    image: np.ndarray,
    label: np.ndarray | None,
    width_height: Sequence[int],
    *,
    fill: int,
    generator: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """The same random window of image (H, W, 3) and label (H, W). Where the image is smaller than the window it is padded
    on the right and below: the image with the mean color, the label with `fill`. Without a label, `fill` throughout."""
    width, height = width_height
    if label is None:
        label = np.full(image.shape[:2], fill, np.uint8)
    top = int(generator.integers(max(image.shape[0] - height, 0) + 1))
    left = int(generator.integers(max(image.shape[1] - width, 0) + 1))
    image, label = image[top : top + height, left : left + width], label[top : top + height, left : left + width]
    if label.shape == (height, width):
        return image, label
    padded_image = np.empty((height, width, 3), np.uint8)
    padded_image[:] = VOID_COLOR
    padded_label = np.full((height, width), fill, np.uint8)
    padded_image[: image.shape[0], : image.shape[1]] = image
    padded_label[: label.shape[0], : label.shape[1]] = label
    return padded_image, padded_label
