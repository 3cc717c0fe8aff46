import math

import numpy as np
import pytest
import torch

from dstc.core.taxonomy import CITYSCAPES_19, IGNORE
from dstc.label_maps.confusion_matrix import ConfusionMatrix, mean_iou, most_likely


def matrix_of(label, prediction, num_classes):
    matrix = ConfusionMatrix(num_classes)
    matrix.update(torch.as_tensor(label, dtype=torch.uint8), torch.as_tensor(prediction))
    return matrix


def test_a_perfect_prediction_has_an_iou_of_one():
    label = torch.tensor([[0, 1], [2, 2]])
    matrix = matrix_of(label, label, 3)
    assert matrix.iou().tolist() == [1, 1, 1]
    assert matrix.pixel_accuracy() == 1


def test_a_class_without_a_true_pixel_is_nan_also_where_it_is_predicted():
    iou = matrix_of([0, 0, 0], [0, 0, 1], 3).iou()
    assert iou[0] == 2 / 3
    assert math.isnan(iou[1])
    assert math.isnan(iou[2])
    assert mean_iou(iou) == 2 / 3


def test_counts_and_iou_match_a_slow_loop_over_pixels_in_several_updates():
    draws = np.random.default_rng(0)
    labels, predictions = draws.integers(0, 5, (3, 7, 9)), draws.integers(0, 6, (3, 7, 9))
    labels[draws.random(labels.shape) < 0.2] = IGNORE
    matrix = ConfusionMatrix(6)
    for label, prediction in zip(labels, predictions, strict=True):
        matrix.update(torch.from_numpy(label.astype(np.uint8)), torch.from_numpy(prediction))

    slow = np.zeros((6, 6), int)
    for truth, predicted in zip(labels.ravel(), predictions.ravel(), strict=True):
        if truth != IGNORE:
            slow[truth, predicted] += 1
    assert matrix.counts.tolist() == slow.tolist()
    union = [slow[k].sum() + slow[:, k].sum() - slow[k, k] for k in range(6)]
    assert matrix.iou().tolist()[:5] == [slow[k, k] / union[k] for k in range(5)]
    assert slow[:, 5].sum() > slow[5].sum() == 0  # predicted, but nowhere true
    assert math.isnan(matrix.iou()[5])
    assert matrix.pixel_accuracy() == sum(slow[k, k] for k in range(6)) / slow.sum()


def test_void_pixels_are_never_counted():
    matrix = matrix_of([IGNORE, IGNORE, 1], [0, 1, 1], 2)
    assert matrix.counts.tolist() == [[0, 0], [0, 1]]
    assert matrix.pixel_accuracy() == 1


def test_a_label_that_is_no_class_and_not_void_fails_instead_of_being_counted():
    with pytest.raises(RuntimeError):
        matrix_of([0, 2], [0, 1], 2)


@pytest.mark.parametrize("num_classes", [2, 19, 180, 181, 254])
@pytest.mark.parametrize("kind", [torch.uint8, torch.int32, torch.int64])
def test_any_number_of_classes_is_counted_to_the_last_cell(num_classes, kind):
    """From 181 classes on the cells outnumber what 16 bits can tell apart."""
    draws = torch.Generator().manual_seed(num_classes)
    label = torch.randint(0, num_classes, (3000,), generator=draws, dtype=torch.uint8)
    prediction = torch.randint(0, num_classes, (3000,), generator=draws).to(kind)
    label[0] = prediction[0] = num_classes - 1
    label[1:9] = IGNORE
    matrix = ConfusionMatrix(num_classes)
    matrix.update(label, prediction)
    slow = np.zeros((num_classes, num_classes), int)
    np.add.at(slow, (label[label != IGNORE].numpy(), prediction[label != IGNORE].numpy()), 1)
    assert matrix.counts.tolist() == slow.tolist()


def test_the_most_likely_class_is_the_first_of_the_highest_scores():
    score = torch.tensor([[0.0, 1, 1], [2, 2, 0], [0, 0, 0]]).T.reshape(1, 3, 1, 3)
    assert most_likely(score).tolist() == [[[1, 0, 0]]]
    assert torch.equal(most_likely(score), score.argmax(1))


def test_nothing_labeled_gives_nan_and_not_an_error():
    matrix = matrix_of([IGNORE], [0], 2)
    assert math.isnan(mean_iou(matrix.iou()))
    assert math.isnan(matrix.pixel_accuracy())


def test_the_mean_over_a_subset_leaves_out_the_other_classes_and_absent_ones():
    iou = torch.full((19,), 0.5, dtype=torch.float64)
    iou[CITYSCAPES_19.names.index("wall")] = 0.1
    iou[CITYSCAPES_19.names.index("train")] = 0.2
    iou[CITYSCAPES_19.names.index("bus")] = torch.nan
    assert mean_iou(iou) == pytest.approx((16 * 0.5 + 0.1 + 0.2) / 18)
    assert mean_iou(iou, CITYSCAPES_19.subsets["miou_16"]) == pytest.approx((14 * 0.5 + 0.1) / 15)
    assert mean_iou(iou, CITYSCAPES_19.subsets["miou_13"]) == pytest.approx(0.5)


def test_rates_of_each_true_class_add_up_to_one():
    rates = matrix_of([0, 0, 0, 0, 1], [0, 0, 0, 1, 1], 3).rates()
    assert rates[0].tolist() == [0.75, 0.25, 0]
    assert rates[1].tolist() == [0, 1, 0]
    assert rates[2].isnan().all()
