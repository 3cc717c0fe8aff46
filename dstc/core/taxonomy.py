"""Classes, colors and label ids of the known data sets, and the one value that marks void pixels.

A label map is uint8 of shape (H, W); it holds *train ids* 0..K-1 of a `Classes`, and IGNORE where a pixel is void.
Sources: the Cityscapes label table (cityscapesScripts `labels.py`), which GTA5 shares, and the SYNTHIA-RAND-CITYSCAPES
description of its 23 ids.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

IGNORE = 255  # void: never trained on, never pasted, never counted


@dataclass(frozen=True)
class Classes:
    """The K classes of a task: names and RGB colors (0..255) by train id, and named subsets to report a mean IoU over."""

    names: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]
    subsets: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)


_NAMES_19 = (
    "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation", "terrain",
    "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
)  # fmt: skip
_COLORS_19 = (
    (128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153), (153, 153, 153), (250, 170, 30),
    (220, 220, 0), (107, 142, 35), (152, 251, 152), (70, 130, 180), (220, 20, 60), (255, 0, 0), (0, 0, 142), (0, 0, 70),
    (0, 60, 100), (0, 80, 100), (0, 0, 230), (119, 11, 32),
)  # fmt: skip
_NOT_IN_SYNTHIA = ("terrain", "truck", "train")
_NOT_IN_13 = (
    "wall",
    "fence",
    "pole",
)  # SYNTHIA's literature reports 13 classes, without these thin or badly rendered three

_NAMES_16 = tuple(name for name in _NAMES_19 if name not in _NOT_IN_SYNTHIA)
_NAMES_13 = tuple(name for name in _NAMES_16 if name not in _NOT_IN_13)


def _positions(names: tuple[str, ...], within: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(within.index(name) for name in names)


CITYSCAPES_19 = Classes(
    _NAMES_19,
    _COLORS_19,
    {"miou_16": _positions(_NAMES_16, _NAMES_19), "miou_13": _positions(_NAMES_13, _NAMES_19)},
)
SYNTHIA_16 = Classes(
    _NAMES_16,
    tuple(_COLORS_19[_NAMES_19.index(name)] for name in _NAMES_16),
    {"miou_13": _positions(_NAMES_13, _NAMES_16)},
)
KNOWN_CLASSES: Mapping[str, Classes] = MappingProxyType({"cityscapes_19": CITYSCAPES_19, "synthia_16": SYNTHIA_16})

# Every id a label file may hold, by class name; "void" stands for the ids that are known and ignored.
_CITYSCAPES_IDS = {
    "void": (-1, 0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30, 34, 35, 255),
    "road": (7,), "sidewalk": (8,), "building": (11,), "wall": (12,), "fence": (13,), "pole": (17,),
    "traffic light": (19,), "traffic sign": (20,), "vegetation": (21,), "terrain": (22,), "sky": (23,), "person": (24,),
    "rider": (25,), "car": (26,), "truck": (27,), "bus": (28,), "train": (31,), "motorcycle": (32,), "bicycle": (33,),
}  # fmt: skip
_SYNTHIA_IDS = {
    "void": (0, 13, 14, 22),
    "sky": (1,), "building": (2,), "road": (3,), "sidewalk": (4,), "fence": (5,), "vegetation": (6,), "pole": (7,),
    "car": (8,), "traffic sign": (9,), "person": (10,), "bicycle": (11,), "motorcycle": (12,), "traffic light": (15,),
    "terrain": (16,), "rider": (17,), "truck": (18,), "bus": (19,), "train": (20,), "wall": (21,),
}  # fmt: skip
LABEL_IDS: Mapping[str, Mapping[str, tuple[int, ...]]] = MappingProxyType(
    {"cityscapes": _CITYSCAPES_IDS, "gta5": _CITYSCAPES_IDS, "synthia": _SYNTHIA_IDS}
)


def train_ids(layout: str, classes: Classes) -> dict[int, int]:
    """Map each id that a label file of `layout` ("gta5", "cityscapes", "synthia") may hold to its train id in `classes`,
    or to IGNORE where the id is void or its class is not among `classes`. An id that is not a key is unknown: a problem."""
    by_name = {name: train_id for train_id, name in enumerate(classes.names)}
    return {id_: by_name.get(name, IGNORE) for name, ids in LABEL_IDS[layout].items() for id_ in ids}


def label_id_of(class_name: str) -> int:
    """The Cityscapes label id (the one written to `labelIds` files) of a class or of "void" (0, unlabeled)."""
    return 0 if class_name == "void" else _CITYSCAPES_IDS[class_name][0]
