"""Read one image and its label once: check them, count the label's pixels, digest the bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np

from dstc.core.errors import UserError
from dstc.core.image_files import decode_label, decode_oriented, to_train_ids
from dstc.core.index import Entry, digest
from dstc.core.names import LOSSLESS_ENDINGS, is_one_line
from dstc.core.taxonomy import IGNORE
from dstc.preparation.label_rules import LabelRules
from dstc.preparation.layouts import Pair
from dstc.preparation.problems import Problem, problems_of

ASPECT_TOLERANCE = 0.01


@dataclass(frozen=True)
class Rules:
    """What the files of a domain must keep to.

    Image and label have the same size, once both are upright. GTA5 as it is distributed breaks this in a few pairs
    (1914x1052 against 1914x1046): `near_sizes` accepts a label whose aspect differs by less than 1 %, which is harmless
    only where both are resized before use.
    """

    num_classes: int
    labels: LabelRules
    labels_required: bool
    near_sizes: bool = False


@dataclass(frozen=True)
class Checked:
    """One pair as found: its entry, or else its problems."""

    entry: Entry | None = None
    problems: tuple[Problem, ...] = ()
    size_differs: bool = False
    turned: bool = False  # a labeled image that its EXIF orientation turns
    palette: Mapping[int, str] = field(default_factory=dict)  # the color "#rrggbb" of each id of a palette label


def check_pair(rules: Rules, root: Path, number: int, pair: Pair) -> Checked:
    """Check the pair below `root`, folder `number` of its domain. All its problems are returned."""
    problems = [
        Problem(
            root,
            f"the file name {name!r} holds a line break, a control character or bytes that are not UTF-8; rename it",
        )
        for name in (pair.image, pair.label or "")
        if not is_one_line(name)  # split files and tables hold a name a line
    ]
    if problems:
        return Checked(problems=tuple(problems))
    image, label = None, None
    try:
        image = _read_image(root, number, pair)
    except UserError as error:
        problems += problems_of(root / pair.image, error)
    try:
        label = _read_label(rules, root, pair)
    except UserError as error:
        problems += problems_of(root / (pair.label or pair.image), error)
    if problems or image is None:
        return Checked(problems=tuple(problems))
    return Checked(image.entry) if label is None else _joined(rules, root, image, label)


def _joined(rules: Rules, root: Path, image: _Image, label: _Label) -> Checked:
    entry = image.entry
    height, width = label.train_ids.shape
    same_size = (width, height) == (entry.width, entry.height)
    near = abs(width / height / (entry.width / entry.height) - 1) < ASPECT_TOLERANCE
    if not same_size and not (rules.near_sizes and near):
        what = (
            f"is {width}x{height}, but its image is {entry.width}x{entry.height}{_cure(image, (width, height), near)}"
        )
        return Checked(problems=(Problem(root / label.name, what),))
    counts = np.bincount(label.train_ids.ravel(), minlength=IGNORE + 1)[: rules.num_classes]
    labeled = replace(entry, label=label.name, label_digest=label.digest, pixels=tuple(counts.tolist()))
    return Checked(labeled, size_differs=not same_size, turned=image.orientation != 1, palette=label.palette)


def _cure(image: _Image, label_size: tuple[int, int], near: bool) -> str:
    if image.orientation != 1 and label_size == (image.entry.height, image.entry.width):
        return (
            f" once it is turned as its EXIF orientation {image.orientation} says and viewers show it; turn the label too, "
            "or take the tag out of the image (`exiftool -Orientation= FILE`)"
        )
    if near:
        return "; resize it by nearest neighbor. Layout gta5 accepts it as it is where data.source.resize is set"
    return ""


@dataclass(frozen=True)
class _Image:
    entry: Entry
    orientation: int


def _read_image(root: Path, number: int, pair: Pair) -> _Image:
    path = root / pair.image
    content = _bytes_of(path)
    image, orientation = decode_oriented(content, str(path))
    return _Image(Entry(pair.image, digest(content), image.width, image.height, root=number), orientation)


@dataclass(frozen=True)
class _Label:
    name: str
    digest: str
    train_ids: np.ndarray  # uint8 (H, W)
    palette: Mapping[int, str]


def _read_label(rules: Rules, root: Path, pair: Pair) -> _Label | None:
    if pair.label is None:
        if rules.labels_required:
            raise UserError(f"{root / pair.image}: has no label (expected is {pair.wanted})")
        return None
    path, labels = root / pair.label, rules.labels
    if not labels.tolerance and PurePosixPath(pair.label).suffix.lower() not in LOSSLESS_ENDINGS:
        raise UserError(
            f"{path}: a label must be stored without loss, as {', '.join(sorted(LOSSLESS_ENDINGS))}; for masks that are "
            "JPEG files set data.own.tolerance"
        )
    content = _bytes_of(path)
    raw = decode_label(content, str(path))
    try:
        train_ids = to_train_ids(raw, labels.ids, labels.colors, str(path), tolerance=labels.tolerance)
    except UserError as error:
        raise UserError("\n".join(line + _cure_of_unknown(line, labels) for line in str(error).splitlines())) from None
    return _Label(pair.label, digest(content), train_ids, {} if labels.colors else raw.used_colors())


def _cure_of_unknown(line: str, labels: LabelRules) -> str:
    if labels.named_in and ": unknown label values" in line:
        return " For the latter set data.own.tolerance"
    return f"; name it in {labels.named_in}" if labels.named_in and ": unknown label " in line else ""


def _bytes_of(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():  # such as a pipe, which would be waited for without end
            raise UserError(f"{path}: is no regular file")
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
