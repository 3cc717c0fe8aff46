"""The recorded arrays of the released method, and how their names and void value read in this project.

DSTC_GOLDEN names the folder; its README says what each array is. Void is -1 there and IGNORE here.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from dstc.core.taxonomy import IGNORE
from dstc.models.resnet import ResNet
from dstc.models.segmentation import SegmentationNetwork, build_head

VARIANTS = (
    "base",
    "released",
    "align_void",
    "train_mode_teacher",
    "sequential",
    "duplicated_params",
    "teachers_first",
)
NUM_CLASSES = 19


@functools.cache
def arrays(name: str) -> Mapping[str, np.ndarray]:
    """The arrays of one file, all read; skips the test where there are none."""
    folder = os.environ.get("DSTC_GOLDEN")
    if not folder:
        pytest.skip("DSTC_GOLDEN is not set: it names the folder with the recorded values of the released method")
    with np.load(Path(folder) / f"{name}.npz") as file:
        return dict(file)


def own_name(name: str) -> str:
    """A recorded state-dict name as this project has it."""
    head = "layer6.conv2d_list."
    return f"classifier.{name.removeprefix(head)}" if name.startswith(head) else f"backbone.{name}"


def own_label(label: np.ndarray) -> Tensor:
    return torch.from_numpy(np.where(label < 0, IGNORE, label).astype(np.uint8))


def recorded_label(label: Tensor) -> np.ndarray:
    return np.where(label.numpy() == IGNORE, -1, label.numpy().astype(np.int64))


def chosen_classes(listed: np.ndarray) -> Tensor:
    """bool (N, K) of a recorded list (N, 12), which is padded with -2 and may hold a class twice."""
    chosen = torch.zeros(len(listed), NUM_CLASSES, dtype=torch.bool)
    for row, classes in enumerate(listed):
        chosen[row, torch.from_numpy(classes[classes >= 0])] = True
    return chosen


def full_width(blocks: tuple[int, int, int, int]) -> SegmentationNetwork:
    backbone = ResNet(blocks, stem=64, stride_on="first_conv")
    head = build_head("deeplab_v2", backbone, NUM_CLASSES, atrous_rates=(6, 12, 18, 24), head_channels=None)
    return SegmentationNetwork(backbone, head, NUM_CLASSES)


def load(network: SegmentationNetwork, state: Mapping[str, np.ndarray]) -> None:
    network.load_state_dict({own_name(name): torch.from_numpy(value) for name, value in state.items()})
