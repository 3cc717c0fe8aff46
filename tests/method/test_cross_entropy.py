import pytest
import torch

from dstc.method.cross_entropy import cross_entropy
from dstc.taxonomy import IGNORE
from tests.method import slow


@pytest.mark.parametrize("count", [1, 2, 3])
def test_cross_entropy_is_the_mean_over_the_valid_pixels_of_the_whole_batch(count: int) -> None:
    logits, label = slow.random_tensor(0, count, 5, 4, 6), slow.random_label(count, count, 4, 6)
    label[0, :2] = IGNORE  # so that a mean over images of means over pixels would differ
    assert cross_entropy(logits, label).item() == pytest.approx(slow.cross_entropy(logits, label), rel=1e-5)


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
