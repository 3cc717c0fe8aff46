"""Target-preferred alignment: on source images the source-biased branch is pulled, class by class, to the target-biased."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dstc.core.taxonomy import IGNORE
from dstc.method.division import UNDIVIDED, Division


def class_sums(logits: Tensor, label: Tensor, *, counts_void: bool = False) -> tuple[Tensor, Tensor]:
    """Of each class the sum of the logit vectors of its pixels in the batch, and the number of these.

    logits (N, K, H, W), label uint8 (N, H, W) to sums (C, K) and pixels (C,), both float. C is K; with `counts_void`,
    K + 1, void being the last row. Over the parts of a batch both add up.
    Deviation: the released code counts void as a class (6 to 9 % of the term); here only if asked to.
    """
    num_classes = logits.shape[1]
    rows = torch.where(label == IGNORE, num_classes, label).flatten()
    # Not `one_hot`, whose int64 would be two times the logits' memory while a graph is alive.
    membership = (rows[:, None] == torch.arange(num_classes + 1, device=rows.device)).to(logits.dtype)  # (NHW, K+1)
    sums = membership.T @ logits.permute(0, 2, 3, 1).flatten(0, 2)
    pixels = membership.sum(0)
    return (sums, pixels) if counts_void else (sums[:num_classes], pixels[:num_classes])


def class_prototypes(sums: Tensor, pixels: Tensor) -> Tensor:
    """The mean logit vector of each class over all its pixels in the batch: (C, K) of both of what `class_sums` gives.

    Rows of classes without pixels are zero.
    """
    return sums / pixels.clamp(min=1)[:, None]


def target_preferred_alignment(source_biased: Tensor, target_biased: Tensor, pixels: Tensor) -> Tensor:
    """Mean absolute difference of the two branches' prototypes over (classes present) x (outputs).

    Both branches' class sums (C, K) over the source images of a batch; `pixels` (C,) of each class there. No gradient
    reaches the target-biased branch. Zero where no class is present.
    """
    ours, theirs = class_prototypes(source_biased, pixels), class_prototypes(target_biased.detach(), pixels)
    return (ours - theirs).abs().mean(1).sum() / (pixels > 0).sum().clamp(min=1)


@dataclass(frozen=True)
class DividedAlignment:
    """Target-preferred alignment of a batch whose passes are divided, called with one part after another.

    `teacher` and `pixels` are the target-biased branch's class sums over the whole batch, `student` those of the
    source-biased branch, measured beforehand where a process has several parts. The value of each call is the part's
    equal share of the whole batch's loss; its gradient is the whole batch's loss's with respect to this part.
    """

    teacher: Tensor  # (C, K)
    pixels: Tensor  # (C,)
    student: Tensor | None = None  # (C, K)
    parts: int = 1  # of this process
    division: Division = UNDIVIDED
    counts_void: bool = False

    def __call__(self, logits: Tensor, label: Tensor) -> Tensor:
        """logits (N, K, H, W) of the source-biased branch and label (N, H, W) of one part of the source images."""
        own, _ = class_sums(logits, label, counts_void=self.counts_void)
        whole = self.division.total(own.detach()) if self.student is None else self.student
        student = own + (whole - own.detach())  # the sums of the whole batch, with the gradient of this part
        loss = target_preferred_alignment(student, self.teacher, self.pixels)
        return loss - (1 - 1 / (self.parts * self.division.processes)) * loss.detach()
