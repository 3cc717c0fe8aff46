import pytest
import torch
from torch import nn

from dstc.method.batches import LabeledBatch
from dstc.method.cross_supervision import (
    confident_pixels,
    confident_share,
    cross_supervision,
    pseudo_label,
    teacher_mode,
)
from dstc.training.cross_entropy import cross_entropy
from tests.method import slow


def normalizing_network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 5, 1), nn.BatchNorm2d(5))


def test_pseudo_labels_are_the_likeliest_class_of_each_pixel() -> None:
    logits = slow.random_tensor(0, 2, 5, 3, 4)
    assert torch.equal(pseudo_label(logits), slow.pseudo_label(logits))


def test_pseudo_labels_carry_no_gradient() -> None:
    labels = pseudo_label(slow.random_tensor(0, 1, 5, 2, 2).requires_grad_())
    assert labels.dtype == torch.uint8
    assert not labels.requires_grad


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.9])
def test_the_confident_share_counts_the_pixels_whose_likeliest_class_is_likelier_than_the_threshold(
    threshold: float,
) -> None:
    logits = 2 * slow.random_tensor(0, 2, 5, 6, 7)
    sure = [
        max(logits[n, :, y, x].softmax(0).tolist()) > threshold for n in range(2) for y in range(6) for x in range(7)
    ]
    share = confident_share(confident_pixels(logits.requires_grad_(), threshold), torch.empty(2, 6, 7))
    assert share.item() == pytest.approx(sum(sure) / len(sure))
    assert not share.requires_grad


@pytest.mark.parametrize(("batch_norm", "moves"), [("running", False), ("batch", True)])
def test_only_labeling_with_the_batchs_statistics_moves_the_running_ones(batch_norm: str, moves: bool) -> None:
    network = normalizing_network()
    before = network[1].running_mean.clone()
    with teacher_mode(network, batch_norm):
        logits = network(slow.random_tensor(0, 2, 3, 4, 4))
    assert torch.equal(network[1].running_mean, before) != moves
    own = logits.mean((0, 2, 3)).abs().max()
    assert (own < 1e-5) == moves  # normalized with its own statistics


@pytest.mark.parametrize("batch_norm", ["running", "batch"])
@pytest.mark.parametrize("training", [True, False])
def test_labeling_records_no_gradient_and_gives_the_mode_back_even_after_an_error(
    batch_norm: str, training: bool
) -> None:
    network = normalizing_network().train(training)
    with teacher_mode(network, batch_norm):
        assert not network(slow.random_tensor(0, 1, 3, 2, 2)).requires_grad
    assert network.training == network[1].training == training
    with pytest.raises(KeyError), teacher_mode(network, batch_norm):
        raise KeyError
    assert network.training == training
    assert torch.is_grad_enabled()


def test_cross_supervision_is_the_students_cross_entropy_against_the_others_labels() -> None:
    student = nn.Conv2d(3, 5, 1)
    unlabeled = LabeledBatch(slow.random_tensor(0, 2, 3, 4, 4), slow.random_label(0, 2, 4, 4, void=0))
    (loss,) = cross_supervision(student, unlabeled)
    assert torch.equal(loss, cross_entropy(student(unlabeled.image), unlabeled.label))
    (weighted,) = cross_supervision(student, unlabeled, torch.tensor(0.25))
    assert torch.equal(weighted, 0.25 * loss)
    loss.backward()
    assert student.weight.grad is not None
    assert student.weight.grad.any()
