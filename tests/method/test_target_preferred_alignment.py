import pytest
import torch
from torch import Tensor

from dstc.core.taxonomy import IGNORE
from dstc.method.target_preferred_alignment import class_prototypes, class_sums, target_preferred_alignment
from tests.method import slow


def alignment(student: Tensor, teacher: Tensor, label: Tensor, *, counts_void: bool = False) -> Tensor:
    """From both branches' logits."""
    sums, pixels = class_sums(teacher, label, counts_void=counts_void)
    return target_preferred_alignment(class_sums(student, label, counts_void=counts_void)[0], sums, pixels)


@pytest.mark.parametrize("counts_void", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_prototypes_are_each_classs_mean_logits_over_all_images(seed: int, counts_void: bool) -> None:
    logits, label = slow.random_tensor(seed, 2, 6, 4, 5), slow.random_label(seed, 2, 4, 5, classes=4)
    sums, pixels = class_sums(logits, label, counts_void=counts_void)
    prototypes, present = class_prototypes(sums, pixels), pixels > 0
    expected = slow.prototypes(logits, label, counts_void=counts_void)
    rows = {6 if name == IGNORE else name: vector for name, vector in expected.items()}  # void is the last row
    assert present.nonzero().flatten().tolist() == sorted(rows)
    assert len(prototypes) == len(present) == (7 if counts_void else 6)
    for row, vector in rows.items():
        torch.testing.assert_close(prototypes[row], torch.tensor(vector))
    assert not prototypes[~present].any()


@pytest.mark.parametrize("counts_void", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_alignment_is_the_mean_over_classes_present_and_outputs(seed: int, counts_void: bool) -> None:
    student, teacher = slow.random_tensor(seed, 2, 6, 4, 5), slow.random_tensor(seed + 50, 2, 6, 4, 5)
    label = slow.random_label(seed, 2, 4, 5, classes=4)
    ours = alignment(student, teacher, label, counts_void=counts_void)
    assert ours.item() == pytest.approx(slow.alignment(student, teacher, label, counts_void=counts_void), rel=1e-5)


def test_alignment_sends_a_gradient_to_the_source_biased_branch_and_none_to_the_target_biased() -> None:
    student = slow.random_tensor(0, 2, 5, 4, 4).requires_grad_()
    teacher = slow.random_tensor(1, 2, 5, 4, 4).requires_grad_()
    label = slow.random_label(0, 2, 4, 4)
    alignment(student, teacher, label).backward()
    assert teacher.grad is None
    assert student.grad is not None
    assert torch.equal((student.grad != 0).any(1), label != IGNORE)


def test_the_gradient_matches_differences_of_the_slow_version() -> None:
    student, teacher = slow.random_tensor(0, 1, 3, 2, 2).double(), slow.random_tensor(1, 1, 3, 2, 2).double()
    label = torch.tensor([[[0, 2], [2, IGNORE]]], dtype=torch.uint8)
    student.requires_grad_()
    alignment(student, teacher, label).backward()
    assert student.grad is not None
    for position in range(student.numel()):
        ahead, behind = student.detach().clone(), student.detach().clone()
        ahead.view(-1)[position] += 1e-6
        behind.view(-1)[position] -= 1e-6
        slope = (slow.alignment(ahead, teacher, label) - slow.alignment(behind, teacher, label)) / 2e-6
        assert student.grad.view(-1)[position].item() == pytest.approx(slope, abs=1e-6)


def test_alignment_is_zero_where_no_class_is_present_and_so_is_its_gradient() -> None:
    student = slow.random_tensor(0, 1, 5, 3, 3).requires_grad_()
    void = torch.full((1, 3, 3), IGNORE, dtype=torch.uint8)
    loss = alignment(student, slow.random_tensor(1, 1, 5, 3, 3), void)
    loss.backward()
    assert loss == 0
    assert student.grad is not None
    assert (student.grad == 0).all()


def test_alignment_of_a_branch_with_itself_is_zero() -> None:
    logits = slow.random_tensor(0, 2, 5, 4, 4)
    assert alignment(logits, logits, slow.random_label(0, 2, 4, 4)) == 0
