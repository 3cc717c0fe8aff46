import pytest
import torch
from torch import nn

from dstc.core.taxonomy import IGNORE
from dstc.method.cross_supervision import (
    confident_share,
    pseudo_label,
    teacher_mode,
)
from tests.method import slow

NO_PADDING = torch.zeros(2, 6, 7, dtype=torch.uint8)


def normalizing_network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 5, 1), nn.BatchNorm2d(5))


def test_pseudo_labels_are_the_likeliest_class_of_each_pixel() -> None:
    logits = slow.random_tensor(0, 2, 5, 3, 4)
    assert torch.equal(pseudo_label(logits, NO_PADDING[:, :3, :4]), slow.pseudo_label(logits))


def test_padding_is_never_labeled_nor_counted_as_confident() -> None:
    logits, padding = 9 * slow.random_tensor(0, 2, 5, 6, 7), NO_PADDING.clone()
    padding[:, :, 4:] = IGNORE
    label = pseudo_label(logits, padding)
    assert (label[:, :, 4:] == IGNORE).all()
    assert torch.equal(label[:, :, :4], slow.pseudo_label(logits[..., :4]))
    whole = confident_share(logits[..., :4], slow.pseudo_label(logits[..., :4]), 0.9)
    assert confident_share(logits, label, 0.9) == whole
    assert confident_share(logits, torch.full_like(label, IGNORE), 0.9) == 0


def test_pseudo_labels_carry_no_gradient() -> None:
    labels = pseudo_label(slow.random_tensor(0, 1, 5, 2, 2).requires_grad_(), NO_PADDING[:1, :2, :2])
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
    share = confident_share(logits.requires_grad_(), NO_PADDING, threshold)
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
