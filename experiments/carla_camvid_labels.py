"""Labels of CamVid and of two versions of CARLA as Cityscapes label ids."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from dstc.core.taxonomy import CITYSCAPES_19, label_id_of

SKY, EGO_VEHICLE = 23, 1  # Cityscapes label ids
# sky, building, pole, road, pavement, tree, sign, fence, car, pedestrian, bicyclist, void
CAMVID_IDS = (23, 11, 17, 7, 8, 21, 20, 13, 26, 24, 25, 0)

NO_TAG, VEHICLE = 0, 10  # tags of CARLA 0.8
# none, building, fence, other, pedestrian, pole, road line, road, sidewalk, vegetation, vehicle, wall, traffic sign
CARLA_08_IDS = (0, 11, 13, 0, 24, 17, 7, 7, 8, 21, 26, 12, 20)

CARLA_0914_COLORS = {
    **{color: label_id_of(name) for name, color in zip(CITYSCAPES_19.names, CITYSCAPES_19.colors, strict=True)},
    (81, 0, 81): 6,  # ground
    (230, 150, 140): 10,  # rail track
    (180, 165, 180): 14,  # guard rail
    (150, 100, 100): 15,  # bridge
    (110, 190, 160): 4,  # static
    (170, 120, 50): 5,  # dynamic
    (157, 234, 50): 7,  # road line
}


def camvid_ids(path: Path) -> np.ndarray:
    """Cityscapes label ids, uint8 (H, W), of a label file of CamVid."""
    with Image.open(path) as image:
        return _look_up(np.asarray(image), CAMVID_IDS)


def carla_08_ids(path: Path) -> np.ndarray:
    """The same of CARLA 0.8, where all files of a folder are one drive.

    Sky has no tag: of what has none, the regions that touch the top row are sky.
    """
    tags = _tags(path)
    ids = _look_up(tags, CARLA_08_IDS)
    regions, _ = ndimage.label(tags == NO_TAG)
    ids[np.isin(regions, np.setdiff1d(regions[0], 0))] = SKY
    ids[(tags == VEHICLE) & bonnet(path.parent)] = EGO_VEHICLE
    return ids


def carla_0914_ids(path: Path) -> np.ndarray:
    """The same of CARLA 0.9.14; colors that are not in the table become 0, unlabeled."""
    with Image.open(path) as image:
        colors = np.asarray(image.convert("RGB"))
    keys = np.array([1 << 16, 1 << 8, 1])
    ids = {int(color @ keys): id_ for color, id_ in CARLA_0914_COLORS.items()}
    found, positions = np.unique(colors @ keys, return_inverse=True)
    return np.array([ids.get(key, 0) for key in found.tolist()], np.uint8)[positions].reshape(colors.shape[:2])


@cache
def bonnet(drive: Path) -> np.ndarray:
    """Where the camera sees its own car, bool (H, W): vehicle in more than 95 % of a drive's frames, and 3 pixels around."""
    paths = sorted(drive.iterdir())
    counts = np.zeros_like(_tags(paths[0]), dtype=np.int64)
    for path in paths:
        counts += _tags(path) == VEHICLE
    return ndimage.binary_dilation(counts > 0.95 * len(paths), iterations=3)


def _tags(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))[..., 0]


def _look_up(values: np.ndarray, ids: Sequence[int]) -> np.ndarray:
    """The id of each value; 0, unlabeled, of values that have none."""
    table = np.zeros(256, np.uint8)
    table[: len(ids)] = ids
    return table[values]
