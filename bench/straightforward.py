"""The co-training step as one would write it down first: fp32, NCHW, loops over images and classes, as the paper has it.

It is what `bench.step` compares with; that it computes the same, a test checks. `Choose` gives the classes of image number
`i` to be pasted; images are float32 (N, 3, H, W), labels uint8 (N, H, W), as everywhere.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dstc.core.taxonomy import IGNORE

Choose = Callable[[str, int, Tensor], list[int]]
Labeled = tuple[Tensor, Tensor]


def normalize(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """uint8 (N, H, W, 3) RGB to float32 (N, 3, H, W) as ImageNet weights want it."""
    planes = images.permute(0, 3, 1, 2).contiguous().float() / 255
    return (planes - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(1, 3, 1, 1)


def half_of_the_classes(_: str, __: int, label: Tensor) -> list[int]:
    present = [value for value in label.unique().tolist() if value != IGNORE]
    order = torch.randperm(len(present)).tolist()
    return [present[number] for number in order[: (len(present) + 1) // 2]]


def mask_of(label: Tensor, classes: list[int]) -> Tensor:
    mask = torch.zeros(label.shape, dtype=torch.bool)
    for name in classes:
        mask |= label == name
    return mask


def paste(foreground: Labeled, background: Labeled, what: str, choose: Choose) -> Labeled:
    """Some classes of each foreground image onto the background image of the same number."""
    images, labels = [], []
    for number in range(len(background[0])):
        mask = mask_of(foreground[1][number], choose(what, number, foreground[1][number]))
        images.append(mask.float() * foreground[0][number] + (1 - mask.float()) * background[0][number])
        labels.append(torch.where(mask, foreground[1][number], background[1][number]))
    return torch.stack(images), torch.stack(labels)


def class_mix(images: Tensor, labels: Tensor, what: str, choose: Choose) -> Labeled:
    return paste((images, labels), (images.roll(1, 0), labels.roll(1, 0)), what, choose)


def alignment(student: Tensor, teacher: Tensor, label: Tensor) -> Tensor:
    """The mean distance of the prototypes of the classes that are present."""
    distances = []
    for name in label.unique().tolist():
        if name != IGNORE:
            pixels = label == name
            mine, theirs = (logits.permute(0, 2, 3, 1)[pixels].mean(0) for logits in (student, teacher))
            distances.append((mine - theirs).abs().mean())
    return torch.stack(distances).mean()


@torch.no_grad()
def logits_of(teacher: nn.Module, images: Tensor) -> Tensor:
    teacher.eval()
    logits = teacher(images)
    teacher.train()
    return logits


def step(
    branches: tuple[nn.Module, nn.Module],
    optimizers: tuple[torch.optim.Optimizer, torch.optim.Optimizer],
    source: Labeled,
    labeled_target: Labeled,
    unlabeled: Tensor,
    *,
    alignment_weight: float = 0.1,
    choose: Choose = half_of_the_classes,
) -> list[float]:
    """Both branches' losses, one graph alive at a time, and both optimizers' steps."""
    first, second = branches
    losses: list[float] = []

    def propagate(loss: Tensor) -> None:
        loss.backward()
        losses.append(loss.item())

    def learn(student: nn.Module, batch: Labeled) -> None:
        propagate(F.cross_entropy(student(batch[0]), batch[1].long(), ignore_index=IGNORE))

    def learn_from(teacher: nn.Module, student: nn.Module, what: str) -> None:
        labels = logits_of(teacher, unlabeled).softmax(1).argmax(1).to(torch.uint8)
        learn(student, class_mix(unlabeled, labels, what, choose))

    for optimizer in optimizers:
        optimizer.zero_grad()
    logits = first(source[0])
    term = alignment_weight * alignment(logits, logits_of(second, source[0]), source[1])
    propagate(F.cross_entropy(logits, source[1].long(), ignore_index=IGNORE) + term)
    del logits, term
    learn(first, labeled_target)
    learn_from(second, first, "class_mix_source_biased")
    learn(second, paste(source, labeled_target, "paste", choose))
    learn_from(first, second, "class_mix_target_biased")
    for optimizer in optimizers:
        optimizer.step()
    return losses
