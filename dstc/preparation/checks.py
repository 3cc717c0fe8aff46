"""Read one image and its label once: check them, count the label's pixels, digest the bytes."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from dstc.core.errors import UserError
from dstc.core.image_files import decode_image, decode_label, to_train_ids
from dstc.core.index import Entry, digest
from dstc.core.names import is_one_line
from dstc.core.taxonomy import IGNORE
from dstc.preparation.label_rules import LabelRules
from dstc.preparation.layouts import Pair

ORIENTATION = 0x0112  # the EXIF tag by which a camera says how it was held; 1 is upright
TURNED = range(2, 9)
ASPECT_TOLERANCE = 0.01


@dataclass(frozen=True)
class Rules:
    """What the files of a domain must keep to.

    Image and label have the same size. GTA5 as it is distributed breaks this in a few pairs (1914x1052 against
    1914x1046): `near_sizes` accepts a label whose aspect differs by less than 1 %, which is harmless only where both
    are resized before use.
    """

    num_classes: int
    labels: LabelRules
    labels_required: bool
    near_sizes: bool = False
    own_labels: bool = False  # the rules come from data.own, so that is where an unknown id is mended


@dataclass(frozen=True)
class Checked:
    """One pair as found: its entry, or else its faults."""

    entry: Entry | None = None
    faults: tuple[str, ...] = ()
    size_differs: bool = False


def check_pair(rules: Rules, root: Path, number: int, pair: Pair) -> Checked:
    """Check the pair below `root`, folder `number` of its domain. All its faults are returned."""
    faults = [
        f"{root}: the file name {name!r} holds a line break, a control character or bytes that are not UTF-8; rename it"
        for name in (pair.image, pair.label or "")
        if not is_one_line(name)  # split files and tables hold a name a line
    ]
    if faults:
        return Checked(faults=tuple(faults))
    entry, label = None, None
    try:
        entry = _read_image(root, number, pair)
    except UserError as error:
        faults.append(str(error))
    try:
        label = _read_label(rules, root, pair)
    except UserError as error:
        faults.append(str(error))
    if faults or entry is None:
        return Checked(faults=tuple(faults))
    return Checked(entry) if label is None else _joined(rules, root, entry, label)


def _joined(rules: Rules, root: Path, entry: Entry, label: _Label) -> Checked:
    height, width = label.train_ids.shape
    same_size = (width, height) == (entry.width, entry.height)
    near = abs(width / height / (entry.width / entry.height) - 1) < ASPECT_TOLERANCE
    if not same_size and not (rules.near_sizes and near):
        cure = "; layout gta5 accepts so small a difference where data.source.resize is set" if near else ""
        fault = f"{root / label.name}: is {width}x{height}, but its image is {entry.width}x{entry.height}{cure}"
        return Checked(faults=(fault,))
    counts = np.bincount(label.train_ids.ravel(), minlength=IGNORE + 1)[: rules.num_classes]
    labeled = replace(entry, label=label.name, label_digest=label.digest, pixels=tuple(counts.tolist()))
    return Checked(labeled, size_differs=not same_size)


def _read_image(root: Path, number: int, pair: Pair) -> Entry:
    path = root / pair.image
    content = _bytes_of(path)
    image = decode_image(content, str(path))
    _refuse_rotated(image, path)
    return Entry(pair.image, digest(content), image.width, image.height, root=number)


def _refuse_rotated(image: Image.Image, path: Path) -> None:
    try:
        orientation = image.getexif().get(ORIENTATION, 1)
    except (SyntaxError, ValueError, struct.error):  # damaged, so viewers show the image as it is
        return
    if orientation in TURNED:
        raise UserError(
            f"{path}: its EXIF orientation is {orientation}, so viewers show it turned while its label is not; store "
            "it upright and without that tag (`exiftran -ai`, `mogrify -auto-orient`)"
        )


@dataclass(frozen=True)
class _Label:
    name: str
    digest: str
    train_ids: np.ndarray  # uint8 (H, W)


def _read_label(rules: Rules, root: Path, pair: Pair) -> _Label | None:
    if pair.label is None:
        if rules.labels_required:
            raise UserError(f"{root / pair.image}: has no label; expected is {pair.wanted}")
        return None
    path = root / pair.label
    content = _bytes_of(path)
    raw = decode_label(content, str(path))
    try:
        train_ids = to_train_ids(raw, rules.labels.ids, rules.labels.colors, str(path))
    except UserError as error:
        unknown_own = rules.own_labels and ": unknown label " in str(error)
        raise UserError(f"{error}{'; name it in data.own.labels or .ignored' if unknown_own else ''}") from None
    return _Label(pair.label, digest(content), train_ids)


def _bytes_of(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():  # such as a pipe, which would be waited for without end
            raise UserError(f"{path}: is no regular file")
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
