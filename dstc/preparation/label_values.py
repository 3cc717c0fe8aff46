"""Which values the label files of unknown data hold, before anybody has said what they mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dstc.core.errors import UserError
from dstc.core.image_files import decode_label
from dstc.core.progress import progress
from dstc.preparation.label_rules import Value
from dstc.preparation.layouts import list_pairs

MOST_VALUES = 254  # as many classes as there can be


@dataclass
class Found:
    """What one split of one data set holds: numbers of images and labels, pixels and label files by value."""

    split: str
    images: int = 0
    labels: int = 0
    pixels: Counter[Value] = field(default_factory=Counter)
    files: Counter[Value] = field(default_factory=Counter)


def find_values(root: Path, split: str) -> Found:
    """Read all label files of a split in layout folders; its images are only listed."""
    pairs = list_pairs("folders", root, split)
    labels = [pair.label for pair in pairs if pair.label is not None]
    found = Found(f"{root.name}/{split}", len(pairs), len(labels))
    with progress(total=len(labels), desc=f"reading labels of {found.split}", unit="label") as bar:
        for name in labels:
            counts = values_of(decode_label((root / name).read_bytes(), str(root / name)))
            found.pixels.update(counts)
            found.files.update(counts.keys())
            if len(found.pixels) > MOST_VALUES:
                raise UserError(
                    f"{root / name}: with it there are more than {MOST_VALUES} different label values. Is it a photo, an "
                    "instance map, or a label that was resized with interpolation? A label has one value for each class"
                )
            bar.update()
    return found


def values_of(raw: np.ndarray) -> Counter[Value]:
    """Pixels by value of a decoded label: of ids (H, W), or of colors (H, W, 3) as "#rrggbb"."""
    if raw.ndim == 2:
        ids, counts = np.unique(raw, return_counts=True)
        return Counter(dict(zip(ids.tolist(), counts.tolist(), strict=True)))
    wide = raw.astype(np.uint32)
    colors, counts = np.unique((wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2], return_counts=True)
    return Counter({f"#{color:06x}": count for color, count in zip(colors.tolist(), counts.tolist(), strict=True)})


def all_values(found: Iterable[Found]) -> list[Value]:
    """Every value that occurs, in order; raise UserError where some labels hold ids and others colors."""
    values = {value for one in found for value in one.pixels}
    if len({type(value) for value in values}) > 1:
        kinds = ", ".join(f"{one.split} {'colors' if isinstance(next(iter(one.pixels)), str) else 'ids'}"
                          for one in found if one.pixels)  # fmt: skip
        raise UserError(f"some label files hold ids, others colors ({kinds}); bring them to one kind")
    return sorted(values)


def values_table(found: list[Found]) -> str:
    """A line for each split with its numbers, then one for each value: share of pixels, and in how many labels it is."""
    lines = [f"{one.split}: {one.images} images, {one.labels} of them labeled" for one in found]
    rows = [["value", *(one.split for one in found)]]
    rows += [[str(value), *(_occurrence(one, value) for one in found)] for value in all_values(found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines += ["", *("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows)]
    return "\n".join(lines)


def _occurrence(found: Found, value: Value) -> str:
    share = found.pixels[value] / max(1, found.pixels.total())
    return f"{100 * share:.2g} % in {found.files[value]}" if share else "-"
