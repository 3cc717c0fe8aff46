from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from dstc.core.taxonomy import IGNORE
from dstc.training.class_weights import inverse_log_weights
from dstc.training.cross_entropy import cross_entropy
from tests.method import slow


@pytest.mark.parametrize("count", [1, 2, 3])
def test_cross_entropy_is_the_mean_over_the_valid_pixels_of_the_whole_batch(count: int) -> None:
    logits, label = slow.random_tensor(0, count, 5, 4, 6), slow.random_label(count, count, 4, 6)
    label[0, :2] = IGNORE  # so that a mean over images of means over pixels would differ
    assert cross_entropy(logits, label).item() == pytest.approx(slow.cross_entropy(logits, label), rel=1e-5)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 50.0])
def test_class_weights_count_by_their_proportions_alone(scale: float) -> None:
    logits, label = slow.random_tensor(0, 2, 5, 4, 6), slow.random_label(2, 2, 4, 6)
    weights = scale * torch.tensor([1.5, 50.0, 2.0, 7.0, 3.0])
    expected = F.cross_entropy(logits, label.long(), weight=weights, ignore_index=IGNORE).item()
    assert cross_entropy(logits, label, weights).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("weights", [None, torch.tensor([1.5, 50.0, 2.0, 7.0, 3.0])])
def test_a_gpu_adds_up_a_map_of_losses_without_atomic_additions(weights: Tensor | None) -> None:
    """On torch's meta device, which goes the way of a GPU: no loss that is summed by the operation itself."""
    reductions: list[int] = []

    class Recorded(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func._schema.name.startswith("aten::nll_loss"):
                reductions.append(args[3] if "backward" not in func._schema.name else args[4])
            return func(*args, **(kwargs or {}))

    logits = torch.zeros(2, 5, 4, 6, device="meta", requires_grad=True)
    with Recorded():
        loss = cross_entropy(
            logits,
            torch.zeros(2, 4, 6, dtype=torch.uint8, device="meta"),
            weights if weights is None else weights.to("meta"),
        )
        loss.backward()
    assert loss.shape == ()
    assert reductions == [0, 0]  # none


def test_a_batch_that_is_void_throughout_costs_zero_and_its_gradient_is_zero() -> None:
    logits = slow.random_tensor(0, 2, 5, 3, 3).requires_grad_()
    loss = cross_entropy(logits, torch.full((2, 3, 3), IGNORE, dtype=torch.uint8))
    loss.backward()
    assert loss == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()  # NaN is not 0


def test_void_pixels_get_no_gradient() -> None:
    logits, label = slow.random_tensor(0, 1, 5, 4, 4).requires_grad_(), slow.random_label(0, 1, 4, 4)
    cross_entropy(logits, label).backward()
    assert logits.grad is not None
    touched = (logits.grad != 0).any(1)
    assert torch.equal(touched, label != IGNORE)


def test_the_last_class_that_uint8_can_name_is_no_void() -> None:
    logits = slow.random_tensor(0, 1, 255, 1, 1)
    label = torch.full((1, 1, 1), 254, dtype=torch.uint8)
    assert cross_entropy(logits, label).item() == pytest.approx(slow.cross_entropy(logits, label), rel=1e-5)


def test_class_weights_give_the_weighted_mean_that_torch_gives() -> None:
    logits, label = slow.random_tensor(0, 2, 5, 4, 6), slow.random_label(0, 2, 4, 6)
    label[0, :2] = IGNORE
    weights = torch.tensor([1.5, 50.0, 2.0, 7.0, 3.0])
    expected = F.cross_entropy(logits, label.long(), weight=weights, ignore_index=IGNORE)
    assert cross_entropy(logits, label, class_weights=weights).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("weights", [None, torch.tensor([1.5, 50.0, 2.0, 7.0, 3.0])])
def test_shares_of_a_batch_each_have_the_whole_batchs_loss_and_their_part_of_its_gradient(
    weights: Tensor | None,
) -> None:
    logits, label = slow.random_tensor(0, 4, 5, 3, 3).requires_grad_(), slow.random_label(0, 4, 3, 3)
    label[0] = IGNORE
    whole = cross_entropy(logits, label, weights)
    whole.backward()
    shares = [
        (part.detach().requires_grad_(), share) for part, share in zip(logits.split(2), label.split(2), strict=True)
    ]
    noted: list[Tensor] = []
    for part, share in shares:  # a share's own numbers first: what it asks to be added up
        cross_entropy(part, share, weights, total=lambda own: (noted.append(own.detach()), own)[1])
    others = [noted[2:], noted[:2]]
    for (part, share), other in zip(shares, others, strict=True):
        numbers = iter(other)
        loss = cross_entropy(part, share, weights, total=lambda own, numbers=numbers: own + next(numbers))
        loss.backward()
        assert loss.item() == pytest.approx(whole.item(), rel=1e-5)
    assert logits.grad is not None
    torch.testing.assert_close(torch.cat([part.grad for part, _ in shares]), logits.grad)


def test_a_void_batch_costs_zero_with_class_weights_too() -> None:
    label = torch.full((2, 3, 3), IGNORE, dtype=torch.uint8)
    assert cross_entropy(slow.random_tensor(0, 2, 5, 3, 3), label, class_weights=torch.ones(5)) == 0


def test_the_rarer_a_class_the_more_a_pixel_of_it_weighs() -> None:
    weights = inverse_log_weights(torch.tensor([0.98, 0.019, 0.001, 0.0]))
    assert weights.tolist() == pytest.approx([1.4427, 26.13, 48.12, 50.50], rel=1e-3)
