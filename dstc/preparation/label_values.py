"""Which values the label files of unknown data hold, before anybody has said what they mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dstc.core.errors import UserError
from dstc.core.image_files import channels_of, decode_label
from dstc.core.names import LOSSLESS_ENDINGS
from dstc.core.progress import progress
from dstc.preparation.label_rules import Value
from dstc.preparation.layouts import Pair
from dstc.preparation.palettes import Palettes
from dstc.preparation.problems import Problem, problems_of, refuse

MOST_VALUES = 254  # as many classes as there can be
KINDS = ("gray ids", "palette", "colors")


@dataclass(frozen=True)
class LabelContent:
    """What one label file holds: its kind, pixels by value, and of a palette file the color of each id."""

    file: Path
    kind: str
    pixels: Mapping[Value, int]
    palette: Mapping[int, str]

    def by_color(self) -> Mapping[Value, int]:
        """The pixels by color; of a palette file several ids may have the same."""
        if self.kind != "palette":
            return self.pixels
        total: Counter[Value] = Counter()
        for index, count in self.pixels.items():
            total[self.palette[int(index)]] += count
        return total


@dataclass
class Found:
    """What one split of one data set holds: numbers of images and labels, pixels and label files by value."""

    split: str
    images: int = 0
    labels: int = 0
    pixels: Counter[Value] = field(default_factory=Counter)
    files: Counter[Value] = field(default_factory=Counter)


def find_values(root: Path, splits: Mapping[str, Sequence[Pair]], *, tolerance: int = 0) -> list[Found]:
    """Read all label files of a data set's splits, which have one meaning; its images are only listed.

    Values are ids; colors, where files hold colors or palettes that contradict each other. With a tolerance, values that
    differ by no more count as the most frequent one among them.
    """
    contents: dict[str, list[LabelContent]] = {}
    problems: list[Problem] = []
    merging = _Merging(tolerance)
    for split, pairs in splits.items():
        contents[split] = []
        labels = [root / pair.label for pair in pairs if pair.label is not None]
        with progress(total=len(labels), desc=f"reading labels of {root.name}/{split}", unit="label") as bar:
            for file in labels:
                try:
                    contents[split].append(_content(file, merging))
                except UserError as error:
                    problems += problems_of(file, error)
                bar.update()
    refuse(problems)
    by_color = _are_colors([one for content in contents.values() for one in content])
    return [
        _found(f"{root.name}/{split}", len(splits[split]), content, by_color) for split, content in contents.items()
    ]


def _content(file: Path, merging: _Merging) -> LabelContent:
    if not merging.tolerance and file.suffix.lower() not in LOSSLESS_ENDINGS:
        raise UserError(
            f"{file}: is not stored without loss; of masks that are JPEG files give --tolerance, such as 40"
        )
    raw = decode_label(file.read_bytes(), str(file))
    kind = "colors" if raw.values.ndim == 3 else "gray ids" if raw.palette is None else "palette"
    pixels = values_of(raw.values) if kind == "palette" else merging.merged(values_of(raw.values))
    if len(pixels) > MOST_VALUES:
        raise UserError(
            f"{file}: holds more than {MOST_VALUES} different label values. Is it a photo or an instance map? A label has "
            "one value for each class; of one with JPEG noise or smoothed edges give --tolerance, such as 40"
        )
    return LabelContent(file, kind, pixels, raw.used_colors())


def values_of(values: np.ndarray) -> Counter[Value]:
    """Pixels by value of a decoded label: of ids (H, W), or of colors (H, W, 3) as "#rrggbb"."""
    if values.ndim == 2:
        ids, counts = np.unique(values, return_counts=True)
        return Counter(dict(zip(ids.tolist(), counts.tolist(), strict=True)))
    wide = values.astype(np.uint32)
    colors, counts = np.unique((wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2], return_counts=True)
    return Counter({f"#{color:06x}": count for color, count in zip(colors.tolist(), counts.tolist(), strict=True)})


class _Merging:
    """Brings values to the nearest of those that were most frequent where nothing near had been seen."""

    def __init__(self, tolerance: int) -> None:
        self.tolerance = tolerance
        self._centers: dict[type, list[Value]] = {int: [], str: []}

    def merged(self, counts: Counter[Value]) -> Counter[Value]:
        if not self.tolerance or not counts:
            return counts
        values, pixels = zip(*counts.most_common(), strict=True)
        channels, weights = _channels(values), np.array(pixels)
        centers = self._centers[type(values[0])]
        total: Counter[Value] = Counter()
        nearest = np.full(len(values), self.tolerance + 1)
        owner = np.full(len(values), -1)
        number = 0
        while number < len(centers) or (owner < 0).any():
            if number == len(centers):
                if number > MOST_VALUES:
                    return counts
                centers.append(values[int(np.argmax(owner < 0))])
            distance = np.abs(channels - _channels([centers[number]])).max(axis=1)
            owner[distance < nearest] = number
            nearest = np.minimum(nearest, distance)
            number += 1
        for owned in np.unique(owner).tolist():
            total[centers[owned]] = int(weights[owner == owned].sum())
        return total


def _channels(values: Sequence[Value]) -> np.ndarray:
    if isinstance(values[0], str):
        return channels_of(np.array([int(str(value)[1:], 16) for value in values]))
    return np.array(values, np.int64)[:, None]


def _are_colors(contents: Sequence[LabelContent]) -> bool:
    """Whether the files are to be read by their colors; raise UserError where some cannot be and others must."""
    files = {kind: [one.file for one in contents if one.kind == kind] for kind in KINDS}
    palettes = Palettes()
    contradicting = [problem for one in contents for problem in palettes.problems(one.file, one.palette, own=True)]
    gray, rest = files["gray ids"], files["palette"] + files["colors"]
    if not files["colors"] and not contradicting:
        return False
    if gray and files["colors"]:
        few, many, what = (gray, rest, "gray ids") if len(gray) <= len(rest) else (rest, gray, "colors")
        other = "colors" if what == "gray ids" else "gray ids"
        refuse([Problem(file, f"holds {what}, while {len(many)} other labels hold {other} (such as {many[0]}); store "
                              f"it like those") for file in few])  # fmt: skip
    if gray:
        refuse(contradicting)
    return True


def _found(name: str, images: int, contents: Sequence[LabelContent], by_color: bool) -> Found:
    found = Found(name, images, len(contents))
    for one in contents:
        pixels = one.by_color() if by_color else one.pixels
        found.pixels.update(pixels)
        found.files.update(pixels.keys())
        if len(found.pixels) > MOST_VALUES:
            raise UserError(
                f"{one.file}: with it there are more than {MOST_VALUES} different label values. Is it a photo, an "
                "instance map, or a label that was resized with interpolation? A label has one value for each class"
            )
    return found


def all_values(found: Iterable[Found]) -> list[Value]:
    """Every value that occurs, in order: ids first, then colors."""
    return sorted({value for one in found for value in one.pixels}, key=lambda value: (isinstance(value, str), value))


def values_table(found: Sequence[Found]) -> str:
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
