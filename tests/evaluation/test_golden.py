"""Against values of the released metric; DSTC_GOLDEN names the folder that holds them."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from dstc.core.taxonomy import CITYSCAPES_19, IGNORE, SYNTHIA_16
from dstc.label_maps.confusion_matrix import ConfusionMatrix, mean_iou


@pytest.fixture(scope="module")
def golden():
    folder = os.environ.get("DSTC_GOLDEN")
    if not folder:
        pytest.skip("DSTC_GOLDEN is not set: no golden values")
    return np.load(Path(folder) / "data_metric.npz")


def matrix_of(golden, name, num_classes):
    label = golden[f"{name}.label"].astype(np.int64)
    label[label == -1] = IGNORE  # the file holds both of the released code's void values
    matrix = ConfusionMatrix(num_classes)
    matrix.update(torch.from_numpy(label.astype(np.uint8)), torch.from_numpy(golden[f"{name}.pred"].astype(np.int64)))
    return matrix


def released(matrix, per_class):
    """The released IoUs without those of classes that are predicted alone: 0 there, nothing here (a deviation)."""
    is_true = matrix.counts.sum(1).numpy() > 0
    assert is_true.sum() > 10
    return np.where(is_true, per_class, np.nan)


def assert_equal(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=1e-14, atol=0)  # NaN equals NaN


def test_nineteen_classes_and_their_subsets_match_the_released_metric(golden):
    matrix = matrix_of(golden, "iou19", 19)
    np.testing.assert_array_equal(matrix.counts.numpy(), golden["iou19.confusion"])
    iou = matrix.iou()
    theirs = released(matrix, golden["iou19.per_class"])
    np.testing.assert_array_equal(iou.numpy(), theirs)
    assert_equal(mean_iou(iou), np.nanmean(theirs))
    for subset in (CITYSCAPES_19.subsets["miou_16"], CITYSCAPES_19.subsets["miou_13"]):
        assert_equal(mean_iou(iou, subset), np.nanmean(theirs[list(subset)]))


def test_sixteen_classes_and_their_subset_match_the_released_metric(golden):
    matrix = matrix_of(golden, "iou16", 16)
    np.testing.assert_array_equal(matrix.counts.numpy(), golden["iou16.confusion"])
    iou = matrix.iou()
    subset = SYNTHIA_16.subsets["miou_13"]
    theirs = released(matrix, golden["iou16.per_class"])
    np.testing.assert_array_equal(iou.numpy(), theirs)
    assert_equal(mean_iou(iou), np.nanmean(theirs))
    assert_equal(mean_iou(iou, subset), np.nanmean(theirs[list(subset)]))
