"""What the values in a domain's label files mean, for the known data sets and for a user's own."""

from __future__ import annotations

import colorsys
import itertools
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from dstc.core.errors import UserError
from dstc.core.taxonomy import IGNORE, KNOWN_CLASSES, LABEL_IDS, Classes, train_ids

Value = int | str  # an id, or a color as "#rrggbb"
Color = tuple[int, int, int]  # RGB, 0..255
ALIKE = 120  # colors whose channels differ by less, all together, are hard to tell apart in a picture
BLACK = "#000000"
GOLDEN_RATIO = 0.618033988749895


@dataclass(frozen=True)
class LabelRules:
    """Train id (or IGNORE) of each id, or of each "#rrggbb" color; the mapping that does not apply is empty.

    A value may be off by `tolerance`; `named_in` are the parameters that name the values, empty for a known data set.
    """

    ids: Mapping[int, int] = field(default_factory=dict)
    colors: Mapping[str, int] = field(default_factory=dict)
    tolerance: int = 0
    named_in: str = ""


def task_classes(classes: str, own_names: Sequence[str], own_colors: Mapping[str, str]) -> Classes:
    """The classes of the task: a known set by its name, or "own" ones with given or else generated colors."""
    if classes != "own":
        return KNOWN_CLASSES[classes]
    problems = list(_color_problems(own_colors))
    if problems:
        raise UserError("\n".join(problems))
    given = {name: _rgb(color) for name, color in own_colors.items()}
    fresh = iter(_colors_beside(set(given.values()), len(own_names)))
    return Classes(tuple(own_names), tuple(given[name] if name in given else next(fresh) for name in own_names))


def _color_problems(own_colors: Mapping[str, str]) -> Iterator[str]:
    """A class and void, or two classes, in one color could not be told apart in pictures, nor in the report's errors."""
    seen: dict[str, str] = {}
    for name, color in own_colors.items():
        if not _is_color(color):
            yield f"data.own.colors.{name}: must be '#rrggbb', not '{color}'"
        elif color == BLACK:
            yield f"data.own.colors.{name}: '{BLACK}' is the color that void is drawn in; give another"
        elif color.lower() in seen:
            yield f"data.own.colors.{name}: '{color}' is that of {seen[color.lower()]} already; give another"
        seen.setdefault(color.lower(), name)


def label_rules(
    layout: str,
    classes: Classes,
    own_labels: Mapping[str, Sequence[Value]],
    own_ignored: Sequence[Value],
    *,
    tolerance: int = 0,
    of_target: bool = False,
) -> LabelRules:
    """A domain's rules: the known data set's table, or for layouts folders and csv data.own.labels and .ignored, or
    data.own.target_labels and .target_ignored (`of_target`)."""
    if layout in LABEL_IDS:
        return LabelRules(ids=train_ids(layout, classes))
    by_name = {name: train_id for train_id, name in enumerate(classes.names)}
    meanings = [(value, by_name[name]) for name, values in own_labels.items() for value in values]
    meanings += [(value, IGNORE) for value in own_ignored]
    prefix = "data.own.target_" if of_target else "data.own."
    named_in = f"{prefix}labels or {prefix}ignored"
    problems = list(_value_problems([value for value, _ in meanings], named_in))
    if problems:
        raise UserError("\n".join(problems))
    return LabelRules(
        ids={value: meaning for value, meaning in meanings if isinstance(value, int)},
        colors={value.lower(): meaning for value, meaning in meanings if isinstance(value, str)},
        tolerance=tolerance,
        named_in=named_in,
    )


def _value_problems(values: Sequence[Value], named_in: str) -> Iterator[str]:
    where = named_in.replace(" or ", " and ")
    target = "" if "target" in named_in else "; if the target's values are others, name them in data.own.target_labels"
    if not values:
        yield f"{where} name no value; say which ids or colors of the label files mean which class"
    if len({type(value) for value in values}) > 1:
        yield f"{where} mix ids and colors; a label file holds one or the other, so give only one kind{target}"
    for value in values:
        if isinstance(value, str) and not _is_color(value):
            yield f"{where}: '{value}' is neither an id nor a color such as '#804080'"
        if isinstance(value, int) and not 0 <= value < 2**16:
            yield f"{where}: id {value} is not in 0..65535, the range of a label file"
    for value, count in Counter(str(value).lower() for value in values).items():
        if count > 1:
            yield f"{where} name {value} {count} times; it can mean one thing only{target}"


def distinct_colors() -> Iterator[Color]:
    """An endless row of RGB colors (0..255) that differ well from their neighbours in the row; none is black (void)."""
    step = 0
    while True:
        brightness = (1.0, 0.75, 0.5)[step % 3]
        red, green, blue = colorsys.hsv_to_rgb(step * GOLDEN_RATIO % 1, 0.85 - 0.3 * (step // 3 % 2), brightness)
        yield round(255 * red), round(255 * green), round(255 * blue)
        step += 1


def _colors_beside(taken: set[Color], count: int) -> list[Color]:
    """So many distinct colors beside the taken ones, those that look like one of these last."""
    others = (color for color in distinct_colors() if color not in taken)
    first = list(itertools.islice(others, 2 * count))
    return sorted(first, key=lambda color: any(_difference(color, other) < ALIKE for other in taken))


def _difference(one: Color, other: Color) -> int:
    return sum(abs(a - b) for a, b in zip(one, other, strict=True))


def _is_color(value: str) -> bool:
    return re.fullmatch("#[0-9a-fA-F]{6}", value) is not None


def _rgb(color: str) -> Color:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)
